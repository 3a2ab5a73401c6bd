"""Writing to a server that many share: who is in the way is run again, and whoever is cut off is told the truth."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from monero_escrow.core.errors import UnavailableError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import PICONERO_PER_XMR
from monero_escrow.demo.private_postgres import FAST, IMMEDIATE
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.init_escrow import init_escrow
from monero_escrow.escrows.mainnet import TooMuchAtOnceError
from monero_escrow.monero.waiting import until
from monero_escrow.store import own_commit
from monero_escrow.store.opening import open_postgresql
from monero_escrow.store.store import CommitUnknownError, DatabaseBusyError, SqlStore
from monero_escrow.store.transaction import Transaction
from shared_postgres import SharedPostgres
from unit.cutting_proxy import Cut, CuttingProxy, cutting_proxy
from unit.engines import POSTGRESQL, OpenStore, on_postgresql
from unit.rows import MASTER_KEY, NETWORK, add_funded, escrow
from unit.test_stock import order

pytestmark = on_postgresql


async def states(store: SqlStore) -> dict[State, int]:
    return await store.read(lambda tx: tx.escrows.counts())


# In each other's way


async def test_of_two_that_lock_crosswise_one_is_run_again_and_both_are_done(store: SqlStore) -> None:
    for name in ("a", "b"):
        await store.write(lambda tx, name=name: tx.escrows.add(escrow(name)))  # type: ignore[misc]
    both_hold_one = threading.Barrier(2)
    runs: list[str] = []

    def change(first: str, second: str) -> Callable[[Transaction], None]:
        def work(tx: Transaction) -> None:
            runs.append(first)
            for name in (first, second):
                seen = tx.escrows.get(name)
                tx.escrows.looked_at(seen, seen.due_at, failures=seen.failures + 1)
                if runs.count(first) == 1 and name == first:
                    both_hold_one.wait(10)

        return work

    await asyncio.gather(store.write(change("a", "b")), store.write(change("b", "a")))

    assert sorted(runs) in (["a", "a", "b"], ["a", "b", "b"])
    failures = [(await store.read(lambda tx, name=name: tx.escrows.get(name))).failures for name in "ab"]  # type: ignore[misc]
    assert failures == [2, 2]


async def test_what_a_run_told_before_it_was_undone_is_never_told(store: SqlStore) -> None:
    told: list[int] = []
    runs: list[int] = []

    def second_time_lucky(tx: Transaction) -> None:
        runs.append(len(runs))
        tx.after_commit(lambda run=runs[-1]: told.append(run))  # type: ignore[misc]
        add_funded(tx)
        if len(runs) == 1:
            add_funded(tx)

    await store.write(second_time_lucky)
    assert (runs, told) == ([0, 1], [1])


async def test_two_that_add_the_same_order_at_once_get_one_escrow_and_both_an_answer(
    ctx: Context, store: SqlStore
) -> None:
    answers = await asyncio.gather(*(init_escrow(ctx, "shop", order(), f"shop:{n}") for n in range(6)))

    assert len({found.id for found, *_ in answers}) == 1
    assert await states(store) == {State.SETTING_UP: 1}


async def test_of_many_orders_at_once_only_those_are_taken_that_the_limit_has_room_for(
    ctx: Context, store: SqlStore
) -> None:
    limited = replace(ctx, settings=ctx.settings.model_copy(update={"most_xmr_at_once": "2.5"}))
    orders = [replace(order(), order_id=f"order-{number}") for number in range(8)]
    amount_piconero = orders[0].terms.amount_piconero
    answers = await asyncio.gather(
        *(init_escrow(limited, "shop", one, "shop:1") for one in orders), return_exceptions=True
    )

    taken = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(taken) == 25 * PICONERO_PER_XMR // 10 // amount_piconero < len(orders)
    assert {type(answer) for answer in answers if isinstance(answer, BaseException)} == {TooMuchAtOnceError}


async def test_two_that_record_an_answer_under_one_key_at_once_both_get_the_first_one(
    store: SqlStore, open_store: OpenStore
) -> None:
    looked = threading.Barrier(2)
    runs: list[int] = []

    def recorded(answer: int) -> Callable[[Transaction], object]:
        def work(tx: Transaction) -> object:
            found = tx.idempotency.find("shop", "key")
            runs.append(answer)
            if runs.count(answer) == 1:
                looked.wait(10)
            if found is not None:
                return found[1]["answer"]
            tx.idempotency.add("shop", "key", "print", {"answer": answer}, 100.0)
            return answer

        return work

    first, second = await asyncio.gather(store.write(recorded(1)), open_store().write(recorded(2)))
    assert first == second
    assert len(runs) == 3


async def test_a_fault_of_ours_is_not_tried_for_ever(store: SqlStore) -> None:
    runs: list[int] = []

    def always_twice(tx: Transaction) -> None:
        runs.append(1)
        add_funded(tx)
        add_funded(tx)

    with pytest.raises(IntegrityError):
        await store.write(always_twice)
    assert len(runs) == 2
    assert await states(store) == {}


# Cut in the middle of COMMIT


@pytest_asyncio.fixture
async def proxied(engine: str, database_url: str) -> AsyncIterator[tuple[CuttingProxy, SqlStore]]:
    """A store whose connections go through a proxy."""
    assert engine == POSTGRESQL
    async with cutting_proxy(database_url) as (proxy, url):
        store = await asyncio.to_thread(open_postgresql, url, MASTER_KEY, NETWORK)
        yield proxy, store
        await asyncio.to_thread(store.close)


Proxied = tuple[CuttingProxy, SqlStore]


async def test_who_is_cut_off_after_the_server_committed_is_told_that_it_happened(proxied: Proxied) -> None:
    proxy, store = proxied
    told: list[str] = []

    def work(tx: Transaction) -> str:
        tx.after_commit(lambda: told.append("committed"))
        add_funded(tx)
        return "the result"

    proxy.next_cut = Cut.BEFORE_THE_ANSWER
    assert await store.write(work) == "the result"

    assert (proxy.cuts, told) == (1, ["committed"])
    assert await states(store) == {State.SETTING_UP: 1}


async def test_who_is_cut_off_before_the_server_heard_of_the_commit_is_told_that_nothing_happened(
    proxied: Proxied,
) -> None:
    proxy, store = proxied
    proxy.next_cut = Cut.BEFORE_THE_SERVER

    with pytest.raises(DatabaseBusyError):
        await store.write(add_funded)

    assert proxy.cuts == 1
    assert await states(store) == {}
    await store.write(add_funded)


@pytest.mark.parametrize(("cut", "there"), [(Cut.BEFORE_THE_ANSWER, 1), (Cut.BEFORE_THE_SERVER, 0)])
async def test_who_is_cut_off_from_a_server_that_stays_away_is_told_that_nobody_knows(
    proxied: Proxied, store: SqlStore, cut: Cut, there: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_commit, "_ASK_SECONDS", 0.5)
    proxy, cut_off = proxied
    proxy.next_cut, proxy.stays_cut = cut, True

    with pytest.raises(CommitUnknownError) as caught:
        await cut_off.write(add_funded)

    assert "Idempotency-Key" in caught.value.what_to_do
    assert sum((await states(store)).values()) == there


async def test_after_a_crash_a_number_that_may_be_anothers_proves_nothing(
    proxied: Proxied, postgres: SharedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server gives the number of a transaction that reached no disk to the next one that writes."""
    proxy, store = proxied
    of_a_later_one = text("SELECT (pg_current_xact_id()::text::bigint + 3)::text")
    monkeypatch.setattr(own_commit, "_WHICH", of_a_later_one)
    proxy.next_cut, proxy.stays_cut = Cut.BEFORE_THE_SERVER, True

    async def crash() -> None:
        await until_cut(proxy)
        await postgres.server.restart(IMMEDIATE)
        for number in range(3):
            await postgres.server.administer(f"CREATE TABLE another_writer_{number} ()")
            await postgres.server.administer(f"DROP TABLE another_writer_{number}")
        proxy.stays_cut = False

    writing, crashing = asyncio.create_task(store.write(add_funded)), asyncio.create_task(crash())
    await crashing
    with pytest.raises(CommitUnknownError):
        await writing
    assert await states(store) == {}


async def until_cut(proxy: CuttingProxy) -> None:
    async def cut() -> bool:
        return bool(proxy.cuts)

    await until(cut, limit_seconds=10)


# A server that goes away


async def test_a_server_that_goes_away_and_comes_back_is_found_again_without_help(
    store: SqlStore, postgres: SharedPostgres
) -> None:
    await store.write(add_funded)
    for how in (FAST, IMMEDIATE):
        await postgres.server.stop(how)
        try:
            began = time.monotonic()
            for refused in (store.read(lambda tx: tx.escrows.counts()), store.write(add_funded)):
                with pytest.raises(UnavailableError) as caught:
                    await refused
                assert caught.value.code == "database_unavailable"
            assert time.monotonic() - began < 5
        finally:
            await postgres.server.start()

        assert await states(store) == {State.SETTING_UP: 1}
        await store.write(lambda tx: tx.audit.add("shop", "wrote again", 100.0))


async def test_what_was_half_done_when_the_server_went_away_never_happened(
    store: SqlStore, postgres: SharedPostgres
) -> None:
    half_done, gone = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        add_funded(tx)
        half_done.set()
        gone.wait(10)

    writing = asyncio.create_task(store.write(slow))
    await asyncio.to_thread(half_done.wait, 10)
    await postgres.server.restart(IMMEDIATE)
    gone.set()

    with pytest.raises(DatabaseBusyError):
        await writing
    assert await states(store) == {}
