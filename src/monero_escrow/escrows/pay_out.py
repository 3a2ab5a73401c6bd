"""Carry out a decision: two of the three wallets sign exactly the plan, and the network gets it.

    both wallets opened → refreshed → infos exchanged → others' outputs frozen → proposed → described and judged
    → audit row → signed → blob and txid stored → submitted → raw transaction kept

Each step is in the journal before it runs. Every proposal spends the plan's anchor, so the network itself refuses a
second payment, whatever is lost or repeated. Every proposal gets a fresh exchange of infos, so no nonce serves twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from monero_escrow.core.errors import UnavailableError
from monero_escrow.core.fees import predict_fee
from monero_escrow.core.judgement import DescribedTransaction, TamperedSetError, objections
from monero_escrow.core.payout import Plan, near_enough, net_payments
from monero_escrow.escrows.context import SERVICE, Context, short
from monero_escrow.escrows.hosted import HostedWallet
from monero_escrow.escrows.signers import Signers, exchange_infos, keep_to_plan, open_signers, step
from monero_escrow.monero.ports import DescribedSet, Proposal
from monero_escrow.store.records import PayoutRecord, PayoutState, TrioRecord
from monero_escrow.store.store import Transaction

_MOST_PROPOSALS = 4
"""The fee is learned by proposing; it moves at most once or twice. More means that something else is wrong."""


class FeeUnsettledError(UnavailableError):
    """The fee moved with every proposal."""

    code = "fee_unsettled"
    what_to_do = "Nothing was signed; it is tried again later."


@dataclass(frozen=True, slots=True)
class _Proposed:
    """An unsigned set, and the fee that was divided among the shares when it was made."""

    proposal: Proposal
    shared_fee_piconero: int


@dataclass(frozen=True, slots=True)
class _Signed:
    """A fully signed transaction."""

    blob: str = field(repr=False)
    txid: str


async def sign_and_submit(ctx: Context, payout: PayoutRecord, trio: TrioRecord) -> None:
    """From a decision to a transaction on the network. Raises TamperedSetError when the set is not the plan."""
    async with open_signers(ctx, payout, trio) as signers:
        proposed = await _propose_exactly(ctx, payout, signers)
        await _look(ctx, payout.plan, signers.cosigner, proposed)
        signed = await _sign(ctx, payout, signers.cosigner, proposed)
        await _submit(ctx, payout, signers.cosigner, signed)


async def submit_again(ctx: Context, payout: PayoutRecord, trio: TrioRecord) -> None:
    """A signed transaction whose submission has no known answer: submitting the same blob again is harmless."""
    txid = payout.txid or ""
    blob = await ctx.store.read(lambda tx: tx.payouts.signed(payout.id, txid))
    async with open_signers(ctx, payout, trio) as signers:
        await exchange_infos(ctx, payout, signers)
        await _submit(ctx, payout, signers.cosigner, _Signed(blob, txid))


async def _propose_exactly(ctx: Context, payout: PayoutRecord, signers: Signers) -> _Proposed:
    """Propose, learn the fee, and propose again with shares that bear it."""
    fee, learned = await _predicted_fee(ctx, payout.plan), False
    for _ in range(_MOST_PROPOSALS):
        await exchange_infos(ctx, payout, signers)
        await keep_to_plan(ctx, payout, signers)
        async with step(ctx, payout, "propose", payout.plan.proposer):
            proposal = await _propose(ctx, payout.plan, signers.proposer, fee)
        if len(net_payments(payout.plan, fee)) == 1:  # one recipient gets everything, whatever the fee turns out to be
            return _Proposed(proposal, proposal.fee_piconero)
        if proposal.fee_piconero == fee or (learned and near_enough(proposal.fee_piconero, fee)):
            return _Proposed(proposal, fee)
        fee, learned = proposal.fee_piconero, True
    raise FeeUnsettledError(f"The network fee was quite another one in each of {_MOST_PROPOSALS} proposals.")


async def _propose(ctx: Context, plan: Plan, proposer: HostedWallet, fee_piconero: int) -> Proposal:
    """Ask the wallet for a set that pays the plan's net amounts and leaves no change.

    The shares of the fee are made here: the wallet's own subtract_fee splits it equally. It is told to take the fee
    from the largest payment, to which it is added first. Net amounts alone would be refused with -16, because the
    wallet reckons with a change output (tests/conformance/test_spending.py).
    """
    rpc, priority = await proposer.checked(), ctx.settings.fee_priority
    payments = net_payments(plan, fee_piconero)
    if len(payments) == 1:
        return await rpc.sweep_all(payments[0].address, priority=priority)
    largest = max(range(len(payments)), key=lambda index: payments[index].amount_piconero)
    destinations = [
        (payment.address, payment.amount_piconero + (fee_piconero if index == largest else 0))
        for index, payment in enumerate(payments)
    ]
    return await rpc.transfer(destinations, priority=priority, subtract_fee_from=[largest])


async def _predicted_fee(ctx: Context, plan: Plan) -> int:
    """A first guess at the fee."""
    daemon, _ = await ctx.chain()
    estimate = await daemon.get_fee_estimate()
    per_byte = estimate.fees_piconero[ctx.settings.fee_priority - 1]
    recipients = len(net_payments(plan, 0))
    return predict_fee(len(plan.outputs), recipients, per_byte, estimate.quantization_mask)


async def _look(ctx: Context, plan: Plan, cosigner: HostedWallet, proposed: _Proposed) -> None:
    """Look before signing: what the set says to the second signer's wallet must be the plan, and nothing else."""
    described = await (await cosigner.checked()).describe_transfer(proposed.proposal.txset)
    found = objections(
        plan,
        _as_judged(described),
        most_fee_piconero=ctx.settings.most_fee_piconero,
        shared_fee_piconero=proposed.shared_fee_piconero,
    )
    if found:
        raise TamperedSetError(" ".join(found))


def _as_judged(described: DescribedSet) -> list[DescribedTransaction]:
    return [
        DescribedTransaction(
            recipients=tuple((recipient.address, recipient.amount_piconero) for recipient in tx.recipients),
            amount_in_piconero=tx.amount_in_piconero,
            fee_piconero=tx.fee_piconero,
            change_piconero=tx.change_amount_piconero,
            ring_size=tx.ring_size,
            unlock_time=tx.unlock_time,
            payment_id=tx.payment_id,
            source_keys=None if tx.sources is None else tuple(source.public_key for source in tx.sources),
        )
        for tx in described.transactions
    ]


async def _sign(ctx: Context, payout: PayoutRecord, cosigner: HostedWallet, proposed: _Proposed) -> _Signed:
    """No audit row, no signature; no stored blob and txid, no submission."""
    number = await ctx.store.write(lambda tx: _record_proposal(ctx, tx, payout, proposed.proposal))
    async with step(ctx, payout, "sign", payout.plan.cosigner):
        signed = await (await cosigner.checked()).sign_multisig(proposed.proposal.txset)
        if len(signed.txids) != 1:
            raise TamperedSetError(f"Signing gave {len(signed.txids)} transactions instead of one.")
    result = _Signed(signed.blob, signed.txids[0])
    await ctx.store.write(lambda tx: _record_signed(ctx, tx, payout, number, result, proposed))
    return result


def _record_proposal(ctx: Context, tx: Transaction, payout: PayoutRecord, proposal: Proposal) -> int:
    now = ctx.clock.now()
    number = tx.payouts.add_proposal(payout.id, proposal.txset, proposal.fee_piconero, now)
    detail = {"payout": payout.number, "proposal": number, "fee_piconero": str(proposal.fee_piconero)}
    tx.audit.add(SERVICE, "payout_to_be_signed", now, escrow_id=payout.escrow_id, detail=detail)
    return number


def _record_signed(
    ctx: Context, tx: Transaction, payout: PayoutRecord, number: int, signed: _Signed, proposed: _Proposed
) -> None:
    now = ctx.clock.now()
    tx.payouts.keep_signed(payout.id, number, signed.blob, signed.txid, now)
    tx.payouts.change(
        payout.id,
        state=PayoutState.SIGNED,
        txid=signed.txid,
        fee_piconero=proposed.proposal.fee_piconero,
        shared_fee_piconero=proposed.shared_fee_piconero,
    )
    detail = {"payout": payout.number, "txid": short(signed.txid)}
    tx.audit.add(SERVICE, "payout_signed", now, escrow_id=payout.escrow_id, detail=detail)


async def _submit(ctx: Context, payout: PayoutRecord, cosigner: HostedWallet, signed: _Signed) -> None:
    """Hand the transaction to the network, and keep it as the network has it: rebroadcast then needs no wallet."""
    async with step(ctx, payout, "submit", payout.plan.cosigner):
        await (await cosigner.checked()).submit_multisig(signed.blob)
    daemon, _ = await ctx.chain()
    known = (await daemon.get_transactions([signed.txid])).get(signed.txid)
    now = ctx.clock.now()

    def record(tx: Transaction) -> None:
        if known is not None:
            tx.payouts.keep_raw(payout.id, known.raw_hex)
        tx.payouts.change(payout.id, state=PayoutState.BROADCAST, broadcast_at=now)
        escrow = tx.escrows.get(payout.escrow_id)
        detail = {"payout": payout.number, "txid": short(signed.txid)}
        tx.audit.add(SERVICE, "payout_broadcast", now, escrow_id=escrow.id, detail=detail)
        data = {"order_id": escrow.order_id, "payout": payout.number, "txid": signed.txid}
        tx.outbox.add(escrow.shop_id, escrow.id, "escrow.payout_broadcast", data, now)

    await ctx.store.write(record)
