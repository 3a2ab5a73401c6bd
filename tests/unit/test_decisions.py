"""Decisions, on a real store and a daemon that says what the test wants."""

from __future__ import annotations

import pytest

from monero_escrow.core.deposits import Coverage, OutputStatus
from monero_escrow.core.errors import InvalidInputError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.pauses import LONGEST_PAUSE_SECONDS, pause_seconds
from monero_escrow.core.payout import NothingToPayOutError, PayoutKind
from monero_escrow.escrows import decide
from monero_escrow.escrows.context import Context, DaemonUnavailableError
from monero_escrow.escrows.decide import DepositsPendingError
from monero_escrow.escrows.watch_deposits import Sighting, deposits_of, record_sighting
from monero_escrow.jitter import jittered
from unit.rows import XMR
from unit.scripted import HEIGHT, ScriptedDaemon, an_escrow, payouts

# Worth more than the fee one input adds, and less than a whole transaction costs.
WORTHLESS_ALONE = 20_000_000


async def test_a_release_waits_for_what_is_on_its_way_unless_the_amount_is_there(ctx: Context) -> None:
    await an_escrow(ctx, State.FUNDED, (OutputStatus.COUNTED, XMR * 4 // 10), (OutputStatus.PENDING, XMR * 6 // 10))
    with pytest.raises(DepositsPendingError):
        await ctx.store.write(await decide.release(ctx, "escrow", "shop"))
    assert await payouts(ctx) == []


async def test_a_surplus_on_its_way_does_not_hold_a_release_up(ctx: Context) -> None:
    await an_escrow(ctx, State.FUNDED, (OutputStatus.COUNTED, XMR), (OutputStatus.PENDING, XMR))
    await ctx.store.write(await decide.release(ctx, "escrow", "shop"))
    (payout,) = await payouts(ctx)
    assert payout.plan.total_piconero == XMR


async def test_a_short_deposit_is_not_accepted_while_more_is_on_its_way(ctx: Context) -> None:
    await an_escrow(ctx, State.SHORT, (OutputStatus.COUNTED, XMR // 2), in_pool=XMR // 2)
    with pytest.raises(DepositsPendingError):
        await ctx.store.write(decide.accept_short(ctx, "escrow", "shop"))


async def test_coins_in_the_pool_are_on_their_way_and_do_not_count(ctx: Context) -> None:
    record = await an_escrow(ctx, State.AWAITING_DEPOSIT, in_pool=XMR)
    deposits = await ctx.store.read(lambda tx: deposits_of(tx, record))
    assert (deposits.pending_piconero, deposits.coverage) == (XMR, Coverage.NOTHING)


async def test_a_decision_that_the_fee_would_eat_is_not_made(ctx: Context) -> None:
    await an_escrow(ctx, State.EXPIRED, (OutputStatus.COUNTED, WORTHLESS_ALONE))
    with pytest.raises(NothingToPayOutError):
        await ctx.store.write(await decide.refund(ctx, "escrow", "shop"))
    await decide.return_late_coins(ctx, "escrow")
    assert await payouts(ctx) == []


async def test_late_coins_and_those_whose_lock_ran_out_go_back_together(ctx: Context) -> None:
    await an_escrow(ctx, State.SETTLED, (OutputStatus.COUNTED, XMR), (OutputStatus.RETURNABLE, 2 * XMR))
    await decide.return_late_coins(ctx, "escrow")
    (payout,) = await payouts(ctx)
    assert (payout.plan.kind, payout.plan.total_piconero) == (PayoutKind.RETURN, 3 * XMR)
    await decide.return_late_coins(ctx, "escrow")
    assert len(await payouts(ctx)) == 1


async def test_a_daemon_whose_last_block_is_old_is_not_believed(ctx: Context, daemon: ScriptedDaemon) -> None:
    daemon.tip_at = ctx.clock.now() - ctx.settings.tip_age_seconds - 1
    with pytest.raises(DaemonUnavailableError, match="hours old"):
        await ctx.chain()


async def test_a_clock_that_is_far_behind_the_chain_is_not_gone_by(ctx: Context, daemon: ScriptedDaemon) -> None:
    daemon.tip_at = ctx.clock.now() + 7_100
    await ctx.chain()  # a miner's clock may be ahead by two hours
    daemon.tip_at = ctx.clock.now() + ctx.settings.tip_age_seconds + 1
    with pytest.raises(DaemonUnavailableError, match="in the future"):
        await ctx.chain()


async def test_a_ruling_waits_for_a_deposit_that_a_reorganisation_put_back_into_the_pool(ctx: Context) -> None:
    await an_escrow(ctx, State.DISPUTED, (OutputStatus.COUNTED, XMR // 2), in_pool=XMR // 2)
    with pytest.raises(DepositsPendingError):
        await ctx.store.write(await decide.ruling(ctx, "escrow", "arbiter", 5_000, 5_000))


async def test_a_dismissed_dispute_whose_deposit_is_gone_for_good_awaits_it_again(ctx: Context) -> None:
    await an_escrow(ctx, State.DISPUTED)
    await ctx.store.write(lambda tx: tx.escrows.change("escrow", expected=State.DISPUTED, now=0, funded_piconero=XMR))
    with pytest.raises(NothingToPayOutError):
        await ctx.store.write(await decide.ruling(ctx, "escrow", "arbiter", 5_000, 5_000))
    await ctx.store.write(decide.dismiss(ctx, "escrow", "arbiter", "The deposit is gone."))
    dismissed = await ctx.store.read(lambda tx: tx.escrows.get("escrow"))
    assert (dismissed.state, dismissed.due_at) == (State.FUNDED, ctx.clock.now())
    nothing = Sighting((), 0, HEIGHT)
    await ctx.store.write(lambda tx: record_sighting(ctx, tx, dismissed, nothing))
    assert (await ctx.store.read(lambda tx: tx.escrows.get("escrow"))).state is State.AWAITING_DEPOSIT


async def test_a_dismissal_tells_its_reason(ctx: Context) -> None:
    await an_escrow(ctx, State.DISPUTED, (OutputStatus.COUNTED, XMR))
    with pytest.raises(InvalidInputError):
        decide.dismiss(ctx, "escrow", "arbiter", "  ")
    await ctx.store.write(decide.dismiss(ctx, "escrow", "arbiter", "They agree."))
    last = (await ctx.store.read(lambda tx: tx.audit.of("escrow")))[-1]
    assert (last.action, last.detail) == ("dismiss", {"reason": "They agree."})


async def test_a_ruling_tells_its_reason_if_it_has_one(ctx: Context) -> None:
    await an_escrow(ctx, State.DISPUTED, (OutputStatus.COUNTED, XMR))
    for wrong in ("x" * 2_001, "two\nlines"):
        with pytest.raises(InvalidInputError, match="1 to 2000 printable"):
            await decide.ruling(ctx, "escrow", "arbiter", 5_000, 5_000, reason=wrong)
    await ctx.store.write(await decide.ruling(ctx, "escrow", "arbiter", 5_000, 5_000, reason=" It was half empty. "))
    last = (await ctx.store.read(lambda tx: tx.audit.of("escrow")))[-1]
    assert (last.action, last.detail["reason"]) == ("ruling", "It was half empty.")
    (payout,) = await payouts(ctx)
    assert payout.reason == "5000/5000 of 10,000"


def test_pauses_grow_to_a_bound_and_never_overflow() -> None:
    assert [pause_seconds(failures) for failures in (0, 1, 2, 9)] == [1.0, 2.0, 4.0, LONGEST_PAUSE_SECONDS]
    assert pause_seconds(10_000) == LONGEST_PAUSE_SECONDS


def test_pauses_are_varied_so_that_what_failed_together_does_not_come_back_together() -> None:
    drawn = {jittered(8.0) for _ in range(1_000)}
    assert len(drawn) > 900
    assert 6.0 <= min(drawn) < 6.5
    assert 9.5 < max(drawn) <= 10.0
