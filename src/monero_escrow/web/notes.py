"""What requests leave to be written down later: when a key was used last, and wrong keys, for the audit trail.

No request waits for these, and no flood fills the database with them. Wrong keys are one row of the trail when the
first comes, and then at most one a minute with how many there were and from where; the last use of a key is known to
the minute. What is not written when the process dies is lost, and is nothing that money depends on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from monero_escrow.clock import Clock
from monero_escrow.core.errors import EscrowError
from monero_escrow.jitter import jittered
from monero_escrow.store.origin import asked_from
from monero_escrow.store.store import Store
from monero_escrow.store.transaction import Transaction

log = structlog.get_logger(__name__)

KEYS_REFUSED: Final = "keys_refused"
NOBODY: Final = "nobody"
"""The actor of such a row: whoever has no valid key."""
BETWEEN_ROWS_SECONDS: Final = 60.0
MOST_NAMED: Final = 5
_LOOK_SECONDS: Final = 1.0
_MOST_ADDRESSES: Final = 1000
_LAST_WRITE_SECONDS: Final = 2.0
_ELSEWHERE: Final = "other addresses"


@dataclass(slots=True)
class Notes:
    """What waits to be written, in memory, and bounded."""

    store: Store
    clock: Clock
    _used: dict[str, float] = field(default_factory=dict)
    _refused: Counter[str] = field(default_factory=Counter)
    _uses_due_at: float = float("-inf")
    _refusals_due_at: float = float("-inf")

    def used(self, key_id: str) -> None:
        """This key opened something."""
        self._used[key_id] = self.clock.now()

    def refused(self, address: str) -> None:
        """A wrong key came from here."""
        known = address in self._refused or len(self._refused) < _MOST_ADDRESSES
        self._refused[address if known else _ELSEWHERE] += 1

    async def run(self) -> None:
        """Write what is due, until cancelled; then what there is, if the database takes it at once."""
        try:
            while True:
                await self.clock.sleep(jittered(_LOOK_SECONDS))
                await self.write()
        finally:
            self._uses_due_at = self._refusals_due_at = float("-inf")
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WRITE_SECONDS):
                    await self.write()

    async def write(self) -> None:
        """Write what is due. What the database does not take now it is given again."""
        now = self.clock.monotonic()
        used = self._used if self._used and now >= self._uses_due_at else {}
        refused = self._refused if self._refused and now >= self._refusals_due_at else Counter[str]()
        if not used and not refused:
            return
        if used:
            self._used, self._uses_due_at = {}, now + BETWEEN_ROWS_SECONDS
        if refused:
            self._refused, self._refusals_due_at = Counter(), now + BETWEEN_ROWS_SECONDS
        try:
            await self._write(used, refused)
        except EscrowError as error:
            log.warning("notes_wait", code=error.code, reason=error.message)
            self._used = {**used, **self._used}
            for address, count in refused.items():
                self._refused[address] += count

    async def _write(self, used: Mapping[str, float], refused: Counter[str]) -> None:
        now, several = self.clock.now(), len(refused) != 1
        detail = {"count": refused.total(), "addresses": len(refused)}
        if several:
            detail["most_from"] = dict(refused.most_common(MOST_NAMED))  # type: ignore[assignment]

        def work(tx: Transaction) -> None:
            tx.keys.used(used)
            if refused:
                tx.audit.add(NOBODY, KEYS_REFUSED, now, detail=detail)

        with asked_from(None if several else next(iter(refused))):
            await self.store.write(work)
