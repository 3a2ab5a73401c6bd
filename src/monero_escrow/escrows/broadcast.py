"""Hand a signed transaction to the network, and find out whether that has happened.

Its blob and txid are durable before it gets here. Submitting the same blob again is harmless, so whoever does not know
whether it was submitted asks the daemon, and then submits. The transaction as the network has it is kept: giving it to
the daemon once more needs no wallet.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from monero_escrow.escrows.context import SERVICE, Context, short
from monero_escrow.escrows.hosted import HostedWallet
from monero_escrow.escrows.signers import exchange_infos, open_signers, step
from monero_escrow.monero.ports import DaemonTransaction
from monero_escrow.store.records import PayoutRecord, PayoutState, TrioRecord
from monero_escrow.store.store import Transaction


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A fully signed transaction."""

    blob: str = field(repr=False)
    txid: str


async def submit(ctx: Context, payout: PayoutRecord, cosigner: HostedWallet, signed: SignedTransaction) -> None:
    """Submit through the wallet that signed last; broadcast is what the daemon then knows."""
    async with step(ctx, payout, "submit", payout.plan.cosigner):
        await (await cosigner.checked()).submit_multisig(signed.blob)
    known = await find(ctx, signed.txid)
    if known is not None:
        await ctx.store.write(lambda tx: _record(ctx, tx, payout, known))


async def find_or_submit_again(ctx: Context, payout: PayoutRecord, trio: TrioRecord) -> None:
    """For a signed transaction of which nobody knows whether it was submitted."""
    txid = payout.signed_txid
    known = await find(ctx, txid)
    if known is not None:
        await ctx.store.write(lambda tx: _record(ctx, tx, payout, known))
        return
    blob = await ctx.store.read(lambda tx: tx.payouts.signed(payout.id, txid))
    async with open_signers(ctx, payout, trio) as signers:
        await exchange_infos(ctx, payout, signers)  # a rebuilt wallet refuses to submit before it has imported
        await submit(ctx, payout, signers.cosigner, SignedTransaction(blob, txid))


async def find(ctx: Context, txid: str) -> DaemonTransaction | None:
    """The transaction as the daemon knows it, in a block or in the pool."""
    daemon, _ = await ctx.chain()
    return (await daemon.get_transactions([txid])).get(txid)


def _record(ctx: Context, tx: Transaction, payout: PayoutRecord, known: DaemonTransaction) -> None:
    now = ctx.clock.now()
    tx.payouts.keep_raw(payout.id, known.raw_hex)
    tx.payouts.change(payout.id, state=PayoutState.BROADCAST, broadcast_at=now)
    escrow = tx.escrows.get(payout.escrow_id)
    detail = {"payout": payout.number, "txid": short(known.txid)}
    tx.audit.add(SERVICE, "payout_broadcast", now, escrow_id=escrow.id, detail=detail)
    data = {"order_id": escrow.order_id, "payout": payout.number, "txid": known.txid}
    tx.outbox.add(escrow.shop_id, escrow.id, "escrow.payout_broadcast", data, now)
