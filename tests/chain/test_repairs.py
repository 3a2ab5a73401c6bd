"""A payout that does not go through at once, on real wallets: fresh infos, rebuilt wallets, or a replacement."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from chain.conftest import CONFIRMATIONS, XMR, Shop
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import Plan
from monero_escrow.core.repairs import REFUSALS_BEFORE_REPLACEMENT
from monero_escrow.core.roles import Role
from monero_escrow.escrows import decide, held
from monero_escrow.monero.errors import TransactionRefusedError
from monero_escrow.monero.waiting import until
from monero_escrow.store.records import PayoutRecord, PayoutState

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

LIMIT_SECONDS = 120.0


async def release(shop: Shop) -> str:
    """A funded escrow that is to be paid to the vendor."""
    escrow_id = await shop.funded(XMR)
    await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
    return escrow_id


async def the_payout(shop: Shop, escrow_id: str) -> PayoutRecord:
    (payout,) = (await shop.view(escrow_id)).payouts
    return payout


async def until_payout_is(shop: Shop, escrow_id: str, state: PayoutState) -> PayoutRecord:
    async def there() -> bool:
        return (await the_payout(shop, escrow_id)).state is state

    await until(there, limit_seconds=LIMIT_SECONDS)
    return await the_payout(shop, escrow_id)


async def vendor_got(shop: Shop, escrow_id: str) -> int:
    return await shop.received_at((await shop.view(escrow_id)).escrow.terms.vendor_payout_address)


async def results_of(shop: Shop, escrow_id: str, step: str) -> list[str]:
    return [row["result"] for row in (await shop.view(escrow_id)).steps if row["name"] == step]


@pytest.mark.parametrize("signer", ["proposer", "cosigner"])
async def test_a_signature_with_nonces_that_were_replaced_is_repaired_by_a_fresh_exchange(
    shop: Shop, signer: str
) -> None:
    escrow_id = await shop.funded(XMR)

    async def export_once_more() -> None:
        plan: Plan = (await the_payout(shop, escrow_id)).plan
        role: Role = getattr(plan, signer)
        (lease,) = shop.ctx.pool.leases
        await lease.slot(role).rpc.export_multisig_info()  # the nonces of the export before are dead now

    with shop.before_the_first("describe_transfer", export_once_more):
        await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
        view = await shop.until_settled(escrow_id)

    assert (view.payouts[0].failures, view.escrow.trouble) == (0, None)
    assert await vendor_got(shop, escrow_id) == XMR - (view.payouts[0].fee_piconero or 0)
    if signer == "cosigner":
        assert len(await results_of(shop, escrow_id, "sign")) == 2


async def test_a_payout_that_the_network_forgot_and_refuses_is_replaced_and_pays_once(shop: Shop) -> None:
    escrow_id = await release(shop)
    daemon = shop.chain.daemon
    first = await until_payout_is(shop, escrow_id, PayoutState.BROADCAST)
    raw = await shop.ctx.store.read(lambda tx: tx.payouts.raw(first.id))
    assert raw is not None
    refusals = 0

    async def refuse(_raw: str) -> None:
        nonlocal refusals
        refusals += 1
        raise TransactionRefusedError("send_raw_transaction", frozenset({"fee_too_low"}))

    assert shop.ctx.daemon is not None
    with patch.object(shop.ctx.daemon, "send_raw_transaction", refuse):
        await daemon.flush_txpool()
        await shop.look_at(escrow_id)

        async def another_is_broadcast() -> bool:
            payout = await the_payout(shop, escrow_id)
            return payout.state is PayoutState.BROADCAST and payout.txid != first.txid

        await until(another_is_broadcast, limit_seconds=LIMIT_SECONDS)
    assert refusals == REFUSALS_BEFORE_REPLACEMENT
    with pytest.raises(TransactionRefusedError):
        await daemon.send_raw_transaction(raw)  # the replacement spends the same anchor
    await shop.chain.mine(CONFIRMATIONS)
    view = await shop.until(escrow_id, State.SETTLED)
    assert await vendor_got(shop, escrow_id) == XMR - (view.payouts[0].fee_piconero or 0)
    with pytest.raises(TransactionRefusedError):
        await daemon.send_raw_transaction(raw)


async def test_a_held_payout_goes_on_with_rebuilt_wallets_when_an_operator_resumes_it(shop: Shop) -> None:
    escrow_id = await shop.funded(XMR)
    with patch("monero_escrow.escrows.pay_out.objections", return_value=["The set pays a stranger."]):
        await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
        stopped = await until_payout_is(shop, escrow_id, PayoutState.HELD)
    assert "The set pays a stranger." in (stopped.trouble or "")
    assert (await shop.view(escrow_id)).waits_for.startswith("The operator:")
    assert "sign" not in [row["name"] for row in (await shop.view(escrow_id)).steps]

    with patch("monero_escrow.escrows.signers.distrusts_files", return_value=True):
        now = shop.ctx.clock.now()
        await shop.decide(escrow_id, held.to_resume(escrow_id, 1, "operator:ann", now))
        view = await shop.until_settled(escrow_id)
    assert await vendor_got(shop, escrow_id) == XMR - (view.payouts[0].fee_piconero or 0)


async def test_coins_that_come_while_a_payout_is_held_are_seen(shop: Shop) -> None:
    escrow_id = await shop.funded(XMR)
    with patch("monero_escrow.escrows.pay_out.objections", return_value=["The set pays a stranger."]):
        await shop.decide(escrow_id, await decide.release(shop.ctx, escrow_id, "shop:test"))
        await until_payout_is(shop, escrow_id, PayoutState.HELD)
    await shop.pay(escrow_id, XMR // 4)
    await shop.chain.mine(CONFIRMATIONS)

    async def counted() -> bool:
        await shop.look_at(escrow_id)
        return (await shop.view(escrow_id)).deposits.counted_piconero == XMR // 4

    await until(counted, limit_seconds=LIMIT_SECONDS, poll_seconds=0.5)
    await shop.decide(escrow_id, held.to_resume(escrow_id, 1, "operator:ann", shop.ctx.clock.now()))

    async def both_settled() -> bool:
        await shop.chain.mine(1)
        await shop.look_at(escrow_id)
        payouts = (await shop.view(escrow_id)).payouts
        return [payout.state for payout in payouts] == [PayoutState.SETTLED] * 2

    await until(both_settled, limit_seconds=LIMIT_SECONDS, poll_seconds=0.5)
    view = await shop.view(escrow_id)
    assert view.payouts[1].plan.total_piconero == XMR // 4
