"""Stock on real processes: an address at once, its coins paid out; then its files go, and come back when needed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import update

from chain.conftest import XMR, Shop, settings_for
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES
from monero_escrow.escrows import decide
from monero_escrow.escrows.hosted import names_of
from monero_escrow.escrows.tidy import tidy_up
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.waiting import until
from monero_escrow.service import running_service
from monero_escrow.store.schema import escrows

pytestmark = [pytest.mark.chain, pytest.mark.newest_monero, pytest.mark.asyncio(loop_scope="session")]

_FINAL_BLOCKS = 30


async def test_an_address_from_stock_is_paid_out_and_its_files_are_removed_and_made_again(
    chain: PrivateChain, tmp_path: Path
) -> None:
    wallets = tmp_path / "wallets"
    processes = [(await chain.wallet_rpc(f"stock-{role}", wallet_dir=wallets))[0] for role in ROLES]
    settings = settings_for(
        chain,
        tmp_path / "data",
        [process.url for process in processes],
        stock_target=1,
        wallet_dir=wallets,
        watch_after_days=0,
    )
    try:
        async with running_service(settings) as conductor:
            shop = Shop(chain, conductor, await chain.person("stock-receiver"))
            await _until_in_stock(shop)
            await chain.mine(60)
            await shop.ctx.chain()

            began = asyncio.get_running_loop().time()
            escrow_id = await shop.begin(XMR)
            seconds = asyncio.get_running_loop().time() - began
            view = await shop.view(escrow_id)
            trio = await shop.ctx.store.read(lambda tx: tx.trios.get(view.escrow.finished_trio_id))
            assert view.escrow.state is State.AWAITING_DEPOSIT
            assert seconds < 2, "no set-up is as fast"
            assert trio.restore_height == shop.ctx.tip.height - settings.final_confirmations

            await shop.pay(escrow_id, XMR)
            await chain.mine(10)
            await shop.until(escrow_id, State.FUNDED)
            await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
            settled = await shop.until_settled(escrow_id)
            fee = settled.payouts[0].fee_piconero or 0
            assert await shop.received_at(settled.escrow.terms.vendor_payout_address) == XMR - fee

            await chain.mine(_FINAL_BLOCKS)
            await _until_nothing_is_due(shop, escrow_id)
            ours = {name for role in ROLES for name in names_of(trio.participants[role].filename)}
            assert ours & _names(wallets)
            assert await tidy_up(shop.ctx) == 1
            assert not ours & _names(wallets)

            before = (await shop.view(escrow_id)).outputs
            await shop.look_at(escrow_id)
            await until(lambda: _is_back(wallets, ours), limit_seconds=60)
            await _until_nothing_is_due(shop, escrow_id)
            after = await shop.view(escrow_id)
            assert (after.outputs, after.escrow.trouble) == (before, None)
    finally:
        await asyncio.gather(*(process.stop() for process in processes))


async def _until_in_stock(shop: Shop) -> None:
    async def there() -> bool:
        return bool(await shop.ctx.store.read(lambda tx: tx.trios.stock_ages(0.0)))

    await until(there, limit_seconds=90)


async def _until_nothing_is_due(shop: Shop, escrow_id: str) -> None:
    """The service has looked for the last time: everything is final, and nobody watches any longer."""

    async def over() -> bool:
        escrow = (await shop.view(escrow_id)).escrow
        if escrow.due_at is not None and escrow.due_at > shop.ctx.clock.now():
            earlier = update(escrows).where(escrows.c.id == escrow_id).values(due_at=0.0)
            await shop.ctx.store.write(lambda tx: tx.connection.execute(earlier))
            shop.conductor.nudge(escrow_id)
        return escrow.due_at is None

    await until(over, limit_seconds=90)


def _names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


async def _is_back(folder: Path, ours: set[str]) -> bool:
    return bool(ours & _names(folder))
