"""One log line a step on wallets: which, on which slot, how it ended and how long it took; never what was said.

The escrow, the attempt, and the request or turn of work that led to it are bound to the context by whoever began the
work (`conductor.py`), so the line has them, as each line of an RPC made meanwhile does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from monero_escrow.clock import Clock
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.roles import Role
from monero_escrow.store.trail_tables import OK

log = structlog.get_logger(__name__)


class OnSlot(Protocol):
    """A wallet that is open on a slot."""

    role: Role

    @property
    def slot_name(self) -> str:
        """Which."""
        ...


@contextmanager
def one_step(clock: Clock, name: str, *wallets: OnSlot, **more: object) -> Iterator[None]:
    """The block is a step on these wallets, or on none; `more` stands in its line as it is."""
    where, began, outcome = _where(wallets), clock.monotonic(), OK
    try:
        yield
    except BaseException as error:
        outcome = code_of(error)
        raise
    finally:
        milliseconds = round(1000 * (clock.monotonic() - began), 1)
        log.info("step", step=name, **where, **more, milliseconds=milliseconds, outcome=outcome)


def code_of(error: BaseException) -> str:
    """How logs and the audit trail name an error: never by what it says, for a fault of ours may say anything."""
    return error.code if isinstance(error, EscrowError) else type(error).__name__


def _where(wallets: tuple[OnSlot, ...]) -> dict[str, object]:
    if len(wallets) == 1:
        return {"role": wallets[0].role.value, "slot": wallets[0].slot_name}
    return {"slots": [wallet.slot_name for wallet in wallets]} if wallets else {}
