"""The keeper of the stock: made of idle time, through the same gate, and ever less often while something is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from monero_escrow.config import load_settings
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES, TRIO
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.stock import WORK, StockKeeper
from monero_escrow.monero.errors import ProcessUnreachableError
from monero_escrow.monero.waiting import until
from monero_escrow.store.records import TrioState
from monero_escrow.store.store import DatabaseBusyError, SqlStore
from monero_escrow.store.trio_table import NOBODY, Maker
from unit.fake_service import Town, reached, settings_of
from unit.restoring import add_trio
from unit.slots import PoolOf, VirtualClock


async def until_ready(conductor: Conductor, count: int) -> None:
    """Wait until so many trios are in stock."""

    async def ready() -> bool:
        return len(await conductor.ctx.store.read(lambda tx: tx.trios.stock_ages(0.0))) == count

    await until(ready, limit_seconds=30)


async def test_the_stock_is_made_and_refilled_and_goes_through_the_same_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monero_escrow.escrows.stock._LOOK_SECONDS", 0.05)
    town = Town()
    processes = town.processes()
    settings = settings_of(tmp_path, processes, stock_target=2)

    async with town.service(settings, processes) as conductor:
        store = conductor.ctx.store
        await until_ready(conductor, 2)
        escrow_id = await town.order(conductor)
        escrow = await store.read(lambda tx: tx.escrows.get(escrow_id))
        trio = await store.read(lambda tx: tx.trios.get(escrow.finished_trio_id))
        await until_ready(conductor, 2)

    assert escrow.state is State.AWAITING_DEPOSIT
    assert trio.state is TrioState.READY
    assert len(trio.exchange.messages) == 3 * len(ROLES)


async def test_an_order_that_waits_for_the_slots_of_the_stock_gets_what_is_made_on_them(tmp_path: Path) -> None:
    town = Town()
    processes = town.processes()
    settings = settings_of(tmp_path, processes, stock_target=1)

    async with town.service(settings, processes) as conductor:

        async def making() -> bool:
            return any(lease.work == WORK for lease in conductor.ctx.pool.leases)

        await until(making, limit_seconds=30)
        escrow_id = await town.order(conductor)
        await reached(conductor, escrow_id, State.AWAITING_DEPOSIT)
        history = await conductor.ctx.store.read(lambda tx: tx.audit.of(escrow_id))

    assert "stock_claimed" in [row.action for row in history]


async def test_a_deposit_to_an_address_from_stock_counts(tmp_path: Path) -> None:
    town = Town()
    processes = town.processes()
    settings = settings_of(tmp_path, processes, stock_target=1)

    async with town.service(settings, processes) as conductor:
        await until_ready(conductor, 1)
        await town.chain.mine(100)
        await conductor.ctx.chain()
        escrow_id = await town.funded(conductor)
        escrow = await conductor.ctx.store.read(lambda tx: tx.escrows.get(escrow_id))
        trio = await conductor.ctx.store.read(lambda tx: tx.trios.get(escrow.finished_trio_id))

    assert trio.restore_height >= 70


async def test_what_an_earlier_run_left_unfinished_is_put_aside_also_without_a_target(
    ctx: Context, store: SqlStore
) -> None:
    await store.write(lambda tx: add_trio(tx, "left over", None, finished=False))
    await store.write(lambda tx: add_trio(tx, "an order's", "escrow", finished=False))

    await StockKeeper(replace(ctx, settings=load_settings(stock_target=0, data_dir=ctx.settings.data_dir))).run()

    assert (await store.read(lambda tx: tx.trios.get("left over"))).state is TrioState.ABANDONED
    assert (await store.read(lambda tx: tx.trios.get("an order's"))).state is TrioState.MAKING


async def test_failures_are_tried_again_less_and_less_often_and_the_reason_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = Town()
    processes = town.processes()

    async def silent(*_: object, **__: object) -> str:
        raise ProcessUnreachableError("http://127.0.0.1:1", "get_info", "connection refused")

    monkeypatch.setattr(town.chain.daemon, "get_info", silent)
    monkeypatch.setattr("monero_escrow.escrows.stock._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("monero_escrow.escrows.stock.pause_seconds", lambda failures: 0.01 * 2**failures)
    with capture_logs() as logged:
        async with town.service(settings_of(tmp_path, processes, stock_target=1), processes) as conductor:

            def waits() -> list[dict[str, object]]:
                return [line for line in logged if line["event"] == "stock_waits"]  # type: ignore[misc]

            async def thrice() -> bool:
                return len(waits()) >= 3

            await until(thrice, limit_seconds=30)
            assert conductor.ctx.pool.stats().free == len(TRIO)
    assert [line["failures"] for line in waits()[:3]] == [1, 2, 3]
    assert "connection refused" in str(waits()[0]["reason"])


async def test_a_node_that_drains_makes_none_until_it_works_again(
    ctx: Context, clock: VirtualClock, pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, made, drains = 0, 0, True

    def takes_up() -> bool:
        nonlocal looks
        looks += 1
        return not drains

    async def make_one(_ctx: Context) -> None:
        nonlocal made
        made += 1

    async def until_true(so: Callable[[], bool]) -> None:
        async def after_a_while() -> bool:
            await clock.advance(1)
            return so()

        await until(after_a_while, limit_seconds=30)

    monkeypatch.setattr("monero_escrow.escrows.stock.make_one", make_one)
    settings = load_settings(stock_target=1, data_dir=ctx.settings.data_dir)
    keeper = asyncio.create_task(StockKeeper(replace(ctx, settings=settings, pool=pool_of(3), takes_up=takes_up)).run())
    await until_true(lambda: looks >= 3)
    assert made == 0
    drains = False
    await until_true(lambda: made > 0)
    keeper.cancel()


async def test_what_a_lost_database_left_half_made_keeps_nobody_from_making_stock(
    ctx: Context, store: SqlStore, clock: VirtualClock, pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, half_made = Maker("run", "node"), list[int]()
    await store.write(lambda tx: tx.nodes.join("run", "node", "1.0", 1_000_000.0))

    async def make_one(_ctx: Context) -> None:
        half_made.append(await store.read(lambda tx: tx.trios.stock_made_elsewhere(NOBODY)))
        if len(half_made) == 1:  # it was begun, and not even its failure could be written down
            await store.write(lambda tx: tx.trios.add("half made", None, 0, 1.0, maker))
            raise DatabaseBusyError("The server is away.")

    async def made_twice() -> bool:
        await clock.advance(1)
        return len(half_made) >= 2

    monkeypatch.setattr("monero_escrow.escrows.stock.make_one", make_one)
    settings = load_settings(stock_target=1, data_dir=ctx.settings.data_dir)
    keeper = asyncio.create_task(
        StockKeeper(replace(ctx, settings=settings, pool=pool_of(3), maker=lambda: maker)).run()
    )
    await until(made_twice, limit_seconds=30)
    keeper.cancel()

    assert half_made[:2] == [0, 0]
    assert (await store.read(lambda tx: tx.trios.get("half made"))).state is TrioState.ABANDONED
