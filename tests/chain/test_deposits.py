"""Deposits on a real chain: short, over, double, late, locked and dust, and what the shop can do about each."""

from __future__ import annotations

import pytest

from chain.conftest import CONFIRMATIONS, XMR, Shop
from monero_escrow.core.deposits import Coverage, OutputStatus
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import NothingToPayOutError
from monero_escrow.escrows import decide
from monero_escrow.monero.waiting import until

pytestmark = [pytest.mark.chain, pytest.mark.newest_monero, pytest.mark.asyncio(loop_scope="session")]

DUST = 1_000


async def test_two_deposits_make_the_amount_together(shop: Shop) -> None:
    escrow_id = await shop.order(XMR)
    await shop.pay(escrow_id, XMR // 4)
    await shop.pay(escrow_id, XMR * 3 // 4)
    await shop.chain.mine(CONFIRMATIONS)
    view = await shop.until(escrow_id, State.FUNDED)
    assert view.deposits.coverage is Coverage.EXACT
    assert len(view.outputs) == 2


async def test_a_deposit_counts_only_with_enough_confirmations(shop: Shop) -> None:
    escrow_id = await shop.order(XMR)
    await shop.pay(escrow_id, XMR)
    await shop.chain.mine(CONFIRMATIONS - 1)

    async def seen() -> bool:
        return bool((await shop.view(escrow_id)).outputs)

    await until(seen, limit_seconds=60)
    view = await shop.view(escrow_id)
    assert view.escrow.state is State.AWAITING_DEPOSIT
    assert [output.status for output in view.outputs] == [OutputStatus.PENDING]
    assert view.deposits.missing_piconero == 0
    await shop.chain.mine(1)
    await shop.until(escrow_id, State.FUNDED)


async def test_too_little_at_the_deadline_is_short_and_the_shop_can_accept_it(shop: Shop) -> None:
    escrow_id = await shop.order(XMR, deposit_window_seconds=20)
    await shop.pay(escrow_id, XMR // 2)
    await shop.chain.mine(CONFIRMATIONS)
    view = await shop.until(escrow_id, State.SHORT)
    assert view.deposits.missing_piconero == XMR // 2
    await shop.decide(escrow_id, decide.accept_short(shop.ctx, escrow_id, "shop:test"))
    await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
    view = await shop.until_settled(escrow_id)
    vendor = await shop.received_at(view.escrow.terms.vendor_payout_address)
    assert vendor == XMR // 2 - (view.payouts[0].fee_piconero or 0)


async def test_nothing_at_the_deadline_expires_and_an_extension_reopens_it(shop: Shop) -> None:
    escrow_id = await shop.order(XMR, deposit_window_seconds=1)
    await shop.until(escrow_id, State.EXPIRED)
    later = shop.ctx.clock.now() + 3_600
    await shop.decide(escrow_id, decide.extend(shop.ctx, escrow_id, "shop:test", later))
    await shop.pay(escrow_id, XMR)
    await shop.chain.mine(CONFIRMATIONS)
    await shop.until(escrow_id, State.FUNDED)


async def test_coins_for_an_expired_order_go_back_to_the_buyer(shop: Shop) -> None:
    escrow_id = await shop.order(XMR, deposit_window_seconds=1)
    await shop.until(escrow_id, State.EXPIRED)
    await shop.pay(escrow_id, XMR)
    await shop.chain.mine(CONFIRMATIONS)
    await shop.look_at_closed(escrow_id)
    view = await shop.until_settled(escrow_id)
    assert view.escrow.state is State.EXPIRED
    buyer = await shop.received_at(view.escrow.terms.buyer_refund_address)
    assert buyer == XMR - (view.payouts[0].fee_piconero or 0)


async def test_dust_is_shown_and_blocks_nothing(shop: Shop) -> None:
    escrow_id = await shop.order(XMR)
    await shop.pay(escrow_id, DUST, XMR, DUST)
    await shop.chain.mine(CONFIRMATIONS)
    view = await shop.until(escrow_id, State.FUNDED)
    assert view.dust_piconero == 2 * DUST
    await shop.decide(escrow_id, await decide.refund(shop.ctx, escrow_id, "shop:test"))
    view = await shop.until_settled(escrow_id)
    buyer = await shop.received_at(view.escrow.terms.buyer_refund_address)
    assert buyer == XMR - (view.payouts[0].fee_piconero or 0)


async def test_dust_alone_cannot_be_paid_out_and_says_so(shop: Shop) -> None:
    escrow_id = await shop.order(XMR)
    await shop.pay(escrow_id, DUST)
    await shop.chain.mine(CONFIRMATIONS)

    async def seen() -> bool:
        return bool((await shop.view(escrow_id)).outputs)

    await until(seen, limit_seconds=60)
    with pytest.raises(NothingToPayOutError):
        await shop.decide(escrow_id, await decide.refund(shop.ctx, escrow_id, "shop:test"))
