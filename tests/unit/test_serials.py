"""Ids that only grow, also after somebody inserted rows under ids of their own."""

from __future__ import annotations

from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import on_both_engines
from unit.rows import escrow


@on_both_engines
def test_events_after_a_leap_come_after_it_for_whoever_asks_what_is_new(store: SqlStore) -> None:
    def add(tx: Transaction, kind: str) -> None:
        tx.outbox.add("shop", "escrow", kind, {}, 100.0)

    store.write_now(lambda tx: tx.escrows.add(escrow()))
    store.write_now(lambda tx: add(tx, "escrow.before"))
    store.write_now(lambda tx: tx.outbox.leap("service.restored", {}, 100.0))
    (_, leap) = store.read_now(lambda tx: tx.outbox.after("shop", 0, 10))

    store.write_now(lambda tx: add(tx, "escrow.after"))

    assert [event.type for event in store.read_now(lambda tx: tx.outbox.after("shop", leap.id, 10))] == ["escrow.after"]
