"""Carry out a decision: two of the three wallets sign exactly the plan, and the network gets it.

    both wallets opened → refreshed → infos exchanged → others' outputs frozen → proposed → described and judged
    → audit row → signed → blob and txid stored → submitted → raw transaction kept

Each step is in the journal before it runs. Every proposal spends the plan's anchor, so the network itself refuses a
second payment, whatever is lost or repeated. Every proposal gets a fresh exchange of infos, so no nonce serves twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from monero_escrow.core.errors import InvariantError, UnavailableError
from monero_escrow.core.judgement import DescribedTransaction, TamperedSetError, objections
from monero_escrow.core.payout import Plan, near_enough, net_payments
from monero_escrow.core.words import short
from monero_escrow.escrows.broadcast import SignedTransaction, submit
from monero_escrow.escrows.context import SERVICE, Context
from monero_escrow.escrows.hosted import HostedWallet
from monero_escrow.escrows.journal import Step, step
from monero_escrow.escrows.signers import Signers, exchange_infos, keep_to_plan, open_signers
from monero_escrow.monero.ports import DescribedSet, Proposal
from monero_escrow.store.records import PayoutRecord, PayoutState, TrioRecord
from monero_escrow.store.transaction import Transaction

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


async def sign_and_submit(ctx: Context, payout: PayoutRecord, trio: TrioRecord) -> None:
    """From a decision to a transaction on the network. Raises TamperedSetError when the set is not the plan."""
    async with open_signers(ctx, payout, trio) as signers:
        proposed = await _propose_exactly(ctx, payout, signers)
        await _look(ctx, payout.plan, signers.cosigner, proposed)
        signed = await _sign(ctx, payout, signers.cosigner, proposed)
        await submit(ctx, payout, signers.cosigner, signed)


async def _propose_exactly(ctx: Context, payout: PayoutRecord, signers: Signers) -> _Proposed:
    """Propose, learn the fee, and propose again with shares that bear it."""
    fee = (await ctx.fee_rate()).of_transaction(len(payout.plan.outputs), len(payout.plan.shares))
    for attempt in range(_MOST_PROPOSALS):
        await exchange_infos(ctx, payout, signers)
        await keep_to_plan(ctx, payout, signers)
        async with step(ctx, payout, Step.PROPOSE, signers.proposer):
            proposal = await _propose(ctx, payout.plan, signers.proposer, fee)
        learned = attempt > 0
        one_share = len(payout.plan.shares) == 1  # it bears the fee alone, whatever that turns out to be
        if proposal.fee_piconero == fee or one_share or (learned and near_enough(proposal.fee_piconero, fee)):
            return _Proposed(proposal, proposal.fee_piconero if one_share else fee)
        fee = proposal.fee_piconero
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


async def _sign(ctx: Context, payout: PayoutRecord, cosigner: HostedWallet, proposed: _Proposed) -> SignedTransaction:
    """No audit row, no signature; no stored blob and txid, no submission."""
    number = await ctx.store.write(lambda tx: _record_proposal(ctx, tx, payout, proposed))
    async with step(ctx, payout, Step.SIGN, cosigner) as outcome:
        signed = await (await cosigner.checked()).sign_multisig(proposed.proposal.txset)
        if len(signed.txids) != 1:  # the description said one: the wallet contradicts itself, and nothing is submitted
            raise InvariantError(f"Signing gave {len(signed.txids)} transactions instead of one.")
        result = SignedTransaction(signed.blob, signed.txids[0])
        outcome.record(lambda tx: _record_signed(ctx, tx, payout.id, number, result, proposed))
    return result


def _record_proposal(ctx: Context, tx: Transaction, payout: PayoutRecord, proposed: _Proposed) -> int:
    now, proposal, shared_fee = ctx.clock.now(), proposed.proposal, proposed.shared_fee_piconero
    number = tx.payouts.add_proposal(
        payout.id, proposal.txset, proposal.fee_piconero, now, shared_fee_piconero=shared_fee
    )
    detail = {"payout": payout.number, "proposal": number, "fee_piconero": str(proposal.fee_piconero)}
    tx.audit.add(SERVICE, "payout_to_be_signed", now, escrow_id=payout.escrow_id, detail=detail)
    return number


def _record_signed(
    ctx: Context, tx: Transaction, payout_id: str, number: int, signed: SignedTransaction, proposed: _Proposed
) -> None:
    now, payout = ctx.clock.now(), tx.payouts.get(payout_id)
    tx.payouts.keep_signed(payout.id, number, signed.blob, signed.txid, now)
    tx.payouts.move(
        payout,
        PayoutState.SIGNED,
        txid=signed.txid,
        fee_piconero=proposed.proposal.fee_piconero,
        shared_fee_piconero=proposed.shared_fee_piconero,
    )
    detail = {"payout": payout.number, "txid": short(signed.txid)}
    tx.audit.add(SERVICE, "payout_signed", now, escrow_id=payout.escrow_id, detail=detail)
