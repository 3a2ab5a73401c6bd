"""What the tests of nodes share: nodes that are listed, leases that end when the test says so, escrows that are due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy import select, update

from monero_escrow.nodes.claims import Horizons, SharedClaims
from monero_escrow.nodes.node import Node
from monero_escrow.store import schema
from monero_escrow.store.store import CommitUnknownError, DatabaseBusyError, SqlStore, Store
from monero_escrow.store.transaction import Transaction
from unit.rows import escrow
from unit.slots import VirtualClock

T = TypeVar("T")

LEASE_SECONDS: Final = 10.0
FAR: Final = Horizons(1e12, 1e12)
"""Nothing is due too late."""


def end_lease(store: SqlStore, name: str) -> None:
    """By the database's clock the lease of this node is over."""
    n = schema.nodes
    store.write_now(lambda tx: tx.connection.execute(update(n).where(n.c.name == name).values(lease_until=1.0)))


def add_due(store: SqlStore, *escrow_ids: str, due_at: float = 100.0, **changes: object) -> None:
    """Escrows to work on; in the order they are named, the first the longest waiting."""
    for number, escrow_id in enumerate(escrow_ids):
        made = escrow(escrow_id, due_at=due_at + number, **changes)
        store.write_now(lambda tx, made=made: tx.escrows.add(made))  # type: ignore[misc]


def holder(store: SqlStore, escrow_id: str) -> tuple[str | None, int]:
    """Which node's run holds it, and under which fence."""
    e = schema.escrows
    query = select(e.c.node_id, e.c.fence).where(e.c.id == escrow_id)
    row = store.read_now(lambda tx: tx.connection.execute(query).one())
    return row.node_id, row.fence


def set_home(store: SqlStore, escrow_id: str, home: str | None) -> None:
    """Whose machine has its wallets' files."""
    e = schema.escrows
    store.write_now(lambda tx: tx.connection.execute(update(e).where(e.c.id == escrow_id).values(home=home)))


async def joined(store: Store, clock: VirtualClock, name: str, places: dict[str, str] | None = None) -> Node:
    """A node that is there, and whose heartbeat the test makes."""
    node = Node(store, clock, name, LEASE_SECONDS, places)
    await node.join()
    return node


async def claims_of(store: Store, clock: VirtualClock, name: str) -> SharedClaims:
    """The claims of a node that is there."""
    node = await joined(store, clock, name)
    return SharedClaims(store, node.clock, node)


class Line:
    """The line to a store, which the test cuts, or which loses the answer of what was written.

    What goes over it is done at once, and in no thread: so a clock that the test moves does not run away meanwhile.
    """

    def __init__(self, store: SqlStore) -> None:
        self.is_cut = False
        self.loses_answers = False
        self.on_write: Callable[[], None] = lambda: None
        self._store = store

    async def read(self, work: Callable[[Transaction], T]) -> T:
        if self.is_cut:
            raise DatabaseBusyError("The line is cut.")
        return self._store.read_now(work)

    async def read_long(self, work: Callable[[Transaction], T]) -> T:
        return await self.read(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        if self.is_cut:
            raise DatabaseBusyError("The line is cut.")
        result = self._store.write_now(work)
        self.on_write()
        if self.loses_answers:
            raise CommitUnknownError("The line broke.")
        return result
