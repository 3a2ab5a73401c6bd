"""Tell one instance of a process from the next, so that a restart can be proved.

A call that was given up on may still run, and its slot rests for that reason alone. If the process was started anew
meanwhile, the call died with the one before. No call of wallet-rpc tells the two apart; but a mark put among the log
categories lives in the process's memory and nowhere else. Every process that is inspected gets one
(docs/decisions/0011-a-mark-proves-a-restart.md).

All that is asked here changes nothing and may run late: an answer that does not come abandons nothing.
"""

from __future__ import annotations

import secrets
from typing import Final

from monero_escrow.clock import Clock
from monero_escrow.core.errors import EscrowError
from monero_escrow.fleet.slot import Slot
from monero_escrow.jitter import jittered

FIRST_LOOK_SECONDS: Final = 1.0
LONGEST_LOOK_SECONDS: Final = 12.0  # 15 with jitter
_GROWTH: Final = 1.5


async def identify(slot: Slot) -> None:
    """Know the slot's process again: by a mark it has from earlier, or by a new one.

    A process that does not keep the mark it was given (something else sets its log categories) is known by none: then
    a restart is not noticed, which costs the rest of a quarantine, while a mark that is gone would look like one.
    """
    abandoned = slot.rpc.abandoned_marks
    marks = await slot.rpc.instance_marks()
    if abandoned and not abandoned & marks:
        slot.rpc.forget_abandoned()  # what was given up on died with the instance that had got it
    if slot.mark not in marks:
        slot.mark = min(marks) if marks else f"escrow.{secrets.token_hex(6)}"
    if not marks:
        await slot.rpc.mark_instance(slot.mark)
        if slot.mark not in await slot.rpc.instance_marks():
            slot.mark = None


async def why_not_as_inspected(slot: Slot) -> str | None:
    """None if the slot's process is the one that was inspected; else the reason why it must not be used as it is."""
    if slot.mark is None:
        return None
    try:
        marks = await slot.rpc.instance_marks()
    except EscrowError as error:
        return f"{error.message.rstrip('.')}."
    return None if slot.mark in marks else "Its process was started anew since it was looked at."


async def until_restarted(slot: Slot, mark: str, clock: Clock, ends_at: float) -> None:
    """Ask every few seconds whether the process with this mark is gone; return as soon as it is, or at `ends_at`.

    No answer proves nothing: the call that was given up on may keep the process's only thread busy.
    """
    pause = FIRST_LOOK_SECONDS
    while (left := ends_at - clock.monotonic()) > 0:
        await clock.sleep(min(jittered(pause), left))
        if clock.monotonic() < ends_at and await _answers_without(mark, slot):
            return
        pause = min(pause * _GROWTH, LONGEST_LOOK_SECONDS)


async def _answers_without(mark: str, slot: Slot) -> bool:
    try:
        return mark not in await slot.rpc.instance_marks()
    except EscrowError:
        return False
