"""A node that falls silent, or is told to stop, in a transaction: what becomes of its locks and answers."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import Future
from typing import Any

from sqlalchemy import text

from monero_escrow.store.postgresql import begin, postgresql_engine
from monero_escrow.store.store import DatabaseBusyError, SqlStore


def test_a_node_that_falls_silent_keeps_its_locks_for_no_longer_than_a_short_lease(database_url: str) -> None:
    """Whoever takes its work over passes locked rows by: a longer silence would be a longer takeover."""
    engine = postgresql_engine(database_url)
    with begin(engine, writes=True) as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "5s"
    engine.dispose()


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
