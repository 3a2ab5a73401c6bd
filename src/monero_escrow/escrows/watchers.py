"""Whom the scan looks for: the view keys of all watched escrows, opened once and kept in memory, never logged.

Watchers are numbered as they join, so that it can be said for which of them something was scanned.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog

from monero_escrow.core import base58
from monero_escrow.core.curve import KEY_BYTES
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.scan import Watcher
from monero_escrow.store.scan_table import WatchedKeys
from monero_escrow.store.store import Store
from monero_escrow.store.transaction import Transaction

log = structlog.get_logger(__name__)


class Watchers:
    """The watchers, as the database had them at the last `load`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._numbered: dict[str, tuple[int, Watcher]] = {}
        self._unreadable: set[str] = set()
        self.mark = 0
        """The highest number yet."""

    def __len__(self) -> int:
        return len(self._numbered)

    async def load(self) -> None:
        """Those that joined, and no longer those that left."""

        def read(tx: Transaction) -> tuple[set[str], list[WatchedKeys]]:
            ids = tx.scan.watched_ids()
            return set(ids), self._keys(tx, [one for one in ids if one not in self._numbered])

        ids, joined = await self._store.read(read)
        self._numbered = {one: numbered for one, numbered in self._numbered.items() if one in ids}
        for keys in joined:
            self.mark += 1
            self._numbered[keys.escrow_id] = (self.mark, _watcher(keys))

    def since(self, mark: int) -> list[Watcher]:
        """Those that joined after this number; with 0 all."""
        return [watcher for number, watcher in self._numbered.values() if number > mark]

    async def of(self, escrow_ids: Collection[str]) -> list[Watcher]:
        """These, whether they are watched or not."""
        return [_watcher(keys) for keys in await self._store.read(lambda tx: self._keys(tx, escrow_ids))]

    def _keys(self, tx: Transaction, escrow_ids: Collection[str]) -> list[WatchedKeys]:
        """One escrow whose key cannot be opened must not keep the others from being watched: its sweep will tell."""
        found = []
        for escrow_id in escrow_ids:
            try:
                found.append(tx.scan.keys_of(escrow_id))
            except EscrowError as error:
                if escrow_id not in self._unreadable:
                    self._unreadable.add(escrow_id)
                    log.error("watch_impossible", escrow_id=escrow_id, code=error.code)  # noqa: TRY400
        return found


def _watcher(keys: WatchedKeys) -> Watcher:
    # The address passed the gate: it need not be checked a second time, which costs more than all the rest here.
    spend_key = base58.decode(keys.address)[1 : 1 + KEY_BYTES]
    return Watcher(keys.escrow_id, bytes.fromhex(keys.view_key), spend_key)
