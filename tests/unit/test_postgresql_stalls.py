"""A node that falls silent, or is told to stop, in a transaction: what becomes of its locks and answers."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import Future
from typing import Any

from sqlalchemy import text

from monero_escrow.store.opening import open_postgresql
from monero_escrow.store.postgresql import WRITERS, begin, postgresql_engine
from monero_escrow.store.store import DatabaseBusyError, SqlStore
from monero_escrow.store.transaction import Transaction
from unit.rows import MASTER_KEY, NETWORK


def test_a_node_that_falls_silent_keeps_its_locks_for_no_longer_than_a_short_lease(database_url: str) -> None:
    """Whoever takes its work over passes locked rows by: a longer silence would be a longer takeover."""
    engine = postgresql_engine(database_url)
    with begin(engine, writes=True) as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "5s"
    engine.dispose()


async def test_a_heartbeat_does_not_wait_behind_writes_that_wait_for_one_another(database_url: str) -> None:
    """Else a node whose writers all stand at one lock would lose its lease, and all its work, to the others."""
    store = open_postgresql(database_url, MASTER_KEY, NETWORK)
    all_stand, go_on = threading.Barrier(WRITERS + 1), threading.Event()

    def stand(_tx: Transaction) -> None:
        all_stand.wait(10)
        go_on.wait(10)

    writes = [asyncio.create_task(store.write(stand)) for _ in range(WRITERS)]
    await asyncio.to_thread(all_stand.wait, 10)
    behind = asyncio.create_task(store.write(lambda _tx: "behind"))
    assert await store.heartbeats.write(lambda _tx: "in time") == "in time"
    written = store.metrics.registry.get_sample_value("monero_escrow_database_seconds_count", {"kind": "write"})
    assert written == 1, "the metrics are those of the one database"
    assert not behind.done()
    go_on.set()
    await asyncio.gather(*writes)
    assert await behind == "behind"
    store.close()


class SlowWriter:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.job: Future[Any] = Future()

    def submit(self, work: object) -> Future[Any]:
        return self.job

    def close(self) -> None:
        return


async def test_a_write_that_fails_after_its_caller_was_told_to_stop_is_reported_by_nobody() -> None:
    """Such as that of a node whose lease lapsed because the database is away: not an error of its own."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: reported.append(what))
    writer = SlowWriter()
    store = SqlStore(None, None, None, writer)  # type: ignore[arg-type]  # nothing else of it is used
    caller = asyncio.create_task(store.write(lambda _tx: None))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done(), "a cancelled caller waits to learn whether it was committed"
    writer.job.set_exception(DatabaseBusyError("away"))
    await asyncio.wait([caller])
    assert caller.cancelled()
    del caller
    writer.job = Future()
    gc.collect()
    assert reported == []
