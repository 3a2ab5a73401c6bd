"""Processes as they are found: foreign, too old, of another network, dead, or left over by an interrupted set-up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from monero_escrow.config import Settings, load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import Terms
from monero_escrow.core.roles import ROLES
from monero_escrow.escrows.init_escrow import Order, init_escrow
from monero_escrow.escrows.views import escrow_view
from monero_escrow.monero.processes import ChildProcess, free_port, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.waiting import until
from monero_escrow.monero.wallet_rpc import WalletRpcClient
from monero_escrow.service import AlreadyRunningError, running_service

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def fleet(programs: MoneroPrograms, tmp_path: Path) -> AsyncIterator[list[ChildProcess]]:
    """Three offline testnet processes of the test's own."""
    processes = [
        await start_wallet_rpc(programs, tmp_path / role, network=Network.TESTNET, daemon_url=None, name=role)
        for role in ROLES
    ]
    yield processes
    await asyncio.gather(*(process.stop() for process in processes))


def settings_of(urls: list[str], folder: Path, **more: object) -> Settings:
    more = {"monero_network": "testnet", "db_encryption_key": "11" * 32, **more}
    return load_settings(monero_rpc_urls=tuple(urls), data_dir=folder / "data", stock_target=0, **more)


def an_order(name: str) -> Order:
    first, second = (WalletKeys.from_entropy(os.urandom(32), Network.TESTNET).address for _ in range(2))
    return Order(name, Terms(10**12, first, second))


async def test_a_foreign_wallet_is_never_touched(fleet: list[ChildProcess], tmp_path: Path) -> None:
    stranger = WalletRpcClient(fleet[1].url)
    await stranger.create_wallet("somebody-else", "secret")
    address = await stranger.get_address()
    async with running_service(settings_of([process.url for process in fleet], tmp_path)) as conductor:
        slot = conductor.ctx.pool.slots[1]
        assert "not this service's" in (slot.sick or "")
        escrow, _ = await init_escrow(conductor.ctx, "shop", an_order("order-1"), "shop:test")

        async def waits() -> bool:
            view = await conductor.ctx.store.read(lambda tx: escrow_view(tx, escrow.id))
            return "No usable wallet-rpc process serves the vendors" in view.waits_for

        await until(waits, limit_seconds=30)
    assert await stranger.get_address() == address
    await stranger.aclose()


async def test_a_process_of_another_network_is_refused_and_nothing_is_made(
    fleet: list[ChildProcess], tmp_path: Path
) -> None:
    settings = settings_of([process.url for process in fleet], tmp_path, monero_network="stagenet")
    async with running_service(settings) as conductor:
        assert all("does not serve stagenet" in (slot.sick or "") for slot in conductor.ctx.pool.slots)
    assert not [file for role in ROLES for file in (tmp_path / role / "wallets").iterdir()]


async def test_a_dead_process_is_named_and_the_others_serve(fleet: list[ChildProcess], tmp_path: Path) -> None:
    urls = [process.url for process in fleet]
    urls.append(f"http://127.0.0.1:{free_port()}")
    async with running_service(settings_of(urls, tmp_path)) as conductor:
        stats = conductor.ctx.pool.stats()
        assert (stats.total, stats.free, stats.sick) == (4, 3, 1)
        assert "no connection could be made" in (conductor.ctx.pool.slots[3].sick or "")


async def test_a_second_service_on_the_same_database_is_refused(fleet: list[ChildProcess], tmp_path: Path) -> None:
    settings = settings_of([process.url for process in fleet], tmp_path)
    async with running_service(settings):
        with pytest.raises(AlreadyRunningError):
            async with running_service(settings):
                pytest.fail("two services on one database")


async def test_a_set_up_interrupted_by_a_stop_begins_anew_at_the_next_start(
    fleet: list[ChildProcess], tmp_path: Path
) -> None:
    settings = settings_of([process.url for process in fleet], tmp_path, quarantine_seconds=0)
    async with running_service(settings) as conductor:
        escrow, _ = await init_escrow(conductor.ctx, "shop", an_order("order-1"), "shop:test")

        async def making() -> bool:
            view = await conductor.ctx.store.read(lambda tx: escrow_view(tx, escrow.id))
            return any(step["name"] == "exchange" for step in view.steps)

        await until(making, limit_seconds=60)
    async with running_service(settings) as conductor:
        assert conductor.ctx.pool.stats().sick == 0
        await conductor.wait_while(escrow.id, State.SETTING_UP, 60)
        view = await conductor.ctx.store.read(lambda tx: escrow_view(tx, escrow.id))
    assert view.escrow.state is State.AWAITING_DEPOSIT, view.escrow.trouble
    assert [row.action for row in view.history].count("set_up_begun") == 2


async def test_a_process_killed_in_the_middle_of_a_set_up_costs_an_attempt_and_not_the_escrow(
    programs: MoneroPrograms, tmp_path: Path
) -> None:
    processes = [
        await start_wallet_rpc(programs, tmp_path / f"{i}-{role}", network=Network.TESTNET, daemon_url=None, name=role)
        for i, role in enumerate(ROLES * 2)
    ]
    settings = settings_of([process.url for process in processes], tmp_path)
    async with running_service(settings) as conductor:
        escrow, _ = await init_escrow(conductor.ctx, "shop", an_order("order-1"), "shop:test")

        async def making() -> bool:
            view = await conductor.ctx.store.read(lambda tx: escrow_view(tx, escrow.id))
            return any(step["name"] == "make" for step in view.steps)

        await until(making, limit_seconds=60)
        await processes[1].stop()
        await conductor.wait_while(escrow.id, State.SETTING_UP, 60)
        view = await conductor.ctx.store.read(lambda tx: escrow_view(tx, escrow.id))
        assert view.escrow.state is State.AWAITING_DEPOSIT, view.escrow.trouble
        stats = conductor.ctx.pool.stats()
        assert stats.leased + stats.free + stats.sick == stats.total == 6
    await asyncio.gather(*(process.stop() for process in processes))
