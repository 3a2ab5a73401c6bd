"""Set-ups on real processes: the original document's manual tests, and its own fleet."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from chain.conftest import Shop
from monero_escrow.config import load_settings
from monero_escrow.core.address import Network, parse_address
from monero_escrow.core.key_exchange import Round
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import Terms
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.escrows.init_escrow import Order, init_escrow
from monero_escrow.escrows.views import escrow_view
from monero_escrow.monero.errors import NoWalletOpenError
from monero_escrow.monero.processes import start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.waiting import until
from monero_escrow.service import running_service

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]


async def nothing_is_open(shop: Shop) -> bool:
    for slot in shop.ctx.pool.slots:
        with pytest.raises(NoWalletOpenError):
            await slot.rpc.get_address()
    return True


async def test_two_set_ups_run_at_once_on_six_slots_each_role_on_its_own(shop: Shop) -> None:
    escrows = [await shop.begin() for _ in range(2)]

    async def both_under_way() -> bool:
        return shop.ctx.pool.stats().leased == 6

    await until(both_under_way, limit_seconds=30)
    for lease in shop.ctx.pool.leases:
        assert {role: slot.role for role, slot in lease.slots.items()} == {role: role for role in ROLES}
    for escrow_id in escrows:
        await shop.until(escrow_id, State.AWAITING_DEPOSIT)
    stats = shop.ctx.pool.stats()
    assert (stats.total, stats.free, stats.leased) == (6, 6, 0)
    assert await nothing_is_open(shop)


async def test_three_reopened_wallets_agree_on_an_address_that_decodes(shop: Shop) -> None:
    view = await shop.view(await shop.order())
    address = view.escrow.deposit_address or ""
    assert parse_address(address, Network.REGTEST).text == address
    steps = [(step["name"], step["role"]) for step in view.steps]
    names = ["make wallet", "prepare", "make", "exchange", "finish", "gate"]
    assert sorted(steps) == sorted((name, role.value) for name in names for role in ROLES)
    assert {step["result"] for step in view.steps} == {"ok"}


async def test_everything_a_wallet_is_rebuilt_from_is_stored(shop: Shop) -> None:
    escrow = (await shop.view(await shop.order())).escrow
    trio = await shop.ctx.store.read(lambda tx: tx.trios.get(escrow.trio_id or ""))
    assert set(trio.participants) == set(ROLES)
    assert len(trio.exchange.messages) == 3 * len(ROLES)
    assert [call.round for call in trio.exchange.replay(Role.BUYER)] == list(Round)


async def test_the_original_documents_fleet_gives_a_sound_testnet_address(
    programs: MoneroPrograms, tmp_path: Path
) -> None:
    """Three processes as its start script starts them: testnet, offline, one wallet folder, no daemon."""
    wallets = tmp_path / "wallets"
    processes = [
        await start_wallet_rpc(
            programs, tmp_path / role, network=Network.TESTNET, daemon_url=None, name=role, wallet_dir=wallets
        )
        for role in ROLES
    ]
    try:
        settings = load_settings(
            monero_rpc_urls=tuple(process.url for process in processes),
            monero_network="testnet",
            db_encryption_key=os.urandom(32).hex(),
            data_dir=tmp_path / "data",
            stock_target=0,
        )
        async with running_service(settings) as conductor:
            recipients = [_testnet_address(), _testnet_address()]
            order = Order("order-1", Terms(10**12, recipients[0], recipients[1]))
            escrow, _ = await init_escrow(conductor.ctx, "shop", order, "shop:test")
            await conductor.wait_while(escrow.id, State.SETTING_UP, 120)
            view = await conductor.ctx.store.read(lambda tx: escrow_view(tx, escrow.id))
        assert view.escrow.state is State.AWAITING_DEPOSIT, view.escrow.trouble
        address = view.escrow.deposit_address or ""
        assert (
            address[0] in "9A"
        )  # what prefix 53 gives; B begins testnet's subaddresses, and no wallet's primary address
        assert parse_address(address, Network.TESTNET).text == address
    finally:
        await asyncio.gather(*(process.stop() for process in processes))


def _testnet_address() -> str:
    return WalletKeys.from_entropy(os.urandom(32), Network.TESTNET).address
