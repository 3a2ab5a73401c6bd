"""Take one escrow as far as it can go by itself: the whole service in one page.

    setting_up        → set_up: an address
    awaiting, short,
    funded, disputed  → watch_deposits: what came, and what it means
    paying_out        → carry out each decided payout: sign and submit, then settle, and follow it until it is final
    closed            → the same for coins that came late

Every step reads where the escrow truly is from the database and the chain, so this can be called at any time, any
number of times, by one caller at a time. A payout step that fails is classified by `repair.py`.
"""

from __future__ import annotations

from monero_escrow.core.deposits import confirmations_of
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.core.repairs import MOST_FAILURES, MOST_REPLACEMENTS, gives_up, replaces
from monero_escrow.escrows.broadcast import find_ours, submit_again
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.decide import return_late_coins
from monero_escrow.escrows.held import hold, replace
from monero_escrow.escrows.next_look import FOLLOW_SECONDS
from monero_escrow.escrows.pay_out import sign_and_submit
from monero_escrow.escrows.repair import Remedy, Rule, rule_for
from monero_escrow.escrows.set_up import set_up
from monero_escrow.escrows.settle import settle
from monero_escrow.escrows.watch_deposits import watch_deposits
from monero_escrow.store.records import EscrowRecord, PayoutRecord, PayoutState, TrioRecord
from monero_escrow.store.transaction import Transaction


async def advance(ctx: Context, escrow: EscrowRecord) -> None:
    """Do what the escrow needs now, and say when it should be looked at next. Raises what kept it from going on."""
    if escrow.state is State.SETTING_UP:
        await set_up(ctx, escrow.id)
    elif escrow.deposit_address is None:  # cancelled before it had an address: nothing can come
        await ctx.store.write(lambda tx: tx.escrows.looked_at(escrow, None))
    elif await _carry_out_payouts(ctx, escrow.id):
        next_look = ctx.clock.now() + FOLLOW_SECONDS  # sooner with the next block: the scan wakes who pays out
        await ctx.store.write(lambda tx: tx.escrows.looked_at(escrow, next_look))
    else:
        await watch_deposits(ctx, escrow)
        if escrow.state in CLOSED_STATES:
            await return_late_coins(ctx, escrow.id)


async def _carry_out_payouts(ctx: Context, escrow_id: str) -> bool:
    """Take every payout that is not final a step further; True while one is under way."""
    payouts = await ctx.store.read(lambda tx: tx.payouts.of(escrow_id))
    not_final = [payout for payout in payouts if payout.final_at is None and payout.state is not PayoutState.HELD]
    done = [await _carry_out(ctx, payout) for payout in not_final]
    return not all(done)


async def _carry_out(ctx: Context, payout: PayoutRecord) -> bool:
    """A step of one payout; True when all that is left is to follow the chain, or to wait for a person."""
    try:
        done = await _go_on(ctx, payout)
    except EscrowError as error:
        rule = rule_for(error)
        if rule.remedy is Remedy.WAIT:
            raise
        if rule.remedy is not Remedy.HOLD and await _deposits_are_on_their_way(ctx, payout):
            raise
        public_message = error.public_message
        now = ctx.clock.now()
        moved_to = await ctx.store.write(lambda tx: _repair(tx, payout.id, rule, public_message, now))
        if rule.remedy is Remedy.TRY_FRESH and moved_to is not PayoutState.HELD:
            ctx.metrics.stale_signature_repairs.inc()
        if moved_to is None:
            raise
        return moved_to is PayoutState.HELD
    if payout.failures:
        await ctx.store.write(lambda tx: tx.payouts.forget_failures(payout.id))
    return done


async def _deposits_are_on_their_way(ctx: Context, payout: PayoutRecord) -> bool:
    """Whether a reorganisation put coins of the plan into the pool, or into a block that is not deep enough yet.

    They cannot be spent meanwhile, and nothing is held against the payout. Raises DaemonUnavailableError: nor is
    anything while the daemon is away.
    """
    daemon, info = await ctx.chain()
    outputs = await ctx.store.read(lambda tx: tx.outputs.of(payout.escrow_id))
    txids = sorted({output.txid for output in outputs if output.payout_id == payout.id})
    heights = [found.block_height for found in (await daemon.get_transactions(txids)).values()]
    enough = ctx.settings.deposit_confirmations
    return any(height is None or confirmations_of(height, info.height) < enough for height in heights)


async def _go_on(ctx: Context, payout: PayoutRecord) -> bool:
    match payout.state:
        case PayoutState.BROADCAST | PayoutState.SETTLED:
            return await settle(ctx, payout)
        case PayoutState.SIGNED:
            if not await find_ours(ctx, payout):
                await submit_again(ctx, payout, await _trio(ctx, payout))
        case PayoutState.DECIDED:
            if not await find_ours(ctx, payout):
                await sign_and_submit(ctx, payout, await _trio(ctx, payout))
        case PayoutState.HELD | PayoutState.CALLED_OFF | PayoutState.WRITTEN_OFF:
            return True  # waits for a person, or for nobody
    return False


def _repair(tx: Transaction, payout_id: str, rule: Rule, trouble: str, now: float) -> PayoutState | None:
    """Count the failure, or after too many of them replace or hold the payout; what it was moved to, if it was."""
    payout = tx.payouts.get(payout_id)
    failures, sent = payout.failures + 1, payout.state in (PayoutState.SIGNED, PayoutState.BROADCAST)
    if rule.remedy is Remedy.REPLACE and sent and replaces(failures):
        if len(tx.payouts.signed_txids(payout.id)) <= MOST_REPLACEMENTS:
            replace(tx, payout, trouble, now)
            return PayoutState.DECIDED
        failures = MOST_FAILURES
    if rule.remedy is Remedy.HOLD or gives_up(failures):
        hold(tx, payout.id, f"{trouble} {rule.person}", now)
        return PayoutState.HELD
    tx.payouts.count_failure(payout.id)
    return None


async def _trio(ctx: Context, payout: PayoutRecord) -> TrioRecord:
    return await ctx.store.read(lambda tx: tx.trios.get(tx.escrows.get(payout.escrow_id).finished_trio_id))
