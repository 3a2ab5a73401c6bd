"""From a signed transaction to a final one: what the daemon says about it, and what becomes of the payout."""

from __future__ import annotations

from contextlib import suppress
from unittest.mock import patch

import pytest

from monero_escrow.core import payout as plans
from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.errors import ConflictError, InvariantError, NotFoundError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.repairs import MOST_FAILURES, MOST_REPLACEMENTS, REFUSALS_BEFORE_REPLACEMENT
from monero_escrow.escrows import decide, held
from monero_escrow.escrows.context import Context, DaemonUnavailableError
from monero_escrow.escrows.repair import Remedy, rule_for
from monero_escrow.escrows.signers import SignersDisagreeError
from monero_escrow.monero.errors import TransactionRefusedError
from monero_escrow.monero.ports import DaemonTransaction, KeyImageStatus
from monero_escrow.store.records import PayoutRecord, PayoutState, TrioRecord
from monero_escrow.store.transaction import Transaction
from monero_escrow.store.work_table import ClaimLostError
from unit.rows import XMR, hex64
from unit.scripted import HEIGHT, ScriptedDaemon, an_escrow, broadcast, in_block, look, payouts

REFUSED = TransactionRefusedError("send_raw_transaction", frozenset({"fee_too_low"}))


async def escrow_state(ctx: Context) -> State:
    return (await ctx.store.read(lambda tx: tx.escrows.get("escrow"))).state


async def actions(ctx: Context) -> list[str]:
    return [row.action for row in await ctx.store.read(lambda tx: tx.audit.of("escrow"))]


async def test_a_signed_payout_that_the_network_knows_is_broadcast_with_all_that_belongs_to_it(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    await broadcast(ctx, raw=False)
    daemon.known[hex64("txid")] = in_block(None)
    payout = await look(ctx)
    assert payout.state is PayoutState.BROADCAST
    assert payout.broadcast_at is not None
    assert await ctx.store.read(lambda tx: tx.payouts.raw(payout.id)) == "raw"
    history = await ctx.store.read(lambda tx: tx.audit.of("escrow"))
    assert "payout_broadcast" in [row.action for row in history]


async def test_a_payout_that_the_pool_forgot_is_given_to_the_daemon_again(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    payout = await look(ctx)
    assert payout.state is PayoutState.BROADCAST
    assert daemon.relayed == ["raw"]


async def test_a_payout_is_settled_when_it_is_deep_enough_and_not_before(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    daemon.known[hex64("txid")] = in_block(991)
    assert (await look(ctx)).state is PayoutState.BROADCAST
    daemon.known[hex64("txid")] = in_block(990)
    assert (await look(ctx)).state is PayoutState.SETTLED
    assert (await ctx.store.read(lambda tx: tx.escrows.get("escrow"))).state is State.SETTLED


async def test_any_transaction_that_was_signed_for_the_plan_settles_it(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    daemon.known[hex64("earlier")] = in_block(900, "earlier")
    payout = await look(ctx)
    assert (payout.state, payout.txid) == (PayoutState.SETTLED, hex64("earlier"))
    assert (payout.fee_piconero, payout.shared_fee_piconero) == (1, 1)
    assert daemon.relayed == []


async def test_an_anchor_that_a_stranger_transaction_spent_stops_for_a_person(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    await broadcast(ctx)
    daemon.spent[hex64("image")] = KeyImageStatus.IN_CHAIN
    payout = await look(ctx)
    assert payout.state is PayoutState.HELD
    assert "recipient unknown" in (payout.trouble or "")
    assert daemon.relayed == []
    events = await ctx.store.read(lambda tx: tx.outbox.after(None, 0, 100))
    assert events[-1].type == "escrow.payout_held"


async def test_a_payout_that_is_mined_while_the_daemon_is_asked_is_ours_and_no_stranger_s(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    """monerod looks into its chain, then into its pool: it misses what goes from one to the other in between."""
    await broadcast(ctx)
    daemon.mine_while_asked(in_block(HEIGHT - 1), hex64("image"))
    payout = await look(ctx)
    assert (payout.state, payout.mined_height, payout.trouble) == (PayoutState.BROADCAST, HEIGHT - 1, None)
    assert daemon.relayed == []


async def test_a_payout_is_followed_until_it_is_final(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    daemon.known[hex64("txid")] = in_block(HEIGHT - 10)
    assert (await look(ctx)).final_at is None
    daemon.height += 19
    assert (await look(ctx)).final_at is None
    daemon.height += 1
    assert (await look(ctx)).final_at is not None


async def test_a_settled_payout_that_fell_out_of_the_chain_is_given_again_and_settles_again(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    await broadcast(ctx)
    daemon.known[hex64("txid")] = in_block(HEIGHT - 10)
    await look(ctx)
    daemon.known.clear()

    payout = await look(ctx)

    assert (payout.state, payout.mined_height, daemon.relayed) == (PayoutState.BROADCAST, None, ["raw"])
    assert await escrow_state(ctx) is State.PAYING_OUT
    assert "payout_fell_out" in await actions(ctx)
    daemon.known[hex64("txid")] = in_block(HEIGHT - 1)
    daemon.height += 9
    assert (await look(ctx)).state is PayoutState.SETTLED
    assert await escrow_state(ctx) is State.SETTLED


async def test_a_payout_that_moved_to_a_later_block_is_settled_when_that_is_deep_enough(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    await broadcast(ctx)
    daemon.known[hex64("txid")] = in_block(HEIGHT - 10)
    await look(ctx)
    daemon.known[hex64("txid")] = in_block(HEIGHT - 2)
    assert (await look(ctx)).state is PayoutState.BROADCAST
    assert daemon.relayed == []


async def test_a_chain_that_is_shorter_for_a_moment_takes_nothing_back(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    daemon.known[hex64("txid")] = in_block(HEIGHT - 10)
    await look(ctx)
    daemon.height -= 3
    assert (await look(ctx)).state is PayoutState.SETTLED


async def refused(ctx: Context, daemon: ScriptedDaemon, times: int) -> PayoutRecord:
    """The payout after the daemon refused its transaction so often."""
    daemon.refusal = REFUSED
    for _ in range(times - 1):
        with pytest.raises(TransactionRefusedError):
            await look(ctx)
    return await look(ctx)


async def test_a_transaction_the_network_refuses_is_replaced_and_stays_stored(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    await broadcast(ctx)
    payout = await refused(ctx, daemon, REFUSALS_BEFORE_REPLACEMENT)
    assert payout.state is PayoutState.DECIDED
    assert await ctx.store.read(lambda tx: tx.payouts.signed_txids(payout.id)) == [hex64("earlier"), hex64("txid")]
    assert "payout_to_be_replaced" in await actions(ctx)


async def test_a_replaced_transaction_that_turns_up_after_all_settles_the_payout(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    await broadcast(ctx)
    await refused(ctx, daemon, REFUSALS_BEFORE_REPLACEMENT)
    daemon.known[hex64("earlier")] = in_block(HEIGHT - 10, "earlier")
    await look(ctx)
    payout = await look(ctx)
    assert (payout.state, payout.txid) == (PayoutState.SETTLED, hex64("earlier"))


async def test_after_many_refused_transactions_a_person_is_asked(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    (payout,) = await payouts(ctx)

    def sign_more(tx: Transaction) -> None:
        for name in range(MOST_REPLACEMENTS):
            number = tx.payouts.add_proposal(payout.id, "txset", 1, 102.0)
            tx.payouts.keep_signed(payout.id, number, "blob", hex64(f"another {name}"), 102.0)

    await ctx.store.write(sign_more)
    payout = await refused(ctx, daemon, REFUSALS_BEFORE_REPLACEMENT)
    assert payout.state is PayoutState.HELD
    assert "Look at its log" in (payout.trouble or "")


async def test_a_person_resumes_a_held_payout_where_it_was(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    daemon.spent[hex64("image")] = KeyImageStatus.IN_CHAIN
    await look(ctx)
    daemon.spent.clear()
    await ctx.store.write(held.to_resume("escrow", 1, "operator:ann", 200.0))
    payout = await look(ctx)
    assert (payout.state, payout.trouble, daemon.relayed) == (PayoutState.BROADCAST, None, ["raw"])
    assert "payout_resumed" in await actions(ctx)


async def test_a_person_has_a_held_payout_replaced(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    daemon.spent[hex64("image")] = KeyImageStatus.IN_CHAIN
    await look(ctx)
    await ctx.store.write(held.to_replace("escrow", 1, "operator:ann", 200.0))
    assert (await payouts(ctx))[0].state is PayoutState.DECIDED


async def test_only_a_held_payout_is_resumed_or_replaced(ctx: Context) -> None:
    await broadcast(ctx)
    for decision in (held.to_resume("escrow", 1, "ann", 200.0), held.to_replace("escrow", 1, "ann", 200.0)):
        with pytest.raises(ConflictError, match="broadcast"):
            await ctx.store.write(decision)
    with pytest.raises(NotFoundError):
        await ctx.store.write(held.to_resume("escrow", 2, "ann", 200.0))


async def test_no_payout_is_moved_by_somebody_who_read_it_before_it_moved(ctx: Context) -> None:
    seen = await broadcast(ctx)
    await ctx.store.write(lambda tx: tx.payouts.move(seen, PayoutState.HELD))
    with pytest.raises(InvariantError):
        await ctx.store.write(lambda tx: tx.payouts.move(seen, PayoutState.SETTLED))


async def test_the_daemon_being_away_counts_nothing_against_a_payout(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    daemon.tip_at = -100_000.0
    for _ in range(20):
        with pytest.raises(DaemonUnavailableError):
            await look(ctx)
    (payout,) = await payouts(ctx)
    assert (payout.state, payout.failures) == (PayoutState.BROADCAST, 0)


async def called_off(ctx: Context) -> None:
    await ctx.store.write(await held.to_call_off(ctx, "escrow", 1, "operator:ann"))


async def held_before_signing(ctx: Context, state: State) -> None:
    """A refund or ruling that was stopped before anything was signed."""
    await an_escrow(ctx, state, (OutputStatus.COUNTED, XMR))
    decision = decide.ruling(ctx, "escrow", "arbiter", 0, 10_000) if state is State.DISPUTED else None
    await ctx.store.write(await (decision or decide.refund(ctx, "escrow", "shop")))
    (payout,) = await payouts(ctx)
    await ctx.store.write(lambda tx: held.hold(tx, payout.id, "The deposit is gone.", 200.0))


@pytest.mark.parametrize(
    ("before", "after"), [(State.FUNDED, State.AWAITING_DEPOSIT), (State.DISPUTED, State.DISPUTED)]
)
async def test_a_payout_that_is_called_off_gives_its_coins_back_to_be_decided_about_anew(
    ctx: Context, before: State, after: State
) -> None:
    await held_before_signing(ctx, before)
    await called_off(ctx)
    (payout,) = await payouts(ctx)
    assert payout.state is PayoutState.CALLED_OFF
    assert await escrow_state(ctx) is after
    (coin,) = await ctx.store.read(lambda tx: tx.outputs.of("escrow"))
    assert coin.payout_id is None
    again = decide.ruling(ctx, "escrow", "arbiter", 0, 10_000) if after is State.DISPUTED else None
    await ctx.store.write(await (again or decide.refund(ctx, "escrow", "shop")))
    assert [payout.state for payout in await payouts(ctx)] == [PayoutState.CALLED_OFF, PayoutState.DECIDED]


async def test_a_signed_payout_is_called_off_only_when_its_deposit_is_not_on_the_chain(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    payout = await broadcast(ctx)
    await ctx.store.write(lambda tx: held.hold(tx, payout.id, "The deposit is gone.", 200.0))
    (coin,) = await ctx.store.read(lambda tx: tx.outputs.of("escrow"))
    daemon.known[coin.txid] = DaemonTransaction(coin.txid, False, HEIGHT - 40, 0, "raw", False)
    with pytest.raises(ConflictError, match="on the chain"):
        await called_off(ctx)
    daemon.known.clear()
    await called_off(ctx)
    assert (await payouts(ctx))[0].state is PayoutState.CALLED_OFF


async def test_coins_that_are_spent_already_are_not_given_back_to_be_decided_about(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    await broadcast(ctx)
    daemon.spent[hex64("image")] = KeyImageStatus.IN_CHAIN
    await look(ctx)
    with pytest.raises(ConflictError, match="spent already"):
        await called_off(ctx)
    assert (await payouts(ctx))[0].state is PayoutState.HELD


async def written_off(ctx: Context) -> None:
    await ctx.store.write(await held.to_write_off(ctx, "escrow", 1, "operator:ann", "Paid before the restore."))


async def test_a_payout_whose_coins_left_by_a_strangers_transaction_is_written_off_and_stays_so(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    await broadcast(ctx)
    daemon.spent[hex64("image")] = KeyImageStatus.IN_CHAIN
    await look(ctx)
    await written_off(ctx)
    (payout,) = await payouts(ctx)
    assert (payout.state, payout.trouble) == (PayoutState.WRITTEN_OFF, "Paid before the restore.")
    assert await escrow_state(ctx) is State.SETTLED
    (coin,) = await ctx.store.read(lambda tx: tx.outputs.of("escrow"))
    assert coin.payout_id == payout.id
    with pytest.raises(ConflictError):
        await written_off(ctx)


async def test_a_payout_is_not_written_off_while_one_of_ours_may_have_paid_it(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    payout = await broadcast(ctx)
    await ctx.store.write(lambda tx: held.hold(tx, payout.id, "Look.", 200.0))
    with pytest.raises(ConflictError, match="not known to be spent"):
        await written_off(ctx)
    daemon.spent[hex64("image")] = KeyImageStatus.IN_CHAIN
    daemon.known[hex64("txid")] = in_block(HEIGHT - 1)
    with pytest.raises(ConflictError, match="not known to be spent"):
        await written_off(ctx)
    assert (await payouts(ctx))[0].state is PayoutState.HELD


async def test_a_payout_that_is_mined_while_the_daemon_is_asked_is_not_written_off(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    payout = await broadcast(ctx)
    await ctx.store.write(lambda tx: held.hold(tx, payout.id, "Look.", 200.0))
    daemon.mine_while_asked(in_block(HEIGHT - 1), hex64("image"))
    with pytest.raises(ConflictError, match="not known to be spent"):
        await written_off(ctx)


async def signed_badly(_ctx: Context, _payout: PayoutRecord, _trio: TrioRecord) -> None:
    raise SignersDisagreeError("The signers' wallets see 1 and 2 outputs.")


async def tried(ctx: Context, times: int) -> PayoutRecord:
    """The payout after so many tries at signing that the wallets spoilt."""
    with patch("monero_escrow.escrows.advance.sign_and_submit", signed_badly):
        for _ in range(times):
            with suppress(SignersDisagreeError):
                await look(ctx)
    return (await payouts(ctx))[0]


async def decided(ctx: Context, daemon: ScriptedDaemon, deposit_height: int | None) -> None:
    """A refund that nobody signed yet, of a deposit in this block; None: in the pool."""
    await an_escrow(ctx, State.FUNDED, (OutputStatus.COUNTED, XMR))
    await ctx.store.write(await decide.refund(ctx, "escrow", "shop"))
    (coin,) = await ctx.store.read(lambda tx: tx.outputs.of("escrow"))
    pooled = deposit_height is None
    daemon.known[coin.txid] = DaemonTransaction(coin.txid, pooled, deposit_height, 0, "raw", False)


async def test_wallets_that_go_on_disagreeing_have_the_payout_held_for_a_person(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    await decided(ctx, daemon, HEIGHT - 40)
    assert (await tried(ctx, MOST_FAILURES - 1)).state is PayoutState.DECIDED
    payout = await tried(ctx, 1)
    assert payout.state is PayoutState.HELD
    assert "call the payout off" in (payout.trouble or "")


@pytest.mark.parametrize("deposit_height", [None, HEIGHT - 9])
async def test_nothing_is_held_against_a_payout_while_its_deposit_is_being_mined_again(
    ctx: Context, daemon: ScriptedDaemon, deposit_height: int | None
) -> None:
    await decided(ctx, daemon, deposit_height)
    payout = await tried(ctx, 2 * MOST_FAILURES)
    assert (payout.state, payout.failures) == (PayoutState.DECIDED, 0)


async def test_a_look_that_works_forgets_the_failures_before_it(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    daemon.refusal = REFUSED
    with pytest.raises(TransactionRefusedError):
        await look(ctx)
    assert (await payouts(ctx))[0].failures == 1
    daemon.known[hex64("txid")] = in_block(HEIGHT - 1)
    assert (await look(ctx)).failures == 0


async def test_a_part_of_a_decision_is_not_called_off_while_its_coins_are_there_and_another_part_stands(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    """Else they would be late coins, and go back to the buyer by themselves."""
    coins = [(OutputStatus.COUNTED, XMR // 100)] * (plans.MOST_OUTPUTS + 1)
    await an_escrow(ctx, State.FUNDED, *coins)
    await ctx.store.write(await decide.release(ctx, "escrow", "shop"))
    first, second = await payouts(ctx)
    await ctx.store.write(lambda tx: held.hold(tx, second.id, "The fee is too high.", 200.0))
    for coin in await ctx.store.read(lambda tx: tx.outputs.of("escrow")):
        daemon.known[coin.txid] = DaemonTransaction(coin.txid, False, HEIGHT - 40, 0, "raw", False)
    with pytest.raises(ConflictError, match="Another part"):
        await ctx.store.write(await held.to_call_off(ctx, "escrow", second.number, "operator:ann"))
    daemon.known.clear()  # no coin of it is on the chain any more
    await ctx.store.write(await held.to_call_off(ctx, "escrow", second.number, "operator:ann"))
    assert [payout.state for payout in await payouts(ctx)] == [first.state, PayoutState.CALLED_OFF]


def test_a_claim_that_was_lost_holds_no_payout() -> None:
    """Whoever has it by now goes on with it; a fence that still stands would let the wrong word be written."""
    assert rule_for(ClaimLostError("Another node works on it.")).remedy is Remedy.WAIT
