"""What the service's database says of when things happened: by its journal, its payouts and its audit trail.

Read beside the running service, whose own clock wrote the times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monero_escrow.bench.stage import SHOP
from monero_escrow.core.life_cycle import State
from monero_escrow.store.records import EscrowRecord, PayoutRecord
from monero_escrow.store.store import SqlStore
from monero_escrow.store.trail_tables import OK


@dataclass(frozen=True, slots=True)
class JournalStep:
    """One row of the journal. Times are seconds since the epoch; `ended` is None while it runs, or is not known of."""

    name: str
    slot: str | None
    intended: float
    ended: float | None
    ok: bool


async def escrow_of(store: SqlStore, order_id: str) -> EscrowRecord | None:
    """The escrow of an order of the bench's shop, if it was begun."""
    return await store.read(lambda tx: tx.escrows.of_order(SHOP, order_id))


async def state_of(store: SqlStore, escrow_id: str) -> State:
    return (await store.read(lambda tx: tx.escrows.get(escrow_id))).state


async def journal_of(store: SqlStore, escrow_id: str) -> list[JournalStep]:
    """The escrow's steps in order."""
    return [_step(row) for row in await store.read(lambda tx: tx.journal.of(escrow_id))]


def _step(row: Any) -> JournalStep:
    return JournalStep(row["name"], row["slot"], row["intended_at"], row["ended_at"], row["result"] == OK)


async def payouts_of(store: SqlStore, escrow_id: str) -> Sequence[PayoutRecord]:
    """Every decision about the escrow, with the times it was decided and broadcast at."""
    return await store.read(lambda tx: tx.payouts.of(escrow_id))


async def when(store: SqlStore, escrow_id: str, action: str, after: float) -> float | None:
    """When the audit trail says that this happened first, after a moment; None if it did not yet."""
    trail = await store.read(lambda tx: tx.audit.of(escrow_id))
    return next((row.at for row in trail if row.action == action and row.at > after), None)
