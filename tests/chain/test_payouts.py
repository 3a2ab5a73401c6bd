"""Money moves on a real chain as the money rules say, to the piconero."""

from __future__ import annotations

import pytest

from chain.conftest import CONFIRMATIONS, XMR, Shop
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import FeeBearer
from monero_escrow.escrows import decide
from monero_escrow.escrows.views import EscrowView

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]


async def the_chain_agrees(shop: Shop, view: EscrowView) -> dict[str, int]:
    """What buyer and vendor received, after checking that plan, fee and chain add up."""
    terms = view.escrow.terms
    got = {
        "buyer": await shop.received_at(terms.buyer_refund_address),
        "vendor": await shop.received_at(terms.vendor_payout_address),
    }
    if terms.commission_address is not None:
        got["commission"] = await shop.received_at(terms.commission_address)
    spent = sum(payout.plan.total_piconero for payout in view.payouts)
    fees = sum(payout.fee_piconero or 0 for payout in view.payouts)
    assert sum(got.values()) + fees == spent
    return got


async def test_a_release_pays_the_vendor_everything_less_the_fee(shop: Shop) -> None:
    escrow_id = await shop.funded(2 * XMR)
    await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
    view = await shop.until_settled(escrow_id)
    assert view.escrow.state is State.SETTLED
    got = await the_chain_agrees(shop, view)
    assert got == {"buyer": 0, "vendor": 2 * XMR - (view.payouts[0].fee_piconero or 0)}


async def test_a_refund_pays_the_buyer_everything_less_the_fee(shop: Shop) -> None:
    escrow_id = await shop.funded(XMR, XMR // 2, XMR // 2)
    await shop.decide(escrow_id, await decide.refund(shop.ctx, escrow_id, "shop:test"))
    view = await shop.until_settled(escrow_id)
    got = await the_chain_agrees(shop, view)
    assert got == {"buyer": XMR - (view.payouts[0].fee_piconero or 0), "vendor": 0}


async def test_a_ruling_splits_by_shares_and_the_arbiter_signs(shop: Shop) -> None:
    escrow_id = await shop.funded(XMR + 1)
    await shop.decide(escrow_id, decide.dispute(shop.ctx, escrow_id, "shop:test", "The parcel was empty."))
    await shop.decide(escrow_id, await decide.ruling(shop.ctx, escrow_id, "arbiter:test", 3_000, 7_000))
    view = await shop.until_settled(escrow_id)
    got = await the_chain_agrees(shop, view)
    fee = view.payouts[0].fee_piconero or 0
    buyer = (XMR + 1) * 3 // 10
    of_buyer = fee * buyer // (XMR + 1)
    assert got == {"buyer": buyer - of_buyer, "vendor": XMR + 1 - buyer - (fee - of_buyer)}
    assert {view.payouts[0].plan.proposer, view.payouts[0].plan.cosigner} == {"arbiter", "vendor"}


async def test_a_surplus_goes_back_in_the_same_transaction_and_the_commission_is_exact(shop: Shop) -> None:
    commission_address = await shop.new_address()
    terms = {"commission_address": commission_address, "commission_parts": 250, "fee_bearer": FeeBearer.VENDOR}
    escrow_id = await shop.funded(XMR, 3 * XMR, **terms)
    await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
    view = await shop.until_settled(escrow_id)
    got = await the_chain_agrees(shop, view)
    commission = XMR * 250 // 10_000
    fee = view.payouts[0].fee_piconero or 0
    assert got == {"buyer": 2 * XMR, "vendor": XMR - commission - fee, "commission": commission}


async def test_coins_that_come_after_the_payout_go_back_to_the_buyer(shop: Shop) -> None:
    escrow_id = await shop.funded(XMR)
    await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
    await shop.until_settled(escrow_id)
    await shop.pay(escrow_id, XMR // 4)
    await shop.chain.mine(CONFIRMATIONS)
    await shop.look_at_closed(escrow_id)
    view = await shop.until_settled(escrow_id, payouts=2)
    assert view.escrow.state is State.SETTLED
    assert view.payouts[1].plan.kind == "return"
    got = await the_chain_agrees(shop, view)
    assert got["buyer"] == XMR // 4 - (view.payouts[1].fee_piconero or 0)


async def test_the_fee_is_learned_in_at_most_two_proposals(shop: Shop) -> None:
    escrow_id = await shop.funded(XMR)
    await shop.decide(escrow_id, decide.dispute(shop.ctx, escrow_id, "shop:test", "Half of it is missing."))
    await shop.decide(escrow_id, await decide.ruling(shop.ctx, escrow_id, "arbiter:test", 5_000, 5_000))
    view = await shop.until_settled(escrow_id)
    proposals = [step for step in view.steps if step["name"] == "propose"]
    assert len(proposals) <= 2
    got = await the_chain_agrees(shop, view)
    assert abs(got["buyer"] - got["vendor"]) <= 1
