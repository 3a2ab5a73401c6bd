"""When an escrow is looked at next: by the clock, and by the chain.

The scan wakes an escrow when something comes, and when the chain has grown to where what came means something else. So
by the clock only three things are left: its deadline, a net with small meshes for what is on its way, and the sweep.
Nothing here looks, waits or decides about money.
"""

from __future__ import annotations

from monero_escrow.core.deposits import DepositRules, OutputStatus, changes_at
from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.escrows.context import Context
from monero_escrow.store.records import EscrowRecord, PayoutState
from monero_escrow.store.transaction import Transaction

FOLLOW_SECONDS = 600.0
"""How often a look is taken at what is on its way, of which the next block should tell."""

_DAY_SECONDS = 86_400


def deposit_rules(ctx: Context) -> DepositRules:
    """The settings that decide what counts, and what is final."""
    settings = ctx.settings
    return DepositRules(settings.deposit_confirmations, settings.dust_piconero, settings.final_confirmations)


def set_next_look(
    ctx: Context, tx: Transaction, looked_at: EscrowRecord, escrow: EscrowRecord, chain_height: int
) -> None:
    """A look is over that saw the chain at this height; `escrow` is as it is after it.

    If the scan has seen a higher chain meanwhile, no block will tell of that height any more: soon, then.
    """
    now = ctx.clock.now()
    due_height, due_at = _next_height(ctx, tx, escrow, chain_height), next_look(ctx, tx, escrow, now)
    if due_height is not None and due_height <= tx.scan.chain_height():
        soon = now + ctx.settings.chain_poll_seconds
        due_at = soon if due_at is None else min(due_at, soon)
    tx.escrows.looked_at(looked_at, due_at)
    tx.escrows.look_at_height(escrow.id, due_height)


def _next_height(ctx: Context, tx: Transaction, escrow: EscrowRecord, chain_height: int) -> int | None:
    """How high the chain must be for anything about the escrow's coins to change, its payouts included."""
    rules = deposit_rules(ctx)
    heights = [
        changes_at(row.status, row.height, row.unlock_time, chain_height, rules, final=row.final_at is not None)
        for row in tx.outputs.of(escrow.id)
        if row.payout_id is None
    ]
    heights += [
        max((row.mined_height or 0) + rules.final_confirmations, chain_height + 1)
        for row in tx.payouts.of(escrow.id)
        if row.state is PayoutState.SETTLED and row.final_at is None
    ]
    return min((height for height in heights if height is not None), default=None)


def next_look(ctx: Context, tx: Transaction, escrow: EscrowRecord, now: float) -> float | None:
    """By the clock: not later than the deadline; at a closed escrow only for so many days.

    As long as coins there are on their way or locked, or a payout is not final, the looking does not end.
    """
    sweep = now + ctx.settings.deposit_sweep_seconds
    if escrow.in_pool_piconero:
        sweep = min(sweep, now + FOLLOW_SECONDS)
    if escrow.state is State.AWAITING_DEPOSIT:
        return min(sweep, look_while_awaiting(ctx, escrow.deposit_deadline or now, now))
    watched_until = escrow.updated_at + ctx.settings.watch_after_days * _DAY_SECONDS
    if escrow.state in CLOSED_STATES and now > watched_until and not _anything_coming(tx, escrow):
        return None
    return sweep


def look_while_awaiting(ctx: Context, deadline: float, now: float) -> float:
    """At the deadline at the latest. Past it, what is on its way is waited for: it came in time."""
    return min(now + ctx.settings.deposit_sweep_seconds, deadline if deadline > now else now + FOLLOW_SECONDS)


def _anything_coming(tx: Transaction, escrow: EscrowRecord) -> bool:
    outputs = tx.outputs.of(escrow.id)
    undecided = any(output.payout_id is None and output.status is not OutputStatus.DUST for output in outputs)
    paying = any(payout.final_at is None for payout in tx.payouts.of(escrow.id))
    return undecided or paying or escrow.in_pool_piconero > 0
