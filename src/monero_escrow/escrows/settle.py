"""Follow a broadcast payout until the daemon says it is mined deep enough, and on until it is final.

The daemon, not a wallet, says so. A transaction that is in no block and in no pool is given to the daemon again, also
when it was settled already: a reorganisation may take its block out of the chain.
"""

from __future__ import annotations

from monero_escrow.core.deposits import confirmations_of
from monero_escrow.core.life_cycle import Event, State
from monero_escrow.core.payout_states import DONE
from monero_escrow.core.words import short
from monero_escrow.escrows.broadcast import mined_first
from monero_escrow.escrows.context import SERVICE, Context, move
from monero_escrow.escrows.journal import Step, step
from monero_escrow.escrows.signers import PlanOutputSpentError
from monero_escrow.monero.ports import Daemon, DaemonTransaction, KeyImageStatus
from monero_escrow.store.records import PayoutRecord, PayoutState, required
from monero_escrow.store.transaction import Transaction


async def settle(ctx: Context, payout: PayoutRecord) -> bool:
    """One look; True while the payout is settled.

    Any transaction that was ever signed for the plan settles it: all of them spend its anchor, so at most one is mined.
    Raises PlanOutputSpentError, DaemonUnavailableError, TransactionRefusedError.
    """
    daemon, info = await ctx.chain()
    known, anchor_spent = await _ask(ctx, daemon, payout)
    height = known[0].block_height if known else None
    depth = 0 if height is None else confirmations_of(height, info.height)
    settled = payout.state is PayoutState.SETTLED
    if height is not None and depth >= ctx.settings.payout_confirmations:
        final = depth >= ctx.settings.final_confirmations
        if final or not settled or height != payout.mined_height:
            txid = known[0].txid
            await ctx.store.write(lambda tx: _record_mined(ctx, tx, payout.id, txid, height, final=final))
        return True
    if settled and height is not None and height == payout.mined_height:
        return True  # still in its block: the chain is shorter for a moment, while blocks are being replaced
    if settled:
        await ctx.store.write(lambda tx: _record_fallen_out(ctx, tx, payout.id, height))
    elif height != payout.mined_height:
        await ctx.store.write(lambda tx: tx.payouts.seen_mined(payout.id, height))
    if not known and anchor_spent:
        raise PlanOutputSpentError("The anchor was spent by a transaction that is not ours: paid, recipient unknown.")
    if not known:
        await _give_again(ctx, daemon, payout)
    return False


async def _ask(ctx: Context, daemon: Daemon, payout: PayoutRecord) -> tuple[list[DaemonTransaction], bool]:
    """Which of our transactions the network knows, mined ones first; and if none, whether a block spends the anchor.

    That is asked before a stranger is suspected, and then ours are asked for once more: monerod looks into its chain,
    then into its pool, and misses what is mined in between. What was mined before it is asked again is not missed.
    """
    anchor = payout.plan.anchor.public_key
    txids = await ctx.store.read(lambda tx: tx.payouts.signed_txids(payout.id))
    known = mined_first((await daemon.get_transactions(txids)).values())
    if known:
        return known, False
    image = await ctx.store.read(lambda tx: tx.outputs.key_image(payout.escrow_id, anchor))
    if await daemon.is_key_image_spent([image]) != [KeyImageStatus.IN_CHAIN]:
        return [], False
    return mined_first((await daemon.get_transactions(txids)).values()), True


async def _give_again(ctx: Context, daemon: Daemon, payout: PayoutRecord) -> None:
    """The network has none of our transactions: give it the kept one."""
    raw = required(await ctx.store.read(lambda tx: tx.payouts.raw(payout.id)), "A broadcast transaction was not kept.")
    async with step(ctx, payout, Step.GIVE_AGAIN):
        await daemon.send_raw_transaction(raw)


def _record_mined(ctx: Context, tx: Transaction, payout_id: str, txid: str, height: int, *, final: bool) -> None:
    """Settled, if it was not; and final, if it is."""
    now, payout = ctx.clock.now(), tx.payouts.get(payout_id)
    if payout.state is not PayoutState.SETTLED:
        fee, shared_fee = tx.payouts.fees_of(payout.id, txid)
        tx.payouts.move(
            payout,
            PayoutState.SETTLED,
            txid=txid,
            fee_piconero=fee,
            shared_fee_piconero=payout.shared_fee_piconero if shared_fee is None else shared_fee,
            settled_at=now,
            mined_height=height,
        )
        _tell_settled(ctx, tx, payout, txid, height)
    elif height != payout.mined_height:
        tx.payouts.seen_mined(payout.id, height)
    if final:
        tx.payouts.final(payout.id, now)


def _tell_settled(ctx: Context, tx: Transaction, payout: PayoutRecord, txid: str, height: int) -> None:
    """With the last payout of a decision, the escrow is settled."""
    now, escrow = ctx.clock.now(), tx.escrows.get(payout.escrow_id)
    detail: dict[str, object] = {"payout": payout.number, "txid": short(txid), "height": height}
    of_order = [other for other in tx.payouts.of(escrow.id) if not other.further]
    if escrow.state is State.PAYING_OUT and all(other.state in DONE for other in of_order):
        published: dict[str, object] = {"txid": txid}
        move(tx, escrow, Event.PAYOUT_SETTLED, SERVICE, now, detail=detail, published=published, due_at=now)
        return
    what = "further_payout_settled" if payout.further else "payout_part_settled"
    tx.audit.add(SERVICE, what, now, escrow_id=escrow.id, detail=detail)
    data = {"order_id": escrow.order_id, **detail, "txid": txid}
    tx.outbox.add(escrow.shop_id, escrow.id, f"escrow.{what}", data, now)


def _record_fallen_out(ctx: Context, tx: Transaction, payout_id: str, height: int | None) -> None:
    """A reorganisation took it out of its block: it is on its way again, and the order with it."""
    now, payout = ctx.clock.now(), tx.payouts.get(payout_id)
    if payout.state is not PayoutState.SETTLED:
        return
    tx.payouts.move(payout, PayoutState.BROADCAST, mined_height=height, settled_at=None)
    escrow = tx.escrows.get(payout.escrow_id)
    detail: dict[str, object] = {"payout": payout.number, "txid": short(payout.signed_txid)}
    if escrow.state is State.SETTLED and not payout.further:
        move(tx, escrow, Event.PAYOUT_FELL_OUT, SERVICE, now, detail=detail, due_at=now)
        return
    what = "further_payout_fell_out" if payout.further else "payout_part_fell_out"
    tx.audit.add(SERVICE, what, now, escrow_id=escrow.id, detail=detail)
    data = {"order_id": escrow.order_id, **detail, "txid": payout.signed_txid}
    tx.outbox.add(escrow.shop_id, escrow.id, f"escrow.{what}", data, now)
