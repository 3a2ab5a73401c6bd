"""What waits to be written commits together, and yet each piece of work is on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import Event
from unittest.mock import patch

import pytest
import sqlcipher3.dbapi2 as sqlcipher
from sqlalchemy import event

from monero_escrow.core.errors import InvalidInputError
from monero_escrow.store.group_commit import MOST_TOGETHER, GroupCommit
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.store import DatabaseBusyError, SqlStore
from monero_escrow.store.transaction import Transaction
from unit.rows import MASTER_KEY, NETWORK, escrow


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_sqlcipher(tmp_path / "escrow.db", MASTER_KEY, NETWORK)
    yield opened
    opened.close()


@contextmanager
def counted_commits(store: SqlStore) -> Iterator[list[int]]:
    commits: list[int] = []

    def committed(_connection: object) -> None:
        commits.append(1)

    event.listen(store._engine, "commit", committed)
    yield commits
    event.remove(store._engine, "commit", committed)


async def while_the_writer_is_busy(
    store: SqlStore, *work: Callable[[Transaction], object]
) -> tuple[list[object], asyncio.Task[None]]:
    """Queue all of this behind a piece of work that ends only when everything is queued."""
    begun, may_end = Event(), Event()

    def first(_tx: Transaction) -> None:
        begun.set()
        assert may_end.wait(10)

    busy = asyncio.create_task(store.write(first))
    assert await asyncio.to_thread(begun.wait, 10)
    queued = [asyncio.create_task(store.write(one)) for one in work]
    await asyncio.sleep(0)  # each of them begins
    assert isinstance(store._writer, GroupCommit)
    assert len(store._writer._waiting) == len(work)
    may_end.set()
    return await asyncio.gather(*queued, return_exceptions=True), busy


def adds(number: int) -> Callable[[Transaction], int]:
    def add(tx: Transaction) -> int:
        tx.escrows.add(escrow(f"escrow-{number}"))
        return number

    return add


async def there(store: SqlStore) -> set[str]:
    found = await store.read(lambda tx: tx.escrows.page(shop_id=None, states=None, before=None, limit=500))
    return {one.id for one in found}


async def test_what_waits_commits_together_and_everybody_gets_their_own_answer(store: SqlStore) -> None:
    with counted_commits(store) as commits:
        answers, busy = await while_the_writer_is_busy(store, *map(adds, range(20)))
        await busy
    assert answers == list(range(20))
    assert len(commits) == 2
    assert len(await there(store)) == 20


async def test_a_group_is_not_larger_than_the_first_of_it_should_wait_for(store: SqlStore) -> None:
    with counted_commits(store) as commits:
        await while_the_writer_is_busy(store, *map(adds, range(MOST_TOGETHER + 1)))
    assert len(commits) == 3


async def test_work_that_raises_is_undone_and_spoils_no_other(store: SqlStore) -> None:
    def adds_and_raises(tx: Transaction) -> None:
        tx.escrows.add(escrow("bad"))
        raise InvalidInputError("No.")

    answers, _ = await while_the_writer_is_busy(store, adds(1), adds_and_raises, adds(2))
    assert answers[0] == 1
    assert isinstance(answers[1], InvalidInputError)
    assert answers[2] == 2
    assert await there(store) == {"escrow-1", "escrow-2"}


async def test_each_sees_what_came_before_it_in_its_group(store: SqlStore) -> None:
    answers, _ = await while_the_writer_is_busy(store, adds(1), lambda tx: tx.escrows.get("escrow-1").id)
    assert answers == [1, "escrow-1"]


async def test_a_commit_that_fails_is_told_to_everybody_in_it_and_nothing_of_it_happened(store: SqlStore) -> None:
    told: list[str] = []

    def adds_and_tells(tx: Transaction) -> None:
        tx.escrows.add(escrow("told"))
        tx.after_commit(lambda: told.append("told"))

    committing = store._engine.dialect.do_commit
    times = iter((committing,))

    def breaks_the_second_time(connection: object) -> None:
        commit = next(times, None)
        if commit is None:
            raise sqlcipher.OperationalError("disk I/O error")
        commit(connection)  # type: ignore[arg-type]

    with patch.object(store._engine.dialect, "do_commit", breaks_the_second_time):
        answers, busy = await while_the_writer_is_busy(store, adds(1), adds_and_tells)
        await busy
    assert [type(answer) for answer in answers] == [DatabaseBusyError, DatabaseBusyError]
    assert told == []
    assert await there(store) == set()
    assert await store.write(adds(1)) == 1


async def test_what_is_logged_after_the_commit_carries_the_callers_own_context(store: SqlStore) -> None:
    caller: ContextVar[str] = ContextVar("caller", default="nobody")
    seen: list[str] = []

    async def write_as(name: str) -> None:
        caller.set(name)
        await store.write(lambda tx: tx.after_commit(lambda: seen.append(caller.get())))

    await asyncio.gather(*(write_as(name) for name in ("ann", "bob", "cy")))
    assert sorted(seen) == ["ann", "bob", "cy"]


async def test_on_a_full_disk_everybody_is_told_so_and_nothing_of_the_group_happened(store: SqlStore) -> None:
    def fills(tx: Transaction) -> None:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        try:
            for number in range(10_000):
                adds(number + 10)(tx)
        finally:
            tx.connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")

    answers, _ = await while_the_writer_is_busy(store, adds(1), fills, adds(2))
    assert [type(answer) for answer in answers] == [DatabaseBusyError] * 3
    assert "full" in str(answers[0])
    assert await there(store) == set()
    assert await store.write(adds(1)) == 1
