"""Whoever reads events after the last id they know misses none, however many write at once on a server."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from monero_escrow.core.errors import NotFoundError
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import on_both_engines
from unit.rows import escrow

pytestmark = on_both_engines


async def all_told(store: SqlStore, after: int) -> list[str]:
    return [event.type for event in await store.read(lambda tx: tx.outbox.after("shop", after, 10))]


async def test_an_event_whose_transaction_ends_late_comes_after_those_that_were_seen_before(store: SqlStore) -> None:
    await store.write(lambda tx: tx.escrows.add(escrow()))
    told, may_end = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        tx.outbox.add("shop", "escrow", "of the slow one", {}, 1.0)
        tx.outbox.write()
        told.set()
        may_end.wait(10)

    under_way = asyncio.create_task(store.write(slow))
    await asyncio.to_thread(told.wait, 10)
    quick = asyncio.create_task(store.write(lambda tx: tx.outbox.add("shop", "escrow", "of the quick one", {}, 2.0)))
    await asyncio.wait([quick], timeout=0.5)
    seen = await store.read(lambda tx: tx.outbox.after("shop", 0, 10))
    may_end.set()
    await asyncio.gather(under_way, quick)

    rest = await all_told(store, seen[-1].id if seen else 0)
    assert sorted([event.type for event in seen] + rest) == ["of the quick one", "of the slow one"]


async def test_what_a_part_that_was_undone_would_have_told_is_not_told(store: SqlStore) -> None:
    await store.write(lambda tx: tx.escrows.add(escrow()))

    def work(tx: Transaction) -> None:
        tx.outbox.add("shop", "escrow", "first", {}, 1.0)
        with suppress(NotFoundError), tx.part():
            tx.outbox.add("shop", "escrow", "undone", {}, 1.0)
            tx.escrows.get("no such escrow")
        tx.outbox.add("shop", "escrow", "last", {}, 1.0)

    await store.write(work)
    assert await all_told(store, 0) == ["first", "last"]
