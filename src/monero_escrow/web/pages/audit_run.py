"""The verification of the whole trail: beside the service's work, one at a time, shared by everybody who looks.

What it found is kept until the next one, in the memory of this service: after a restart nothing was verified yet. It
writes nothing, not even who asked: where the trail is broken, nothing may be able to write.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from monero_escrow.core.errors import EscrowError
from monero_escrow.escrows.context import Context
from monero_escrow.store.audit_check import Verified
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.pages.audit_verdict import TrailVerdict, verdict_of

log = structlog.get_logger(__name__)


class _ServiceEnds(Exception):  # noqa: N818  nobody's fault
    """Nobody will read what would be found."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A verification that is under way: since when, and who asked for it."""

    at: float
    by: str


@dataclass(frozen=True, slots=True)
class Ended:
    """One that is over: what it found, or None and why it could not find out. Times are seconds since the epoch."""

    begun: Begun
    at: float
    verdict: TrailVerdict | None
    why_not: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.at - self.begun.at


class TrailVerification:
    """What every viewer sees: the one under way and how far it is, or the last one."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._task: asyncio.Task[None] | None = None
        self._ends = False
        self.under_way: Begun | None = None
        self.last: Ended | None = None
        self.percent = 0
        """How much of the rows was judged; written by the thread that judges them."""

    def begin(self, by: str) -> None:
        """Verify the whole trail, unless that is under way already."""
        if self.under_way is None and not self._ends:
            self.under_way, self.percent = Begun(self._ctx.clock.now(), by), 0
            self._task = asyncio.create_task(self._run(self.under_way))

    def close(self) -> None:
        """The service ends: stop at the next rows, so that it need not wait for the last."""
        self._ends = True

    async def _run(self, begun: Begun) -> None:
        verdict, why_not = None, ""
        try:
            verdict = verdict_of(await self._ctx.store.read_long(self._verify))
        except _ServiceEnds:
            why_not = "The service ended."
        except EscrowError as error:
            why_not = f"{error.message} {error.what_to_do}"
        except Exception:  # a fault of ours; the page says so and offers to try again
            log.exception("verification_failed")
            why_not = "The service made a mistake; its log says which."
        self.last = Ended(begun, self._ctx.clock.now(), verdict, why_not)
        self.under_way = None
        if verdict is not None and not verdict.whole:
            log.error("trail_not_whole", troubles=len(verdict.findings) + verdict.more)

    def _verify(self, tx: Transaction) -> Verified:
        return verify(tx, self._tell)

    def _tell(self, _what: str, done: float) -> None:
        if self._ends:
            raise _ServiceEnds
        self.percent = min(100, int(100 * done))
