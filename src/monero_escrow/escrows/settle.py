"""Follow a broadcast payout until the daemon says it is mined deep enough; only then is it settled.

The daemon, not a wallet, says so. A transaction that is in no block and in no pool is given to the daemon again.
"""

from __future__ import annotations

from monero_escrow.core.deposits import confirmations_of
from monero_escrow.core.life_cycle import Event, State
from monero_escrow.escrows.context import SERVICE, Context, move, short
from monero_escrow.store.records import PayoutRecord, PayoutState
from monero_escrow.store.store import Transaction


async def settle(ctx: Context, payout: PayoutRecord) -> bool:
    """True when the payout is settled. Raises DaemonUnavailableError, TransactionRefusedError."""
    daemon, info = await ctx.chain()
    found = (await daemon.get_transactions([payout.signed_txid])).get(payout.signed_txid)
    if found is None:
        await daemon.send_raw_transaction(await ctx.store.read(lambda tx: tx.payouts.raw(payout.id)))
        return False
    height = found.block_height
    if height is None or confirmations_of(height, info.height) < ctx.settings.payout_confirmations:
        if height != payout.mined_height:
            await ctx.store.write(lambda tx: tx.payouts.change(payout.id, mined_height=height))
        return False
    await ctx.store.write(lambda tx: _record(ctx, tx, payout, height))
    return True


def _record(ctx: Context, tx: Transaction, payout: PayoutRecord, height: int) -> None:
    """Settle the payout, and with its last one the escrow."""
    now = ctx.clock.now()
    tx.payouts.change(payout.id, state=PayoutState.SETTLED, settled_at=now, mined_height=height)
    escrow = tx.escrows.get(payout.escrow_id)
    detail: dict[str, object] = {"payout": payout.number, "txid": short(payout.signed_txid), "height": height}
    others = [other for other in tx.payouts.of(escrow.id) if other.id != payout.id]
    if escrow.state is State.PAYING_OUT and all(other.state is PayoutState.SETTLED for other in others):
        published: dict[str, object] = {"txid": payout.signed_txid}
        move(tx, escrow, Event.PAYOUT_SETTLED, SERVICE, now, detail=detail, published=published, due_at=now)
        return
    tx.audit.add(SERVICE, "further_payout_settled", now, escrow_id=escrow.id, detail=detail)
    data = {"order_id": escrow.order_id, **detail, "txid": payout.txid}
    tx.outbox.add(escrow.shop_id, escrow.id, "escrow.further_payout_settled", data, now)
