"""When a wallet looks again after a look: at a height, at the deadline, soon, at the sweep, or never."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from monero_escrow.core.deposits import DepositRules, OutputStatus, SeenOutput, changes_at
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.next_look import FOLLOW_SECONDS
from monero_escrow.escrows.watch_deposits import Sighting, record_sighting
from monero_escrow.store import schema
from monero_escrow.store.records import EscrowRecord, PayoutState
from monero_escrow.store.scan_table import ScannedBlock
from monero_escrow.store.transaction import Transaction
from unit.rows import XMR, hex64
from unit.scripted import HEIGHT, an_escrow, broadcast
from unit.slots import VirtualClock

RULES = DepositRules(confirmations=10, dust_piconero=1_000, final_confirmations=30)
COIN = SeenOutput(hex64("coin"), hex64("txid"), XMR, HEIGHT - 3, 0, False)
DAY = 86_400.0


@pytest.mark.parametrize(
    ("status", "unlock_time", "final", "height"),
    [
        (OutputStatus.PENDING, 0, False, 110),
        (OutputStatus.COUNTED, 0, False, 130),
        (OutputStatus.COUNTED, 0, True, None),
        (OutputStatus.TIME_LOCKED, 120, False, 120),
        (OutputStatus.TIME_LOCKED, 105, False, 110),
        (OutputStatus.TIME_LOCKED, 5_000, False, 130),
        (OutputStatus.TIME_LOCKED, 5_000, True, 5_000),
        (OutputStatus.TIME_LOCKED, 1_800_000_000, False, 130),
        (OutputStatus.TIME_LOCKED, 1_800_000_000, True, None),
        (OutputStatus.RETURNABLE, 120, False, 130),
        (OutputStatus.RETURNABLE, 120, True, None),
        (OutputStatus.DUST, 0, False, None),
    ],
)
def test_an_output_of_block_100_means_something_else_at_this_height(
    status: OutputStatus, unlock_time: int, final: bool, height: int | None
) -> None:
    assert changes_at(status, 100, unlock_time, 101, RULES, final=final) == height


def test_what_should_have_changed_already_is_looked_at_with_the_next_block() -> None:
    assert changes_at(OutputStatus.PENDING, 100, 0, 500, RULES, final=True) == 501


async def see(ctx: Context, *outputs: SeenOutput, height: int = HEIGHT, in_pool: int = 0) -> EscrowRecord:
    before = await ctx.store.read(lambda tx: tx.escrows.get("escrow"))
    await ctx.store.write(lambda tx: record_sighting(ctx, tx, before, Sighting(outputs, in_pool, height)))
    return await ctx.store.read(lambda tx: tx.escrows.get("escrow"))


async def due_height(ctx: Context) -> int | None:
    e = schema.escrows
    return await ctx.store.read(lambda tx: tx.connection.scalar(select(e.c.due_height)))


async def deadline_in(ctx: Context, seconds: float) -> float:
    deadline = ctx.clock.now() + seconds
    await ctx.store.write(
        lambda tx: tx.escrows.change(
            "escrow", expected=State.AWAITING_DEPOSIT, now=ctx.clock.now(), deposit_deadline=deadline
        )
    )
    return deadline


async def test_a_deposit_is_looked_at_when_it_counts_and_when_it_is_final_and_then_no_more(ctx: Context) -> None:
    await an_escrow(ctx, State.AWAITING_DEPOSIT)
    await deadline_in(ctx, 10 * DAY)
    assert (await see(ctx)).due_at == ctx.clock.now() + DAY
    assert await due_height(ctx) is None
    await see(ctx, COIN)
    assert await due_height(ctx) == COIN.height + 10
    counted = replace(COIN, unlocked=True)
    assert (await see(ctx, counted, height=COIN.height + 10)).state is State.FUNDED
    assert await due_height(ctx) == COIN.height + 30
    await see(ctx, counted, height=COIN.height + 30)
    assert await due_height(ctx) is None


async def test_the_deadline_is_judged_on_time_and_past_it_what_is_on_its_way_is_followed(
    ctx: Context, clock: VirtualClock
) -> None:
    await an_escrow(ctx, State.AWAITING_DEPOSIT)
    deadline = await deadline_in(ctx, 100.0)
    assert (await see(ctx)).due_at == deadline
    assert (await see(ctx, in_pool=XMR)).due_at == deadline
    await clock.advance(100.0)
    waiting = await see(ctx, in_pool=XMR)
    assert (waiting.state, waiting.due_at) == (State.AWAITING_DEPOSIT, clock.now() + FOLLOW_SECONDS)
    assert (await see(ctx)).state is State.EXPIRED
    assert (await see(ctx)).due_at == clock.now() + DAY


async def test_what_is_in_the_pool_is_looked_at_again_although_no_block_tells_of_it(ctx: Context) -> None:
    await an_escrow(ctx, State.FUNDED)
    assert (await see(ctx, in_pool=XMR)).due_at == ctx.clock.now() + FOLLOW_SECONDS


async def test_a_height_that_was_scanned_during_the_look_is_not_waited_for(ctx: Context) -> None:
    await an_escrow(ctx, State.AWAITING_DEPOSIT)
    await deadline_in(ctx, DAY)
    scanned = COIN.height + 10 - 1  # the block with which the coin is ten deep
    await ctx.store.write(lambda tx: tx.scan.add([ScannedBlock(scanned - 1, "aa" * 32)]))
    assert (await see(ctx, COIN)).due_at == ctx.clock.now() + DAY, "not scanned yet: its block will tell"
    await ctx.store.write(lambda tx: tx.scan.add([ScannedBlock(scanned, "bb" * 32)]))
    assert (await see(ctx, COIN)).due_at == ctx.clock.now() + ctx.settings.chain_poll_seconds


async def test_a_settled_payout_is_looked_at_when_it_is_final(ctx: Context) -> None:
    payout = await broadcast(ctx)

    def settle(tx: Transaction) -> None:
        found = tx.payouts.get(payout.id)
        tx.payouts.move(found, PayoutState.SETTLED, mined_height=HEIGHT - 12, settled_at=ctx.clock.now())

    await ctx.store.write(settle)
    await see(ctx, *[])
    assert await due_height(ctx) == HEIGHT - 12 + 30


async def test_an_order_whose_window_was_longer_than_the_watch_is_watched_once_it_expired(
    ctx: Context, clock: VirtualClock
) -> None:
    await an_escrow(ctx, State.AWAITING_DEPOSIT)
    await deadline_in(ctx, 40 * DAY)
    await clock.advance(40 * DAY)
    expired = await see(ctx)
    assert expired.state is State.EXPIRED
    assert expired.due_at is not None


async def test_a_closed_escrow_with_coins_in_the_pool_is_not_put_to_rest(ctx: Context, clock: VirtualClock) -> None:
    await an_escrow(ctx, State.SETTLED)
    await clock.advance(31 * DAY)
    assert (await see(ctx, in_pool=XMR)).due_at is not None
    assert (await see(ctx)).due_at is None


async def test_a_late_coin_that_nobody_has_decided_about_keeps_its_escrow_awake(
    ctx: Context, clock: VirtualClock
) -> None:
    """The decision comes in a transaction of its own, and the service may die before it."""
    await an_escrow(ctx, State.SETTLED)
    await clock.advance(31 * DAY)
    assert (await see(ctx, COIN)).due_at is not None
    assert (await see(ctx, replace(COIN, unlocked=True), height=COIN.height + 10)).due_at is not None


async def test_a_coin_whose_lock_ran_out_before_the_order_expired_is_returned_at_once(
    ctx: Context, clock: VirtualClock
) -> None:
    await an_escrow(ctx, State.AWAITING_DEPOSIT)
    await deadline_in(ctx, DAY)
    await clock.advance(DAY)
    expired = await see(ctx, replace(COIN, unlock_time=5, unlocked=True), height=COIN.height + 100)
    assert (expired.state, expired.due_at) == (State.EXPIRED, clock.now())
