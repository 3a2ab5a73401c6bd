"""Follow a broadcast payout until the daemon says it is mined deep enough; only then is it settled.

The daemon, not a wallet, says so. A transaction that is in no block and in no pool is given to the daemon again.
"""

from __future__ import annotations

from monero_escrow.core.deposits import confirmations_of
from monero_escrow.core.life_cycle import Event, State
from monero_escrow.escrows.context import SERVICE, Context, move, short
from monero_escrow.escrows.signers import PlanOutputSpentError
from monero_escrow.monero.ports import Daemon, KeyImageStatus
from monero_escrow.store.records import PayoutRecord, PayoutState
from monero_escrow.store.store import Transaction


async def settle(ctx: Context, payout: PayoutRecord) -> bool:
    """True when the payout is settled. Raises PlanOutputSpentError, DaemonUnavailableError, TransactionRefusedError.

    Any transaction that was ever signed for the plan settles it: all of them spend its anchor, so at most one is mined.
    """
    daemon, info = await ctx.chain()
    txids = await ctx.store.read(lambda tx: tx.payouts.signed_txids(payout.id))
    known = await daemon.get_transactions(txids)
    if not known:
        await _give_again(ctx, daemon, payout)
        return False
    mined = next((found for found in known.values() if found.block_height is not None), None)
    height = None if mined is None else mined.block_height
    if mined is None or height is None or confirmations_of(height, info.height) < ctx.settings.payout_confirmations:
        if height != payout.mined_height:
            await ctx.store.write(lambda tx: tx.payouts.change(payout.id, mined_height=height))
        return False
    await ctx.store.write(lambda tx: _record(ctx, tx, payout, mined.txid, height))
    return True


async def _give_again(ctx: Context, daemon: Daemon, payout: PayoutRecord) -> None:
    """The network has none of our transactions: give it the kept one, unless the anchor is gone by another."""
    anchor = payout.plan.anchor.public_key
    image = await ctx.store.read(lambda tx: tx.outputs.key_image(payout.escrow_id, anchor))
    if await daemon.is_key_image_spent([image]) == [KeyImageStatus.IN_CHAIN]:
        raise PlanOutputSpentError("The anchor was spent by a transaction that is not ours: paid, recipient unknown.")
    await daemon.send_raw_transaction(await ctx.store.read(lambda tx: tx.payouts.raw(payout.id)))


def _record(ctx: Context, tx: Transaction, payout: PayoutRecord, txid: str, height: int) -> None:
    """Settle the payout, and with its last one the escrow."""
    now = ctx.clock.now()
    tx.payouts.change(payout.id, state=PayoutState.SETTLED, txid=txid, settled_at=now, mined_height=height)
    escrow = tx.escrows.get(payout.escrow_id)
    detail: dict[str, object] = {"payout": payout.number, "txid": short(txid), "height": height}
    others = [other for other in tx.payouts.of(escrow.id) if other.id != payout.id]
    if escrow.state is State.PAYING_OUT and all(other.state is PayoutState.SETTLED for other in others):
        published: dict[str, object] = {"txid": txid}
        move(tx, escrow, Event.PAYOUT_SETTLED, SERVICE, now, detail=detail, published=published, due_at=now)
        return
    tx.audit.add(SERVICE, "further_payout_settled", now, escrow_id=escrow.id, detail=detail)
    data = {"order_id": escrow.order_id, **detail, "txid": txid}
    tx.outbox.add(escrow.shop_id, escrow.id, "escrow.further_payout_settled", data, now)
