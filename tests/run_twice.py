"""Work given to a store may be run more than once before it commits, after a deadlock, say: here it always is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from monero_escrow.store.sealing import Sealer
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction

T = TypeVar("T")


def run_twice(work: Callable[[Transaction], T], sealer: Sealer) -> Callable[[Transaction], T]:
    """The same work, run once before and undone: only what it changed beside the database stays, and shows."""

    def twice(tx: Transaction) -> T:
        undone = tx.connection.begin_nested()
        try:
            first = Transaction(tx.connection, sealer)
            work(first)
            first.complete()
        finally:
            undone.rollback()
        return work(tx)

    return twice


class TwiceStore(SqlStore):
    """A store opened before, whose every write is run twice."""

    def __init__(self, opened: SqlStore) -> None:
        super().__init__(opened._engine, opened._sealer, opened._begin, opened._writer)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        return await super().write(run_twice(work, self._sealer))
