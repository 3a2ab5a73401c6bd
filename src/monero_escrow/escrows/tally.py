"""The tally of the database for those who ask often: read once for many, and never waited for long.

A scraper that comes every second, or ten of them, cost the database one reading in `FRESH_SECONDS`. A database that
does not answer keeps nobody waiting: who asked is told that there is no tally, while the one reading under way goes on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from monero_escrow.core.errors import EscrowError
from monero_escrow.escrows.context import Context
from monero_escrow.store.tally import Tally

log = structlog.get_logger(__name__)

FRESH_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A tally, and when it was taken (seconds since the epoch)."""

    tally: Tally
    at: float


class TallyReader:
    """Reads the tally of one service's database. `patience_seconds`: how long anybody waits for it."""

    def __init__(self, ctx: Context, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._ctx = ctx
        self._patience_seconds = patience_seconds
        self._latest: Reading | None = None
        self._under_way: asyncio.Task[Reading | None] | None = None

    async def read(self, *, fresh_seconds: float = FRESH_SECONDS) -> Reading | None:
        """The latest reading if it is fresh enough, else a new one; None: the database did not answer in time."""
        latest = self._latest
        if latest is not None and 0 <= self._ctx.clock.now() - latest.at < fresh_seconds:
            return latest
        if self._under_way is None:
            self._under_way = asyncio.create_task(self._read())
            self._under_way.add_done_callback(self._has_ended)
        task = self._under_way
        await asyncio.wait([task], timeout=self._patience_seconds)  # never cancels it: it may be another's too
        failed = not task.done() or task.cancelled() or task.exception() is not None
        return None if failed else task.result()

    async def _read(self) -> Reading | None:
        now = self._ctx.clock.now()
        try:
            self._latest = Reading(await self._ctx.store.read(lambda tx: tx.tally(now)), now)
        except EscrowError as error:
            log.warning("tally_failed", code=error.code, reason=error.message)
            return None
        return self._latest

    def _has_ended(self, task: asyncio.Task[Reading | None]) -> None:
        self._under_way = None
        if not task.cancelled() and (error := task.exception()) is not None:  # a fault of ours: nobody else is hurt
            log.error("tally_failed", exc_info=error)
