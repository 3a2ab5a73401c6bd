"""Hand a signed transaction to the network, and find out whether that has happened.

Its blob and txid are durable before it gets here. Submitting the same blob again is harmless, so whoever does not know
whether it was submitted asks the daemon, and then submits. The transaction as the network has it is kept: giving it to
the daemon once more needs no wallet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from monero_escrow.core.words import short
from monero_escrow.escrows.context import SERVICE, Context
from monero_escrow.escrows.hosted import HostedWallet
from monero_escrow.escrows.journal import Step, step
from monero_escrow.escrows.signers import exchange_infos, open_signers
from monero_escrow.monero.ports import DaemonTransaction
from monero_escrow.store.records import PayoutRecord, PayoutState, TrioRecord
from monero_escrow.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A fully signed transaction."""

    blob: str = field(repr=False)
    txid: str


async def submit(ctx: Context, payout: PayoutRecord, cosigner: HostedWallet, signed: SignedTransaction) -> None:
    """Submit through the wallet that signed last; broadcast is what the daemon then knows."""
    async with step(ctx, payout, Step.SUBMIT, cosigner):
        await (await cosigner.checked()).submit_multisig(signed.blob)
    await find_ours(ctx, payout)


async def submit_again(ctx: Context, payout: PayoutRecord, trio: TrioRecord) -> None:
    """For a signed transaction the network does not know: perhaps it never was submitted."""
    txid = payout.signed_txid
    blob = await ctx.store.read(lambda tx: tx.payouts.signed(payout.id, txid))
    async with open_signers(ctx, payout, trio) as signers:
        await exchange_infos(ctx, payout, signers)  # a rebuilt wallet refuses to submit before it has imported
        await submit(ctx, payout, signers.cosigner, SignedTransaction(blob, txid))


async def find_ours(ctx: Context, payout: PayoutRecord) -> bool:
    """Whether the network knows a transaction that was ever signed for this payout; if so, it is broadcast.

    All of them spend the plan's anchor, so one that is mined is preferred to one that waits in the pool.
    """
    txids = await ctx.store.read(lambda tx: tx.payouts.signed_txids(payout.id))
    if not txids:
        return False
    daemon, _ = await ctx.chain()
    known = mined_first((await daemon.get_transactions(txids)).values())
    if not known:
        return False
    await ctx.store.write(lambda tx: _record(ctx, tx, payout.id, known[0]))
    return True


def mined_first(found: Iterable[DaemonTransaction]) -> list[DaemonTransaction]:
    """Transactions in blocks before those in the pool."""
    return sorted(found, key=lambda transaction: transaction.block_height is None)


def _record(ctx: Context, tx: Transaction, payout_id: str, known: DaemonTransaction) -> None:
    now, payout = ctx.clock.now(), tx.payouts.get(payout_id)
    tx.payouts.keep_raw(payout.id, known.raw_hex)
    tx.payouts.move(payout, PayoutState.BROADCAST, txid=known.txid, broadcast_at=now)
    escrow = tx.escrows.get(payout.escrow_id)
    detail = {"payout": payout.number, "txid": short(known.txid)}
    tx.audit.add(SERVICE, "payout_broadcast", now, escrow_id=escrow.id, detail=detail)
    data = {"order_id": escrow.order_id, "payout": payout.number, "txid": known.txid}
    tx.outbox.add(escrow.shop_id, escrow.id, "escrow.payout_broadcast", data, now)
