"""How an escrow comes to its address once there is a finished trio: claimed, kept in the second place, shown.

    stock ─ claim ─┐
                   ├→ a finished trio of this escrow → second place → the escrow's address
    set-up ────────┘

A trio belongs to one escrow from the moment its row names it, and to no other ever after. Between that and the address
the service may die at any point: whoever goes on finds the trio, and shows the same address. No wallet is called here.
"""

from __future__ import annotations

from monero_escrow.config import Settings
from monero_escrow.core.life_cycle import Event, State
from monero_escrow.core.words import short
from monero_escrow.escrows.context import SERVICE, Context, move
from monero_escrow.escrows.keep_elsewhere import keep_elsewhere
from monero_escrow.escrows.next_look import look_while_awaiting
from monero_escrow.store.transaction import Transaction

_LEAST_BLOCKS_BACK = 20


def birthday(settings: Settings, chain_height: int) -> int:
    """The block from which wallets look for deposits whose address is shown now; a height too low does no harm.

    A reorganisation may mine a deposit anew in an earlier block than the chain had when the address was shown: so far
    back as anything is not final.
    """
    return max(0, chain_height - max(settings.final_confirmations, _LEAST_BLOCKS_BACK))


def claim(ctx: Context, tx: Transaction, escrow_id: str) -> bool:
    """Give this escrow the oldest trio in stock, in the caller's transaction; False when there is none.

    Nothing can have come to its address yet, so the wallets' birthday becomes that of today: a later replay scans
    little. The height is the last one the service saw, which needs no call.
    """
    now = ctx.clock.now()
    if not tx.trios.claim(escrow_id, birthday(ctx.settings, ctx.tip.height), now):
        return False
    tx.audit.add(SERVICE, "stock_claimed", now, escrow_id=escrow_id)
    return True


async def take_or_keep(ctx: Context, escrow_id: str) -> bool:
    """Whether no trio need be made for this escrow: it has one, or gets one from stock, or is not set up any more."""

    def needs_one(tx: Transaction) -> bool:
        setting_up = tx.escrows.get(escrow_id).state is State.SETTING_UP
        return setting_up and tx.trios.finished_for(escrow_id) is None

    def look(tx: Transaction) -> tuple[bool, bool]:
        return needs_one(tx), bool(tx.trios.stock_ages(ctx.clock.now()))

    needed, in_stock = await ctx.store.read(look)  # whoever writes waits for all who write
    if needed and in_stock:
        return await ctx.store.write(lambda tx: not needs_one(tx) or claim(ctx, tx, escrow_id))
    return not needed


async def give_address(ctx: Context, escrow_id: str) -> None:
    """Show the address of the escrow's finished trio, once its keys lie in the second place. Can be repeated.

    Raises NoSecondPlaceError, SecondPlaceUnavailableError: nobody was shown the address then.
    """
    await keep_elsewhere(ctx, escrow_id)
    await ctx.store.write(lambda tx: show_address(ctx, tx, escrow_id))


def show_address(ctx: Context, tx: Transaction, escrow_id: str) -> None:
    """From here on the address exists: escrow, audit row and event in one transaction.

    An escrow that was cancelled meanwhile keeps its trio, and nobody is ever told of the address.
    """
    escrow, trio = tx.escrows.get(escrow_id), tx.trios.finished_for(escrow_id)
    if escrow.state is not State.SETTING_UP or trio is None:
        return
    trio_id, address = trio
    now = ctx.clock.now()
    tx.trios.abandon_unfinished(escrow.id, "the escrow has another one", now)
    deadline = now + escrow.deposit_window_seconds
    tx.measure(lambda metrics: metrics.order_to_address_seconds.observe(max(0.0, now - escrow.created_at)))
    move(
        tx,
        escrow,
        Event.ADDRESS_READY,
        SERVICE,
        now,
        detail={"address": short(address)},
        trio_id=trio_id,
        deposit_address=address,
        deposit_deadline=deadline,
        due_at=look_while_awaiting(ctx, deadline, now),
        failures=0,
        trouble=None,
    )
