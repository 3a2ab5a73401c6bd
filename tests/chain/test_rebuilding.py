"""A wallet file is a cache: gone, half-made or left open, the wallet comes back from what the database holds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from monero_escrow.config import Settings, load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import Terms
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.hosted import HostedWallet
from monero_escrow.escrows.init_escrow import Order, init_escrow
from monero_escrow.monero.processes import start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.service import running_service
from monero_escrow.store.records import TrioRecord

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]


@dataclass
class Finished:
    """An escrow whose set-up is finished, on three offline processes, and the buyer's wallet folder."""

    settings: Settings
    trio: TrioRecord
    wallets: Path

    def forget_files(self) -> None:
        for file in self.wallets.iterdir():
            file.unlink()


@pytest_asyncio.fixture(loop_scope="session")
async def finished(programs: MoneroPrograms, tmp_path: Path) -> AsyncIterator[Finished]:
    processes = [
        await start_wallet_rpc(programs, tmp_path / role, network=Network.TESTNET, daemon_url=None, name=role)
        for role in ROLES
    ]
    settings = load_settings(
        monero_rpc_urls=tuple(process.url for process in processes),
        monero_network="testnet",
        db_encryption_key="33" * 32,
        data_dir=tmp_path / "data",
        stock_target=0,
    )
    first, second = (WalletKeys.from_entropy(os.urandom(32), Network.TESTNET).address for _ in range(2))
    async with running_service(settings) as conductor:
        ctx = conductor.ctx
        escrow, _ = await init_escrow(ctx, "shop", Order("order-1", Terms(10**12, first, second)), "shop:test")
        await conductor.wait_while(escrow.id, State.SETTING_UP, 120)
        trio = await ctx.store.read(lambda tx: tx.trios.get(tx.escrows.get(escrow.id).finished_trio_id))
    yield Finished(settings, trio, tmp_path / "buyer" / "wallets")
    await asyncio.gather(*(process.stop() for process in processes))


async def open_buyers_wallet(conductor: Conductor, trio: TrioRecord) -> str:
    """The address of the buyer's wallet, opened as a payout opens it."""
    async with (
        conductor.ctx.pool.lease(frozenset({Role.BUYER}), "test", wait_seconds=5) as lease,
        HostedWallet(lease, trio.participants[Role.BUYER], Network.TESTNET) as wallet,
    ):
        await wallet.open(trio)
        report = await wallet.report()
        assert report.ready
        return report.address


async def leave_half_made(conductor: Conductor, trio: TrioRecord, *, rounds: int, opened: bool) -> None:
    """What an interrupted rebuilding leaves: a file after so many rounds, and if the end was hard, the wallet open."""
    async with conductor.ctx.pool.lease(frozenset({Role.BUYER}), "test", wait_seconds=5) as lease:
        await conductor.ctx.store.write(lambda tx: tx.trios.about_to_open(trio.id, [Role.BUYER], 10.0**10))
        wallet = HostedWallet(lease, trio.participants[Role.BUYER], Network.TESTNET)
        await wallet.make(trio.restore_height)
        for call in trio.exchange.replay(Role.BUYER)[:rounds]:
            await wallet.answer(call)
        if not opened:
            await wallet.close()


async def test_a_wallet_whose_file_is_gone_is_rebuilt_with_the_same_address(finished: Finished) -> None:
    finished.forget_files()
    async with running_service(finished.settings) as conductor:
        assert await open_buyers_wallet(conductor, finished.trio) == finished.trio.address
        assert await open_buyers_wallet(conductor, finished.trio) == finished.trio.address


@pytest.mark.parametrize("rounds", [2, 3])  # after the third the wallet shows the address, and is not finished
async def test_a_half_made_file_is_passed_over(finished: Finished, rounds: int) -> None:
    finished.forget_files()
    async with running_service(finished.settings) as conductor:
        await leave_half_made(conductor, finished.trio, rounds=rounds, opened=False)
        assert await open_buyers_wallet(conductor, finished.trio) == finished.trio.address
        assert conductor.ctx.pool.stats().free == 3


async def test_a_half_made_wallet_left_open_is_known_as_ours_at_the_next_start(finished: Finished) -> None:
    finished.forget_files()
    async with running_service(finished.settings) as conductor:
        await leave_half_made(conductor, finished.trio, rounds=2, opened=True)
    async with running_service(finished.settings) as conductor:
        assert conductor.ctx.pool.stats().free == 3
        assert await open_buyers_wallet(conductor, finished.trio) == finished.trio.address
