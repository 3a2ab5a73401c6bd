"""What a look at the chain means for an escrow: funded, taken back by a reorganisation, final."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monero_escrow.core.deposits import OutputStatus, SeenOutput
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows import decide
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.watch_deposits import DeepReorganisationError, Sighting, record_sighting
from monero_escrow.store.records import EscrowRecord
from unit.rows import XMR, hex64
from unit.scripted import HEIGHT, an_escrow
from unit.slots import VirtualClock

COIN = SeenOutput(hex64("coin"), hex64("txid"), XMR, HEIGHT - 10, 0, True)


async def see(ctx: Context, *outputs: SeenOutput, height: int = HEIGHT, in_pool: int = 0) -> EscrowRecord:
    """The escrow after a look that found these outputs."""
    before = await ctx.store.read(lambda tx: tx.escrows.get("escrow"))
    await ctx.store.write(lambda tx: record_sighting(ctx, tx, before, Sighting(outputs, in_pool, height)))
    return await ctx.store.read(lambda tx: tx.escrows.get("escrow"))


async def test_an_escrow_is_funded_taken_back_by_a_reorganisation_and_funded_again(ctx: Context) -> None:
    await an_escrow(ctx, State.AWAITING_DEPOSIT)
    assert (await see(ctx, COIN)).state is State.FUNDED
    assert (await see(ctx, in_pool=XMR)).state is State.AWAITING_DEPOSIT
    later = replace(COIN, height=HEIGHT - 9)
    assert (await see(ctx, later)).state is State.AWAITING_DEPOSIT
    assert (await see(ctx, later, height=HEIGHT + 1)).state is State.FUNDED
    history = [row.action for row in await ctx.store.read(lambda tx: tx.audit.of("escrow"))]
    assert [row for row in history if row in ("deposit_complete", "deposit_fell_out")] == [
        "deposit_complete",
        "deposit_fell_out",
        "deposit_complete",
    ]


async def test_a_deposit_that_fell_out_has_the_whole_window_to_come_back(ctx: Context, clock: VirtualClock) -> None:
    await an_escrow(ctx, State.AWAITING_DEPOSIT)  # whose deadline is long over
    await see(ctx, COIN)
    taken_back = await see(ctx)
    assert taken_back.deposit_deadline == clock.now() + taken_back.deposit_window_seconds
    assert (await see(ctx)).state is State.AWAITING_DEPOSIT
    await clock.advance(taken_back.deposit_window_seconds)
    assert (await see(ctx)).state is State.EXPIRED


async def test_a_short_deposit_that_was_accepted_is_not_taken_back_for_being_short(ctx: Context) -> None:
    await an_escrow(ctx, State.SHORT)
    half = replace(COIN, amount_piconero=XMR // 2)
    await see(ctx, half)
    await ctx.store.write(decide.accept_short(ctx, "escrow", "shop"))
    assert (await see(ctx, half)).state is State.FUNDED
    assert (await see(ctx)).state is State.AWAITING_DEPOSIT


async def test_a_chain_that_is_shorter_for_a_moment_takes_no_deposit_back(ctx: Context) -> None:
    await an_escrow(ctx, State.AWAITING_DEPOSIT)
    await see(ctx, COIN)
    assert (await see(ctx, COIN, height=HEIGHT - 2)).state is State.FUNDED


async def test_a_deposit_that_was_final_is_not_given_up_because_a_daemon_does_not_show_it(ctx: Context) -> None:
    await an_escrow(ctx, State.AWAITING_DEPOSIT)
    await see(ctx, COIN, height=HEIGHT + 20)
    with pytest.raises(DeepReorganisationError):
        await see(ctx, height=HEIGHT + 20)
    (output,) = await ctx.store.read(lambda tx: tx.outputs.of("escrow"))
    assert output.status is OutputStatus.COUNTED
    assert output.final_at is not None


async def test_a_deposit_in_dispute_may_fall_out_and_the_dispute_stays(ctx: Context) -> None:
    await an_escrow(ctx, State.AWAITING_DEPOSIT)
    await see(ctx, COIN)
    await ctx.store.write(decide.dispute(ctx, "escrow", "shop", "not as described"))
    assert (await see(ctx, in_pool=XMR)).state is State.DISPUTED
