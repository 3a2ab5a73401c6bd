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

from monero_escrow.core.judgement import PayoutStoppedError
from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.escrows.broadcast import find_or_submit_again
from monero_escrow.escrows.context import SERVICE, Context
from monero_escrow.escrows.decide import return_late_coins
from monero_escrow.escrows.pay_out import sign_and_submit
from monero_escrow.escrows.set_up import set_up
from monero_escrow.escrows.settle import settle
from monero_escrow.escrows.watch_deposits import watch_deposits
from monero_escrow.store.records import EscrowRecord, PayoutRecord, PayoutState, TrioRecord
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
    """A step of one payout, or its stop; True when it is settled."""
    try:
        return await _go_on(ctx, payout)
    except PayoutStoppedError as error:
        trouble = error.message
        await ctx.store.write(lambda tx: _hold(ctx, tx, payout, trouble))
        return False


async def _go_on(ctx: Context, payout: PayoutRecord) -> bool:
    match payout.state:
        case PayoutState.SETTLED:
            return True
        case PayoutState.HELD:
            pass  # waits for a person
        case PayoutState.BROADCAST:
            return await settle(ctx, payout)
        case PayoutState.SIGNED:
            await find_or_submit_again(ctx, payout, await _trio(ctx, payout))
        case PayoutState.DECIDED:
            await sign_and_submit(ctx, payout, await _trio(ctx, payout))
    return False


async def _trio(ctx: Context, payout: PayoutRecord) -> TrioRecord:
    return await ctx.store.read(lambda tx: tx.trios.get(tx.escrows.get(payout.escrow_id).finished_trio_id))


def _hold(ctx: Context, tx: Transaction, payout: PayoutRecord, trouble: str) -> None:
    """Stop for a person: nothing more is signed."""
    now = ctx.clock.now()
    tx.payouts.change(payout.id, state=PayoutState.HELD, trouble=trouble)
    detail = {"payout": payout.number, "trouble": trouble}
    tx.audit.add(SERVICE, "payout_held", now, escrow_id=payout.escrow_id, detail=detail)
    escrow = tx.escrows.get(payout.escrow_id)
    tx.outbox.add(escrow.shop_id, escrow.id, "escrow.payout_held", {"order_id": escrow.order_id, **detail}, now)
