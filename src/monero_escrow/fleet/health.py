"""Health: a cheap look at every idle slot every few seconds, and a way back for those that are sick.

Only slots that nobody holds are looked at, so that no look ever stands in line behind work; one that is leased
meanwhile is its holder's, whatever the look says. A slot that gives no answer within the time limit, twice, or another
answer than the process that was inspected would, is sick. Sick slots are inspected (`inspection.py`) after pauses that
grow, and come back on their own; one whose process is ours is ended and replaced instead (`upkeep.py`). A slot that
rests is left alone: the call that was given up on may keep its process busy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from monero_escrow.clock import Clock
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.pauses import pause_seconds
from monero_escrow.fleet.instance import why_not_as_inspected
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.jitter import jittered

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 10.0
LIMIT_SECONDS: Final = 0.9
"""How long an idle process may take to say which one it is; it takes about a millisecond."""
LONGEST_PAUSE_SECONDS: Final = 60.0
_STEP_SECONDS: Final = 1.0
_LOOKS_BEFORE_SICK: Final = 2

Inspect = Callable[[Slot], Awaitable[None]]
"""Makes a slot that nobody holds ready to serve. Raises EscrowError when it cannot serve (`inspection.py`)."""


@dataclass(slots=True)
class _Illness:
    """How often a sick slot was inspected in vain, and when it is next; `due_at` is on the monotonic clock."""

    due_at: float
    failures: int = 0
    under_way: bool = False


class HealthWatch:
    """Looks after the slots of a pool. Use `run()` as one task and cancel it to stop."""

    def __init__(self, pool: SlotPool, clock: Clock, inspect: Inspect) -> None:
        self._pool = pool
        self._clock = clock
        self._inspect = inspect
        self._ill: dict[Slot, _Illness] = {}

    def next_look_seconds(self, slot: Slot) -> float | None:
        """In how many seconds a sick slot is inspected next; None for one that is not sick, or that rests."""
        if slot not in self._pool.sick_slots():
            return None
        illness = self._ill.get(slot)
        return 0.0 if illness is None else max(0.0, illness.due_at - self._clock.monotonic())

    def look_soon(self, slot: Slot) -> None:
        """A sick slot is inspected within moments, however long its pause was to be: somebody says that it is well."""
        illness = self._ill.get(slot)
        if illness is not None:
            illness.due_at = min(illness.due_at, self._clock.monotonic())

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_at_idle_ones())
            while True:
                self._begin_inspections(tasks)
                await self._pool.until_there_is_one_to_look_at(jittered(_STEP_SECONDS))

    async def _look_at_idle_ones(self) -> None:
        """Look at all of them side by side, from time to time."""
        while True:
            await self._clock.sleep(jittered(LOOK_SECONDS))
            await self.look_at_idle_ones()

    async def look_at_idle_ones(self) -> None:
        """Look once at every slot that could be leased this moment."""
        idle = self._pool.idle_slots()
        await asyncio.gather(*(self._look_at(slot) for slot in idle))

    async def _look_at(self, slot: Slot) -> None:
        fence = slot.fence
        reason = await self._why_not_well(slot)
        if reason is None or slot.fence != fence or slot not in self._pool.idle_slots():
            return
        self._pool.mark_sick(slot, reason)
        log.warning("slot_sick", slot=slot.name, reason=reason)

    async def _why_not_well(self, slot: Slot) -> str | None:
        """None, or the reason. A machine at its limit may keep one answer waiting, so one is not enough."""
        fence = slot.fence
        for _ in range(_LOOKS_BEFORE_SICK):
            if slot.fence != fence:
                return None
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    return await _still_itself(slot)
            except TimeoutError:
                continue
        return f"It did not answer within {LIMIT_SECONDS:g} seconds, {_LOOKS_BEFORE_SICK} times."

    def _begin_inspections(self, tasks: asyncio.TaskGroup) -> None:
        """Inspect those that are due, each by itself: one that hangs keeps no other waiting."""
        now, sick = self._clock.monotonic(), self._pool.sick_slots()
        self._ill = {slot: self._ill.get(slot) or _Illness(due_at=now) for slot in sick}
        for slot, illness in self._ill.items():
            if now >= illness.due_at and not illness.under_way:
                illness.under_way = True
                tasks.create_task(self._inspect_one(slot, illness))

    async def _inspect_one(self, slot: Slot, illness: _Illness) -> None:
        before = slot.sick
        try:
            await self._inspect(slot)
        except EscrowError as error:
            self._still_sick(slot, illness, before, f"{error.message.rstrip('.')}. {error.what_to_do}")
        else:
            log.info("slot_well", slot=slot.name)
            self._pool.mark_well(slot)
        finally:
            illness.under_way = False

    def _still_sick(self, slot: Slot, illness: _Illness, before: str | None, reason: str) -> None:
        if reason != before:
            log.warning("slot_sick", slot=slot.name, reason=reason)
        if slot.managed:  # not `mark_sick`, which turns away who waits: another takes its place
            slot.sick = reason
            self._pool.drain(slot)
            return
        self._pool.mark_sick(slot, reason)
        pause = min(pause_seconds(illness.failures), LONGEST_PAUSE_SECONDS)
        illness.failures += 1
        illness.due_at = self._clock.monotonic() + jittered(pause)


async def _still_itself(slot: Slot) -> str | None:
    """None if the process answers as the one that was inspected. Asks nothing that changes anything."""
    if slot.mark is not None:
        return await why_not_as_inspected(slot)
    try:
        await slot.rpc.get_version()
    except EscrowError as error:
        return f"{error.message.rstrip('.')}."
    return None
