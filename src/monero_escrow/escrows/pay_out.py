"""Carry out a decision: two of the three wallets sign exactly the plan, and the network gets it.

    both wallets opened → refreshed → infos exchanged → others' outputs frozen → proposed → described and judged
    → audit row → signed → blob and txid stored → submitted → raw transaction kept

Each step is in the journal before it runs. Every proposal spends the plan's anchor, so the network itself refuses a
second payment, whatever is lost or repeated. Every proposal gets a fresh exchange of infos, so no nonce serves twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from monero_escrow.core.errors import UnavailableError
from monero_escrow.core.fees import predict_fee
from monero_escrow.core.judgement import DescribedTransaction, TamperedSetError, objections
from monero_escrow.core.payout import Plan, net_payments
from monero_escrow.core.roles import Role
from monero_escrow.escrows.context import SERVICE, Context, short
from monero_escrow.escrows.hosted import HostedWallet, side_by_side
from monero_escrow.monero.errors import NotEnoughMoneyError
from monero_escrow.monero.ports import DescribedSet, Proposal
from monero_escrow.store.records import PayoutRecord, PayoutState, TrioRecord
from monero_escrow.store.store import Transaction
from monero_escrow.store.trail_tables import OK

_MOST_PROPOSALS = 4
"""The fee is learned by proposing; it moves at most once or twice. More means that something else is wrong."""


class PlanOutputGoneError(TamperedSetError):
    """An output of the plan is not there, or is spent already."""

    code = "plan_output_gone"
    what_to_do = "The payout stops for a person: look at the chain for a transaction that spends the escrow's outputs."


class SignersDisagreeError(UnavailableError):
    """The two signers' wallets do not see the same outputs yet."""

    code = "signers_disagree"
    what_to_do = "Nothing was signed. Both wallets are refreshed and exchange their infos again."


class FeeUnsettledError(UnavailableError):
    """The fee moved with every proposal."""

    code = "fee_unsettled"
    what_to_do = "Nothing was signed; it is tried again later."


@dataclass(frozen=True, slots=True)
class _Signers:
    """The two wallets of a payout, open. The proposer proposes; the cosigner looks, signs and submits."""

    proposer: HostedWallet
    cosigner: HostedWallet

    @property
    def both(self) -> tuple[HostedWallet, HostedWallet]:
        return self.proposer, self.cosigner


@dataclass(frozen=True, slots=True)
class _Signed:
    """A fully signed transaction."""

    blob: str = field(repr=False)
    txid: str


async def sign_and_submit(ctx: Context, payout: PayoutRecord, trio: TrioRecord) -> None:
    """From a decision to a transaction on the network. Raises TamperedSetError when the set is not the plan."""
    async with _open_signers(ctx, payout, trio) as signers:
        proposal = await _propose_until_exact(ctx, payout, signers)
        await _look(ctx, payout.plan, signers.cosigner, proposal)
        signed = await _sign(ctx, payout, signers.cosigner, proposal)
        await _submit(ctx, payout, signers.cosigner, signed)


async def submit_again(ctx: Context, payout: PayoutRecord, trio: TrioRecord) -> None:
    """A signed transaction whose submission has no known answer: submitting the same blob again is harmless."""
    txid = payout.txid or ""
    blob = await ctx.store.read(lambda tx: tx.payouts.signed(payout.id, txid))
    async with _open_signers(ctx, payout, trio) as signers:
        await _exchange_infos(ctx, payout, signers)
        await _submit(ctx, payout, signers.cosigner, _Signed(blob, txid))


@asynccontextmanager
async def _open_signers(ctx: Context, payout: PayoutRecord, trio: TrioRecord) -> AsyncIterator[_Signers]:
    """Lease two slots and open the two signers' wallets on them, up to date with the chain."""
    plan, network = payout.plan, ctx.settings.monero_network
    roles, work = frozenset({plan.proposer, plan.cosigner}), f"payout of {payout.escrow_id}"
    async with (
        ctx.pool.lease(roles, work, wait_seconds=ctx.settings.lease_wait_seconds) as lease,
        HostedWallet(lease, trio.participants[plan.proposer], network) as proposer,
        HostedWallet(lease, trio.participants[plan.cosigner], network) as cosigner,
    ):
        signers = _Signers(proposer, cosigner)
        async with _step(ctx, payout, "open wallets"):
            await side_by_side(wallet.open(trio) for wallet in signers.both)
            await side_by_side(_refresh(wallet) for wallet in signers.both)
        yield signers


async def _refresh(wallet: HostedWallet) -> int:
    return await (await wallet.checked()).refresh()


async def _exchange_infos(ctx: Context, payout: PayoutRecord, signers: _Signers) -> None:
    """Fresh nonces from each signer, durable before they leave, imported by the other.

    Only after this is a balance, a key image or a "spent" believed. An info is good for one signing.
    """
    async with _step(ctx, payout, "exchange infos"):
        infos = await side_by_side(_export(wallet) for wallet in signers.both)
        imports = zip(signers.both, reversed(infos), strict=True)
        seen = await side_by_side(_import(wallet, info) for wallet, info in imports)
    if len(set(seen)) != 1:
        raise SignersDisagreeError(f"The signers' wallets see {seen[0]} and {seen[1]} outputs.")


async def _export(wallet: HostedWallet) -> str:
    rpc = await wallet.checked()
    info = await rpc.export_multisig_info()
    await rpc.store()
    return info


async def _import(wallet: HostedWallet, info: str) -> int:
    return await (await wallet.checked()).import_multisig_info([info])


async def _keep_to_plan(ctx: Context, payout: PayoutRecord, signers: _Signers) -> None:
    """Freeze every output the plan does not name in both wallets; keep the key images of those it does."""
    images = await side_by_side(_freeze_others(payout.plan, wallet) for wallet in signers.both)

    def record(tx: Transaction) -> None:
        for public_key, key_image in images[0].items():
            tx.outputs.change(payout.escrow_id, public_key, key_image=key_image)

    await ctx.store.write(record)


async def _freeze_others(plan: Plan, wallet: HostedWallet) -> dict[str, str]:
    """The key images of the plan's outputs. Raises PlanOutputGoneError if one is missing or spent."""
    rpc = await wallet.checked()
    planned = {output.public_key: output.amount_piconero for output in plan.outputs}
    images: dict[str, str] = {}
    for output in await rpc.incoming_transfers():
        if output.key_image is None:
            continue
        if output.public_key in planned:
            if output.spent or output.amount_piconero != planned[output.public_key]:
                raise PlanOutputGoneError("An output of the plan is spent, or is not what it was.")
            images[output.public_key] = output.key_image
            if output.frozen:
                await rpc.thaw(output.key_image)
        elif not output.frozen and not output.spent:
            await rpc.freeze(output.key_image)
    if images.keys() != planned.keys():
        raise PlanOutputGoneError(f"{len(planned.keys() - images.keys())} outputs of the plan are not there.")
    return images


async def _propose_until_exact(ctx: Context, payout: PayoutRecord, signers: _Signers) -> Proposal:
    """Propose, learn the fee, and propose again until the net amounts and the fee make the plan's total.

    Monero's own subtract_fee splits the fee equally, not by shares (wallet2.cpp), so the shares are made here.
    """
    fee = await _predicted_fee(ctx, payout.plan)
    for _ in range(_MOST_PROPOSALS):
        await _exchange_infos(ctx, payout, signers)
        await _keep_to_plan(ctx, payout, signers)
        payments = net_payments(payout.plan, fee)
        async with _step(ctx, payout, "propose", payout.plan.proposer):
            rpc = await signers.proposer.checked()
            priority = ctx.settings.fee_priority
            if len(payments) == 1:  # everything to one address: whatever the fee turns out to be
                return await rpc.sweep_all(payments[0].address, priority=priority)
            destinations = [(payment.address, payment.amount_piconero) for payment in payments]
            try:
                proposal = await rpc.transfer(destinations, priority=priority)
            except NotEnoughMoneyError:
                fee += fee // 4  # less was left for the fee than the wallet wants
                continue
        if proposal.fee_piconero == fee:
            return proposal
        fee = proposal.fee_piconero
    raise FeeUnsettledError(f"The network fee was another one in each of {_MOST_PROPOSALS} proposals.")


async def _predicted_fee(ctx: Context, plan: Plan) -> int:
    """A first guess, near enough that the first proposal is usually the last."""
    daemon, _ = await ctx.chain()
    estimate = await daemon.get_fee_estimate()
    per_byte = estimate.fees_piconero[ctx.settings.fee_priority - 1]
    recipients = len(net_payments(plan, 0))
    return predict_fee(len(plan.outputs), recipients, per_byte, estimate.quantization_mask)


async def _look(ctx: Context, plan: Plan, cosigner: HostedWallet, proposal: Proposal) -> None:
    """Look before signing: what the set says to the second signer's wallet must be the plan, and nothing else."""
    described = await (await cosigner.checked()).describe_transfer(proposal.txset)
    found = objections(plan, _as_judged(described), most_fee_piconero=ctx.settings.most_fee_piconero)
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
            source_keys=None if tx.sources is None else tuple(source.public_key[:64] for source in tx.sources),
        )
        for tx in described.transactions
    ]


async def _sign(ctx: Context, payout: PayoutRecord, cosigner: HostedWallet, proposal: Proposal) -> _Signed:
    """No audit row, no signature; no stored blob and txid, no submission."""
    number = await ctx.store.write(lambda tx: _record_proposal(ctx, tx, payout, proposal))
    async with _step(ctx, payout, "sign", payout.plan.cosigner):
        signed = await (await cosigner.checked()).sign_multisig(proposal.txset)
        if len(signed.txids) != 1:
            raise TamperedSetError(f"Signing gave {len(signed.txids)} transactions instead of one.")
    result = _Signed(signed.blob, signed.txids[0])
    await ctx.store.write(lambda tx: _record_signed(ctx, tx, payout, number, result, proposal.fee_piconero))
    return result


def _record_proposal(ctx: Context, tx: Transaction, payout: PayoutRecord, proposal: Proposal) -> int:
    now = ctx.clock.now()
    number = tx.payouts.add_proposal(payout.id, proposal.txset, proposal.fee_piconero, now)
    detail = {"payout": payout.number, "proposal": number, "fee_piconero": str(proposal.fee_piconero)}
    tx.audit.add(SERVICE, "payout_to_be_signed", now, escrow_id=payout.escrow_id, detail=detail)
    return number


def _record_signed(
    ctx: Context, tx: Transaction, payout: PayoutRecord, number: int, signed: _Signed, fee_piconero: int
) -> None:
    now = ctx.clock.now()
    tx.payouts.keep_signed(payout.id, number, signed.blob, signed.txid, now)
    tx.payouts.change(payout.id, state=PayoutState.SIGNED, txid=signed.txid, fee_piconero=fee_piconero)
    detail = {"payout": payout.number, "txid": short(signed.txid)}
    tx.audit.add(SERVICE, "payout_signed", now, escrow_id=payout.escrow_id, detail=detail)


async def _submit(ctx: Context, payout: PayoutRecord, cosigner: HostedWallet, signed: _Signed) -> None:
    """Hand the transaction to the network, and keep it as the network has it: rebroadcast then needs no wallet."""
    async with _step(ctx, payout, "submit", payout.plan.cosigner):
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


@asynccontextmanager
async def _step(ctx: Context, payout: PayoutRecord, name: str, role: Role | None = None) -> AsyncIterator[None]:
    """A row in the journal before the step runs, its result after."""
    begun = ctx.clock.now()
    step = await ctx.store.write(
        lambda tx: tx.journal.intend(
            escrow_id=payout.escrow_id, subject_id=payout.id, name=name, role=role, slot=None, now=begun
        )
    )
    result = "cancelled"
    try:
        yield
        result = OK
    except Exception as error:
        result = str(error) or type(error).__name__
        raise
    finally:
        ended = ctx.clock.now()
        await ctx.store.write(lambda tx: tx.journal.end(step, result, ended))
