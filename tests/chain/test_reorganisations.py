"""Blocks are taken back on a real chain: what had come or been paid is taken back in the books, and put right again.

Each test takes off only blocks that were mined since its own deposit, so that no other escrow stands on them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chain.conftest import CONFIRMATIONS, XMR, Shop
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import NothingToPayOutError
from monero_escrow.core.roles import TRIO
from monero_escrow.escrows import decide
from monero_escrow.escrows.views import EscrowView
from monero_escrow.monero.waiting import until

pytestmark = [pytest.mark.chain, pytest.mark.newest_monero, pytest.mark.asyncio(loop_scope="session")]


async def raw_transaction(shop: Shop, txid: str) -> str:
    """As the daemon has it, to give it to the daemon once more."""
    return (await shop.chain.daemon.get_transactions([txid]))[txid].raw_hex


async def mine_again(shop: Shop, raw: str) -> None:
    """A transaction that was forgotten comes back, and gets its confirmations."""
    await shop.chain.daemon.send_raw_transaction(raw)
    await shop.chain.mine(CONFIRMATIONS)


async def until_shown(shop: Shop, escrow_id: str, outputs: int) -> None:
    """Wait until the escrow shows so many deposits that are deep enough, and no others."""

    async def shown() -> bool:
        view = await shop.view(escrow_id)
        return len(view.outputs) == outputs and all(output.status == "counted" for output in view.outputs)

    await until(shown, limit_seconds=60)


async def until_broadcast(shop: Shop, escrow_id: str) -> EscrowView:
    async def broadcast() -> bool:
        return [payout.state for payout in (await shop.view(escrow_id)).payouts] == ["broadcast"]

    await until(broadcast, limit_seconds=60)
    return await shop.view(escrow_id)


async def until_known(shop: Shop, txid: str) -> None:
    """Wait until the daemon has the transaction."""

    async def known() -> bool:
        return txid in await shop.chain.daemon.get_transactions([txid])

    await until(known, limit_seconds=60)


async def the_vendor_was_paid_once(shop: Shop, view: EscrowView) -> None:
    (payout,) = view.payouts
    got = await shop.received_at(view.escrow.terms.vendor_payout_address)
    assert got == payout.plan.total_piconero - (payout.fee_piconero or 0)
    assert await shop.received_at(view.escrow.terms.buyer_refund_address) == 0


@asynccontextmanager
async def no_wallet_free(shop: Shop) -> AsyncIterator[None]:
    """Meanwhile the service has to do without wallets."""
    pool = shop.ctx.pool
    async with pool.lease(TRIO, "the test", wait_seconds=60), pool.lease(TRIO, "the test", wait_seconds=60):
        yield


def happened(view: EscrowView, action: str) -> int:
    return [row.action for row in view.history].count(action)


async def until_it_happened(shop: Shop, escrow_id: str, action: str) -> None:
    """The state it led to may be over by now: blocks come quickly here."""

    async def it_did() -> bool:
        return happened(await shop.view(escrow_id), action) == 1

    await until(it_did, limit_seconds=60)


async def test_funded_is_taken_back_with_its_deposit_and_comes_back_with_it(shop: Shop) -> None:
    escrow_id = await shop.funded(XMR)
    (deposit,) = (await shop.view(escrow_id)).outputs
    raw = await raw_transaction(shop, deposit.txid)

    await shop.chain.reorganise(CONFIRMATIONS, drop_pool=True)
    view = await shop.until(escrow_id, State.AWAITING_DEPOSIT)
    assert view.outputs == ()
    with pytest.raises(NothingToPayOutError):
        await shop.decide(escrow_id, await decide.refund(shop.ctx, escrow_id, "shop:test"))

    await mine_again(shop, raw)
    view = await shop.until(escrow_id, State.FUNDED)
    (again,) = view.outputs
    assert (again.public_key, again.amount_piconero) == (deposit.public_key, XMR)
    assert again.height > deposit.height


async def test_a_payout_that_falls_out_of_chain_and_pool_is_given_again_without_wallets(shop: Shop) -> None:
    """First as it is mined, then when it was settled, but not final."""
    escrow_id = await shop.funded(XMR)
    await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
    txid = (await until_broadcast(shop, escrow_id)).payouts[0].signed_txid
    async with no_wallet_free(shop):
        await shop.chain.mine(1)
        await shop.chain.reorganise(1, drop_pool=True)
        await until_known(shop, txid)
        view = await shop.until_settled(escrow_id)
    assert view.escrow.state is State.SETTLED
    await the_vendor_was_paid_once(shop, view)

    steps = len(view.steps)
    await shop.chain.mine(2)
    await shop.chain.reorganise(CONFIRMATIONS + 4, drop_pool=True)
    await until_it_happened(shop, escrow_id, "payout_fell_out")
    await until_known(shop, txid)
    view = await shop.until_settled(escrow_id)
    assert view.escrow.state is State.SETTLED
    assert happened(view, "payout_settled") == 2
    assert view.payouts[0].txid == txid
    assert {step["name"] for step in view.steps[steps:]} == {"give again"}
    await the_vendor_was_paid_once(shop, view)


async def test_the_deposit_of_a_dispute_falls_out_and_nothing_can_be_ruled_until_it_is_back(shop: Shop) -> None:
    escrow_id = await shop.funded(XMR)
    raw = await raw_transaction(shop, (await shop.view(escrow_id)).outputs[0].txid)
    await shop.decide(escrow_id, decide.dispute(shop.ctx, escrow_id, "shop:test", "The parcel was empty."))

    await shop.chain.reorganise(CONFIRMATIONS, drop_pool=True)
    await until_shown(shop, escrow_id, outputs=0)
    with pytest.raises(NothingToPayOutError):
        await shop.decide(escrow_id, await decide.ruling(shop.ctx, escrow_id, "arbiter:test", 0, 10_000))
    assert (await shop.view(escrow_id)).escrow.state is State.DISPUTED

    await mine_again(shop, raw)
    await shop.look_at(escrow_id)
    await until_shown(shop, escrow_id, outputs=1)
    await shop.decide(escrow_id, await decide.ruling(shop.ctx, escrow_id, "arbiter:test", 0, 10_000))
    await the_vendor_was_paid_once(shop, await shop.until_settled(escrow_id))


async def test_a_decided_payout_waits_for_the_deposit_that_fell_out(shop: Shop) -> None:
    escrow_id = await shop.funded(XMR)
    raw = await raw_transaction(shop, (await shop.view(escrow_id)).outputs[0].txid)
    async with no_wallet_free(shop):  # so that nothing is signed before
        await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
        await shop.chain.reorganise(CONFIRMATIONS, drop_pool=True)

    async def in_trouble() -> bool:
        return bool((await shop.view(escrow_id)).escrow.trouble)

    await until(in_trouble, limit_seconds=60)
    view = await shop.view(escrow_id)
    assert (view.escrow.state, view.payouts[0].state) == (State.PAYING_OUT, "decided")
    await mine_again(shop, raw)
    await the_vendor_was_paid_once(shop, await shop.until_settled(escrow_id))


async def test_a_payout_that_fell_out_with_its_deposit_is_replaced_by_one_with_the_same_anchor(shop: Shop) -> None:
    """A ring names outputs by their place on the chain, and the deposit comes back to another one."""
    escrow_id = await shop.funded(XMR)
    raw = await raw_transaction(shop, (await shop.view(escrow_id)).outputs[0].txid)
    await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
    await until_broadcast(shop, escrow_id)
    await shop.chain.mine(1)
    before = await shop.view(escrow_id)

    await shop.chain.reorganise(CONFIRMATIONS + 1, drop_pool=True)
    await mine_again(shop, raw)

    async def replaced() -> bool:
        (payout,) = (await shop.view(escrow_id)).payouts
        return payout.state == "broadcast" and payout.txid != before.payouts[0].txid

    await until(replaced, limit_seconds=90)
    view = await shop.until_settled(escrow_id)
    assert view.payouts[0].plan == before.payouts[0].plan
    assert happened(view, "payout_to_be_replaced") == 1
    await the_vendor_was_paid_once(shop, view)
