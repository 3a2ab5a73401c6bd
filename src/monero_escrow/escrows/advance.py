"""Take one escrow as far as it can go by itself: the whole service in one page.

    setting_up        → set_up: an address
    awaiting, short,
    funded, disputed  → watch_deposits: what came, and what it means
    paying_out        → carry out each decided payout: sign and submit, then settle
    closed            → the same for coins that came late

Every step reads where the escrow truly is from the database, so this can be called at any time, any number of times, by
one caller at a time.
"""

from __future__ import annotations

from monero_escrow.core.judgement import TamperedSetError
from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.escrows.context import SERVICE, Context
from monero_escrow.escrows.decide import return_late_coins
from monero_escrow.escrows.pay_out import sign_and_submit, submit_again
from monero_escrow.escrows.set_up import set_up
from monero_escrow.escrows.settle import is_known_to_network, settle
from monero_escrow.escrows.watch_deposits import watch_deposits
from monero_escrow.store.records import EscrowRecord, PayoutRecord, PayoutState
from monero_escrow.store.store import Transaction


async def advance(ctx: Context, escrow: EscrowRecord) -> None:
    """Do what the escrow needs now, and say when it should be looked at next. Raises what kept it from going on."""
    if escrow.state is State.SETTING_UP:
        await set_up(ctx, escrow.id)
    elif escrow.deposit_address is None:  # cancelled before it had an address: nothing can come
        await ctx.store.write(lambda tx: tx.escrows.looked_at(escrow, None))
    elif await _carry_out_payouts(ctx, escrow.id):
        next_look = ctx.clock.now() + ctx.settings.deposit_poll_seconds
        await ctx.store.write(lambda tx: tx.escrows.looked_at(escrow, next_look))
    else:
        await watch_deposits(ctx, escrow)
        if escrow.state in CLOSED_STATES:
            await return_late_coins(ctx, escrow.id)


async def _carry_out_payouts(ctx: Context, escrow_id: str) -> bool:
    """Take every decided payout a step further; True while one is under way."""
    payouts = await ctx.store.read(lambda tx: tx.payouts.of(escrow_id))
    under_way = [payout for payout in payouts if payout.state is not PayoutState.SETTLED]
    settled = [await _carry_out(ctx, payout) for payout in under_way]
    return not all(settled)


async def _carry_out(ctx: Context, payout: PayoutRecord) -> bool:
    match payout.state:
        case PayoutState.HELD:
            return False
        case PayoutState.BROADCAST:
            return await settle(ctx, payout)
        case PayoutState.SIGNED if payout.txid and await is_known_to_network(ctx, payout.txid):
            await ctx.store.write(lambda tx: tx.payouts.change(payout.id, state=PayoutState.BROADCAST))
            return False
    trio_id = (await ctx.store.read(lambda tx: tx.escrows.get(payout.escrow_id))).trio_id or ""
    trio = await ctx.store.read(lambda tx: tx.trios.get(trio_id))
    try:
        await (submit_again if payout.state is PayoutState.SIGNED else sign_and_submit)(ctx, payout, trio)
    except TamperedSetError as error:
        trouble = str(error)
        await ctx.store.write(lambda tx: _hold(ctx, tx, payout, trouble))
    return False


def _hold(ctx: Context, tx: Transaction, payout: PayoutRecord, trouble: str) -> None:
    """Stop for a person: nothing was signed, and nothing will be."""
    now = ctx.clock.now()
    tx.payouts.change(payout.id, state=PayoutState.HELD, trouble=trouble)
    detail = {"payout": payout.number, "trouble": trouble}
    tx.audit.add(SERVICE, "payout_held", now, escrow_id=payout.escrow_id, detail=detail)
