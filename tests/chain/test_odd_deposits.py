"""Deposits as nobody would wish them, on a real chain: dust, floods, locked coins, and coins that come in between."""

from __future__ import annotations

from contextlib import suppress

import pytest

from chain.conftest import CONFIRMATIONS, XMR, Shop
from chain.twins import first_output, mine_twin
from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import MOST_OUTPUTS
from monero_escrow.core.roles import TRIO
from monero_escrow.escrows import decide
from monero_escrow.escrows.views import EscrowView, planned_payments
from monero_escrow.monero.errors import MoneroRpcError, NoWalletOpenError
from monero_escrow.monero.ports import WalletOutput, WalletRpc
from monero_escrow.monero.private_chain import MINED_COINS_LOCK_BLOCKS
from monero_escrow.monero.waiting import until

pytestmark = [pytest.mark.chain, pytest.mark.newest_monero, pytest.mark.asyncio(loop_scope="session")]

_OUTPUTS_A_PAYMENT = 15  # a transaction has at most 16, and one is the payer's change


async def seen(shop: Shop, escrow_id: str, outputs: int) -> EscrowView:
    """The escrow as soon as it shows so many outputs."""

    async def shown() -> bool:
        return len((await shop.view(escrow_id)).outputs) == outputs

    await until(shown, limit_seconds=60)
    return await shop.view(escrow_id)


async def with_a_wallet_open(shop: Shop) -> list[WalletRpc]:
    """The processes that have a wallet open at this moment."""
    found = []
    for slot in shop.ctx.pool.slots:
        with suppress(NoWalletOpenError):
            await slot.rpc.get_address()
            found.append(slot.rpc)
    return found


def spent_by(view: EscrowView, payout: int) -> list[int]:
    """The amounts a payout spends, in the plan's order."""
    return [output.amount_piconero for output in view.payouts[payout].plan.outputs]


async def the_chain_paid_exactly(shop: Shop, view: EscrowView) -> None:
    """Each address received what all the plans together say, to the piconero."""
    terms = view.escrow.terms
    planned: dict[str, int] = dict.fromkeys((terms.buyer_refund_address, terms.vendor_payout_address), 0)
    for payout in view.payouts:
        for address, piconero in planned_payments(payout).items():
            planned[address] += piconero
    assert {address: await shop.received_at(address) for address in planned} == planned
    fees = sum(payout.fee_piconero or 0 for payout in view.payouts)
    assert sum(planned.values()) + fees == sum(payout.plan.total_piconero for payout in view.payouts)


async def test_dust_up_to_the_limit_stays_frozen_and_shown_beside_a_payout(shop: Shop) -> None:
    limit = shop.ctx.settings.dust_piconero
    escrow_id = await shop.funded(XMR, 1, limit, limit + 1, XMR)
    view = await shop.view(escrow_id)
    assert view.deposits.counted_piconero == XMR + limit + 1

    wallets: list[list[WalletOutput]] = []

    async def look() -> None:
        wallets.extend([await rpc.incoming_transfers() for rpc in await with_a_wallet_open(shop)])

    with shop.before_the_first("sign_multisig", look):
        await shop.decide(escrow_id, await decide.refund(shop.ctx, escrow_id, "shop:test"))
        view = await shop.until_settled(escrow_id)
    of_signers = [wallet for wallet in wallets if len(wallet) == 4]
    assert len(of_signers) == 2
    for wallet in of_signers:
        frozen = {output.amount_piconero: output.frozen for output in wallet}
        assert frozen == {1: True, limit: True, limit + 1: False, XMR: False}

    assert spent_by(view, 0) == [XMR, limit + 1]
    await the_chain_paid_exactly(shop, view)
    await shop.look_at(escrow_id)
    view = await shop.view(escrow_id)
    assert view.dust_piconero == limit + 1
    assert len(view.payouts) == 1


async def test_a_flood_of_small_outputs_is_paid_out_in_several_plans_each_with_its_own_anchor(shop: Shop) -> None:
    flood = [XMR // 100 + number for number in range(MOST_OUTPUTS + 20)]
    largest_first = sorted(flood, reverse=True)
    escrow_id = await shop.order(sum(largest_first[:MOST_OUTPUTS]) + XMR // 100)
    for first in range(0, len(flood), _OUTPUTS_A_PAYMENT):
        await shop.pay(escrow_id, *flood[first : first + _OUTPUTS_A_PAYMENT])
    await shop.chain.mine(CONFIRMATIONS)
    await shop.until(escrow_id, State.FUNDED)
    await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
    view = await shop.until_settled(escrow_id, payouts=2)

    assert [spent_by(view, 0), spent_by(view, 1)] == [largest_first[:MOST_OUTPUTS], largest_first[MOST_OUTPUTS:]]
    assert view.payouts[0].plan.anchor != view.payouts[1].plan.anchor
    assert view.escrow.state is State.SETTLED
    await the_chain_paid_exactly(shop, view)
    vendor = await shop.received_at(view.escrow.terms.vendor_payout_address)
    assert 0 < view.escrow.terms.amount_piconero - vendor < sum(payout.fee_piconero or 0 for payout in view.payouts)


async def test_coins_a_miner_makes_never_count_and_go_back_once_they_can_move(shop: Shop) -> None:
    """Mined to the address; or with the one-time key of a deposit: of two such outputs wallets show only the larger."""
    escrow_id = await shop.order(XMR)
    amounts = [XMR // 2]
    await shop.pay(escrow_id, *amounts)
    await shop.chain.mine(1)
    copied = None
    while copied is None:  # the payer's change may stand first in the transaction, which cannot be chosen
        txid = await shop.pay(escrow_id, *[XMR // 10] * 10)
        amounts += [XMR // 10] * 10
        await shop.chain.mine(1)
        first = await first_output(shop.chain, txid)
        view = await seen(shop, escrow_id, len(amounts))
        copied = next((output for output in view.outputs if output.public_key == first.public_key), None)
    await mine_twin(shop.chain, first)
    await shop.chain.daemon.generate_blocks(1, view.escrow.deposit_address or "")
    await shop.chain.mine(CONFIRMATIONS)
    view = await shop.until(escrow_id, State.FUNDED)
    locked = [output for output in view.outputs if output.status is OutputStatus.TIME_LOCKED]
    assert [output.unlock_time - output.height for output in locked] == [MINED_COINS_LOCK_BLOCKS] * 2
    assert first.public_key in {output.public_key for output in locked}
    assert len(view.outputs) == len(amounts) + 1
    assert view.deposits.counted_piconero == sum(amounts) - copied.amount_piconero

    await shop.decide(escrow_id, await decide.refund(shop.ctx, escrow_id, "shop:test"))
    view = await shop.until_settled(escrow_id)
    assert sum(spent_by(view, 0)) == sum(amounts) - copied.amount_piconero
    await shop.chain.mine(MINED_COINS_LOCK_BLOCKS - 2 * CONFIRMATIONS)
    await shop.look_at(escrow_id)
    view = await shop.until_settled(escrow_id, payouts=2)
    assert sorted(spent_by(view, 1)) == sorted(output.amount_piconero for output in locked)
    await the_chain_paid_exactly(shop, view)


async def test_wallets_and_daemon_refuse_to_send_a_coin_with_an_unlock_time(shop: Shop) -> None:
    address = await shop.new_address()
    height = (await shop.chain.daemon.get_info()).height
    with pytest.raises(MoneroRpcError) as refused:
        await shop.chain.miner.wallet.transfer_now([(address, XMR)], unlock_time=height + 20)
    assert refused.value.code == "nonzero_unlock_time"
    assert not await shop.chain.daemon.unrelayed_txids()


async def test_coins_that_come_between_decision_and_settlement_are_paid_out_afterwards(shop: Shop) -> None:
    before_signing, after_the_exchange, after_the_broadcast = XMR // 2, XMR // 4, XMR // 8
    escrow_id = await shop.funded(XMR, XMR + XMR // 16)

    async def one_comes_and_the_wallets_notice() -> None:
        """As they do by themselves now and then."""
        await shop.pay(escrow_id, after_the_exchange)
        await shop.chain.mine(CONFIRMATIONS)
        for rpc in await with_a_wallet_open(shop):
            await rpc.refresh()

    pool = shop.ctx.pool
    with shop.before_the_first("transfer", one_comes_and_the_wallets_notice):
        async with (
            pool.lease(TRIO, "the test", wait_seconds=60),
            pool.lease(TRIO, "the test", wait_seconds=60),  # nothing is signed before both are given back
        ):
            await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
            await shop.pay(escrow_id, before_signing)
            await shop.chain.mine(CONFIRMATIONS)

        async def broadcast() -> bool:
            return [payout.state for payout in (await shop.view(escrow_id)).payouts] == ["broadcast"]

        await until(broadcast, limit_seconds=60)
    await shop.pay(escrow_id, after_the_broadcast)
    view = await shop.until_settled(escrow_id)
    assert spent_by(view, 0) == [XMR + XMR // 16]
    await the_chain_paid_exactly(shop, view)

    await shop.look_at(escrow_id)
    view = await shop.until_settled(escrow_id, payouts=2)
    assert spent_by(view, 1) == [before_signing, after_the_exchange, after_the_broadcast]
    await the_chain_paid_exactly(shop, view)
