"""The two wallets that sign a payout: opened, brought up to date with each other, and kept to the plan's outputs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from monero_escrow.core.errors import UnavailableError
from monero_escrow.core.judgement import PayoutStoppedError
from monero_escrow.core.payout import Plan
from monero_escrow.core.repairs import distrusts_files
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.hosted import HostedWallet, side_by_side
from monero_escrow.escrows.journal import Step, step
from monero_escrow.monero.ports import KeyImageStatus
from monero_escrow.store.records import PayoutRecord, TrioRecord
from monero_escrow.store.transaction import Transaction


class PlanOutputSpentError(PayoutStoppedError):
    """An output of the plan is spent already, or is not what it was."""

    code = "plan_output_spent"
    what_to_do = "The payout stops for a person: look at the chain for a transaction that spends the escrow's outputs."


class PerhapsPaidError(UnavailableError):
    """An output of the plan is spent, and earlier transactions of ours may have done it: they are looked for first."""

    code = "perhaps_paid"
    what_to_do = "Nothing was signed. The network is asked for every transaction that was signed for this payout."


class SignersDisagreeError(UnavailableError):
    """The two signers' wallets do not see the same outputs, or not yet all that the plan spends."""

    code = "signers_disagree"
    what_to_do = "Nothing was signed. Both wallets are refreshed and exchange their infos again."


@dataclass(frozen=True, slots=True)
class Signers:
    """The two wallets of a payout, open. The proposer proposes; the cosigner looks, signs and submits."""

    proposer: HostedWallet
    cosigner: HostedWallet

    @property
    def both(self) -> tuple[HostedWallet, HostedWallet]:
        """Both, the proposer first."""
        return self.proposer, self.cosigner


@asynccontextmanager
async def open_signers(ctx: Context, payout: PayoutRecord, trio: TrioRecord) -> AsyncIterator[Signers]:
    """Lease two slots and open the two signers' wallets on them, up to date with the chain.

    Where fresh exchanges alone did not help, the wallets are rebuilt instead of opened from their files.
    """
    from_files = not distrusts_files(payout.failures)
    plan, network = payout.plan, ctx.settings.monero_network
    roles, work = frozenset({plan.proposer, plan.cosigner}), f"payout of {payout.escrow_id}"
    async with (
        ctx.lease(roles, work, wait_seconds=ctx.settings.lease_wait_seconds) as lease,
        HostedWallet(lease, trio.participants[plan.proposer], network, ctx.metrics) as proposer,
        HostedWallet(lease, trio.participants[plan.cosigner], network, ctx.metrics) as cosigner,
    ):
        signers = Signers(proposer, cosigner)
        now = ctx.clock.now()
        await ctx.store.write(lambda tx: tx.trios.about_to_open(trio.id, roles, now))
        async with step(ctx, payout, Step.OPEN_WALLETS, *signers.both):
            await side_by_side(wallet.open(trio, from_files=from_files) for wallet in signers.both)
            await side_by_side(wallet.refresh(trio.restore_height) for wallet in signers.both)
        yield signers


async def exchange_infos(ctx: Context, payout: PayoutRecord, signers: Signers) -> None:
    """Fresh nonces from each signer, durable before they leave, imported by the other.

    Only after this is a balance, a key image or a "spent" believed. An info is good for one signing.
    """
    async with step(ctx, payout, Step.EXCHANGE_INFOS, *signers.both):
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


async def keep_to_plan(ctx: Context, payout: PayoutRecord, signers: Signers) -> None:
    """Freeze every output the plan does not name in both wallets; keep the key images of those it does.

    The daemon is asked whether one of them is spent: a database from a backup may not know of a payout, the chain does.
    Raises PerhapsPaidError, PlanOutputSpentError, SignersDisagreeError.
    """
    images = await side_by_side(_freeze_others(payout.plan, wallet) for wallet in signers.both)

    def record(tx: Transaction) -> None:
        for public_key, key_image in images[0].items():
            tx.outputs.change(payout.escrow_id, public_key, key_image=key_image)

    await ctx.store.write(record)
    daemon, _ = await ctx.chain()
    if any(status is not KeyImageStatus.UNSPENT for status in await daemon.is_key_image_spent([*images[0].values()])):
        if await ctx.store.read(lambda tx: tx.payouts.signed_txids(payout.id)):
            raise PerhapsPaidError("An output of the plan is spent, perhaps by a transaction that was signed for it.")
        raise PlanOutputSpentError(
            "The network knows a transaction, not ours, that spends an output of the plan: paid, recipient unknown."
        )


async def _freeze_others(plan: Plan, wallet: HostedWallet) -> dict[str, str]:
    """The key images of the plan's outputs. Raises PlanOutputSpentError, SignersDisagreeError."""
    rpc = await wallet.checked()
    planned = {output.public_key: output.amount_piconero for output in plan.outputs}
    images: dict[str, str] = {}
    for output in await rpc.incoming_transfers():
        if output.key_image is None:
            continue
        if output.public_key in planned:
            if output.amount_piconero != planned[output.public_key]:
                raise PlanOutputSpentError("An output of the plan is not what it was.")
            images[output.public_key] = output.key_image
            if output.frozen:
                await rpc.thaw(output.key_image)
        elif not output.frozen and not output.spent:
            await rpc.freeze(output.key_image)
    if images.keys() != planned.keys():
        missing = len(planned.keys() - images.keys())
        raise SignersDisagreeError(f"The {wallet.role} wallet does not see {missing} of the plan's outputs.")
    return images
