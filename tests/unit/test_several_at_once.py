"""Two at the same rows in the same moment, on a server that several share."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import event

from monero_escrow.core.life_cycle import State
from monero_escrow.store.node_table import SlotTakenError
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import OpenStore, on_postgresql
from unit.rows import address, escrow

pytestmark = on_postgresql


@contextmanager
def stopped_once_before(
    store: SqlStore, statement: str, number: int = 1
) -> Iterator[tuple[threading.Event, threading.Event]]:
    """The n-th statement of this store that begins so waits: (it is reached, it may go on)."""
    reached, may_go_on, seen = threading.Event(), threading.Event(), itertools.count(1)

    def stop(_connection: object, _cursor: object, sent: str, *_more: object) -> None:
        if sent.startswith(statement) and next(seen) == number:
            reached.set()
            assert may_go_on.wait(10)

    event.listen(store._engine, "before_cursor_execute", stop)
    try:
        yield reached, may_go_on
    finally:
        may_go_on.set()
        event.remove(store._engine, "before_cursor_execute", stop)


async def test_a_process_that_two_nodes_register_in_the_same_moment_serves_one_of_them(open_store: OpenStore) -> None:
    first, second = open_store(), open_store()
    place = {"host:1": "http://example.com:1"}

    def registers(name: str) -> Callable[[Transaction], None]:
        def work(tx: Transaction) -> None:
            tx.nodes.join(name, name, "1.0", 60.0)
            tx.nodes.use_slots(name, place)

        return work

    with stopped_once_before(first, "DELETE FROM node_slots") as (reached, may_go_on):
        slow = asyncio.create_task(first.write(registers("slow")))
        await asyncio.to_thread(reached.wait, 10)
        await second.write(registers("quick"))
        may_go_on.set()
        ended = await asyncio.gather(slow, return_exceptions=True)

    assert isinstance(ended[0], SlotTakenError)
    assert [node.name for node in await first.read(lambda tx: tx.nodes.all())] == ["quick"]


async def test_a_height_that_somebody_comes_to_wait_for_while_it_is_reached_wakes_or_stays(
    open_store: OpenStore,
) -> None:
    scans, looks = open_store(), open_store()

    def add(tx: Transaction) -> None:
        seen = escrow(due_at=9_000.0)
        tx.escrows.add(seen)
        tx.escrows.change(seen.id, expected=seen.state, now=1.0, state=State.FUNDED, deposit_address=address("its"))

    await scans.write(add)
    with stopped_once_before(scans, "UPDATE escrows", number=2) as (reached, may_go_on):
        scanning = asyncio.create_task(scans.write(lambda tx: tx.escrows.wake_at_height(500, 105.0)))
        await asyncio.to_thread(reached.wait, 10)
        await looks.write(lambda tx: tx.escrows.look_at_height("escrow", 500))
        may_go_on.set()
        await scanning
    await scans.write(lambda tx: tx.escrows.wake_at_height(501, 106.0))

    assert (await scans.read(lambda tx: tx.escrows.get("escrow"))).due_at in (105.0, 106.0)
