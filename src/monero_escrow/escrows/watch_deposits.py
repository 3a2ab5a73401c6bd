"""Look at what came to an escrow's address, and say what it means for the order.

    daemon synchronised → slot leased → wallet refreshed → outputs recorded and counted → funded, short or expired

A slot is held for the look alone, never while waiting. An escrow is looked at when the scan (`scan_chain.py`) has a
hint for it, when what was seen is deep enough to mean something else, at its deadline, and every
`DEPOSIT_SWEEP_SECONDS`, in case a scan missed something. The wallet of one role looks, each for a third of the escrows:
no class carries all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

from monero_escrow.core.deposits import (
    Assessment,
    DepositRules,
    OutputStatus,
    SeenOutput,
    assess,
    event_for,
    is_final,
    status_of,
    taken_back,
)
from monero_escrow.core.errors import InvariantError, UnavailableError
from monero_escrow.core.life_cycle import CLOSED_STATES, Event, State, transition
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.core.words import short
from monero_escrow.escrows.context import SERVICE, Context, move
from monero_escrow.escrows.hosted import HostedWallet
from monero_escrow.escrows.next_look import deposit_rules, set_next_look
from monero_escrow.monero.ports import WalletRpc
from monero_escrow.store.records import EscrowRecord, OutputRecord
from monero_escrow.store.transaction import Transaction

_SHORT_WAIT_SECONDS = 20.0
_SEEN = "deposit_seen"


class DeepReorganisationError(UnavailableError):
    """A deposit that was final is not on the chain any more. Nothing was changed."""

    code = "deep_reorganisation"
    what_to_do = "See which chain the daemon follows: it may be wrong, or far behind. It is looked at again later."


class WalletBehindError(UnavailableError):
    """The wallet's process follows a daemon that has fewer blocks than ours. Nothing was changed."""

    code = "wallet_behind"
    what_to_do = "Give its --daemon-address the daemon of MONERO_DAEMON_URL. It is looked at again later."


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look found: the outputs on the chain, what is in the pool, and the height it looked at."""

    outputs: tuple[SeenOutput, ...]
    in_pool_piconero: int
    chain_height: int


async def watch_deposits(ctx: Context, escrow: EscrowRecord) -> None:
    """One look at one escrow. Raises DaemonUnavailableError, NoSlotFreeError, or what the wallet answers."""
    _, info = await ctx.chain()
    trio = await ctx.store.read(lambda tx: tx.trios.get(escrow.finished_trio_id))
    role, work = _watching_role(escrow.id), f"deposits of {escrow.id}"
    async with (
        ctx.lease(frozenset({role}), work, wait_seconds=_patience_seconds(ctx, escrow)) as lease,
        HostedWallet(lease, trio.participants[role], ctx.settings.monero_network, ctx.metrics) as wallet,
    ):
        now = ctx.clock.now()
        await ctx.store.write(lambda tx: tx.trios.about_to_open(trio.id, [role], now))
        await wallet.open(trio)
        await wallet.refresh(trio.restore_height)
        rpc = await wallet.checked()
        if await rpc.get_height() < info.height:
            raise WalletBehindError("A wallet's daemon is behind the service's: what came may not show yet.")
        sighting = await _look(rpc, info.height)
    await ctx.store.write(lambda tx: record_sighting(ctx, tx, escrow, sighting))


def _patience_seconds(ctx: Context, escrow: EscrowRecord) -> float:
    """Nobody waits for a look at a closed escrow, while a payout of its own that must be followed may."""
    longest = ctx.settings.lease_wait_seconds
    return min(longest, _SHORT_WAIT_SECONDS) if escrow.state in CLOSED_STATES else longest


async def _look(rpc: WalletRpc, chain_height: int) -> Sighting:
    """The wallet's outputs, with the unlock_time that only the list of transfers tells; and what the pool holds."""
    outputs = await rpc.incoming_transfers()
    transfers = await rpc.get_transfers(pool=True)
    unlock_times = {transfer.txid: transfer.unlock_time for transfer in transfers if not transfer.in_pool}
    seen = tuple(
        SeenOutput(
            public_key=output.public_key,
            txid=output.txid,
            amount_piconero=output.amount_piconero,
            height=output.block_height,
            unlock_time=_unlock_time(unlock_times, output.txid),
            unlocked=output.unlocked,
        )
        for output in outputs
    )
    coming = (row for row in transfers if row.in_pool and not row.double_spend_seen and row.unlock_time == 0)
    return Sighting(seen, sum(row.amount_piconero for row in coming), chain_height)


def _unlock_time(unlock_times: Mapping[str, int], txid: str) -> int:
    """Raises InvariantError: an output of which it is not known whether it is locked must not count."""
    if txid not in unlock_times:
        raise InvariantError(f"The wallet lists an output of {short(txid)}, but not the transaction.")
    return unlock_times[txid]


def record_sighting(ctx: Context, tx: Transaction, looked_at: EscrowRecord, sighting: Sighting) -> None:
    """Write down what was seen, and take the escrow along its life cycle if that is what it means."""
    now = ctx.clock.now()
    escrow = tx.escrows.get(looked_at.id)
    rules = deposit_rules(ctx)
    _record_outputs(tx, escrow, sighting, rules, now)
    tx.escrows.saw_in_pool(escrow.id, sighting.in_pool_piconero)
    escrow = replace(escrow, in_pool_piconero=sighting.in_pool_piconero)
    deposits = deposits_of(tx, escrow)
    event = _event(escrow, deposits, now)
    state = escrow.state if event is None else transition(escrow.state, event).next_state
    moved_at = escrow.updated_at if event is None else now
    set_next_look(ctx, tx, looked_at, replace(escrow, state=state, updated_at=moved_at), sighting.chain_height)
    if event is None:
        return
    values: dict[str, Any] = {"funded_piconero": None}
    if event is Event.DEPOSIT_COMPLETE:
        values = {"funded_piconero": deposits.counted_piconero}
    elif event is Event.DEPOSIT_FELL_OUT:
        deadline = max(escrow.deposit_deadline or 0.0, now + escrow.deposit_window_seconds)  # it may yet come back
        values |= {"deposit_deadline": deadline, "due_at": now}
    elif event is Event.DEADLINE_PASSED_EMPTY and _any_returnable(tx, escrow):
        values |= {"due_at": now}
    detail: dict[str, object] = {"counted_piconero": str(deposits.counted_piconero)}
    move(tx, escrow, event, SERVICE, now, detail=detail, **values)


def _any_returnable(tx: Transaction, escrow: EscrowRecord) -> bool:
    """Whether coins whose lock ran out go back to the buyer as soon as the escrow is closed."""
    return any(row.status is OutputStatus.RETURNABLE and row.payout_id is None for row in tx.outputs.of(escrow.id))


def _event(escrow: EscrowRecord, deposits: Assessment, now: float) -> Event | None:
    if escrow.state is State.AWAITING_DEPOSIT:
        return event_for(deposits, deadline_passed=now >= (escrow.deposit_deadline or now))
    if escrow.state is State.FUNDED and taken_back(deposits, escrow.funded_piconero):
        return Event.DEPOSIT_FELL_OUT
    return None


def _record_outputs(tx: Transaction, escrow: EscrowRecord, sighting: Sighting, rules: DepositRules, now: float) -> None:
    known = {output.public_key: output for output in tx.outputs.of(escrow.id)}
    for seen in sighting.outputs:
        status = status_of(seen, sighting.chain_height, rules)
        before = known.pop(seen.public_key, None)
        final_at = now if is_final(seen, sighting.chain_height, rules) else None
        if before is None:
            tx.outputs.add(
                OutputRecord(
                    escrow_id=escrow.id,
                    public_key=seen.public_key,
                    txid=seen.txid,
                    amount_piconero=seen.amount_piconero,
                    height=seen.height,
                    unlock_time=seen.unlock_time,
                    status=status,
                    key_image=None,
                    payout_id=None,
                    seen_at=now,
                    final_at=final_at,
                )
            )
            _tell(tx, escrow, _SEEN, seen, status, now)
            continue
        if before.status is OutputStatus.COUNTED and before.height == seen.height:
            status = OutputStatus.COUNTED  # the chain is shorter for a moment, while blocks are being replaced
        if before.payout_id is None and _differs(before, seen, status, final_at):
            tx.outputs.change(
                escrow.id,
                seen.public_key,
                status=status,
                height=seen.height,
                txid=seen.txid,  # of two outputs with one key the wallet shows the larger, and this may be the other
                amount_piconero=seen.amount_piconero,
                unlock_time=seen.unlock_time,
                final_at=final_at,
            )
            if before.status is not status:
                _tell(tx, escrow, f"deposit_{status}", seen, status, now)
    for vanished in known.values():
        if vanished.payout_id is None:
            if vanished.final_at is not None:
                raise DeepReorganisationError(
                    f"For the operator: a deposit of block {vanished.height}, long final, is not there any more."
                )
            tx.outputs.forget(escrow.id, vanished.public_key)
            detail = {"txid": short(vanished.txid), "amount_piconero": str(vanished.amount_piconero)}
            tx.audit.add(SERVICE, "deposit_vanished", now, escrow_id=escrow.id, detail=detail)
            tx.outbox.add(escrow.shop_id, escrow.id, "escrow.deposit_vanished", detail, now)


def _differs(before: OutputRecord, seen: SeenOutput, status: OutputStatus, final_at: float | None) -> bool:
    known = (before.status, before.height, before.txid, before.amount_piconero, before.final_at is None)
    return known != (status, seen.height, seen.txid, seen.amount_piconero, final_at is None)


def _tell(
    tx: Transaction, escrow: EscrowRecord, action: str, seen: SeenOutput, status: OutputStatus, now: float
) -> None:
    """Audit row and event; a flood of dust is counted in the outputs and told of nowhere else."""
    if status is OutputStatus.DUST:
        return
    if action == _SEEN:
        tx.measure(lambda metrics: metrics.deposits_seen.inc())
    if status is OutputStatus.COUNTED:
        tx.measure(lambda metrics: metrics.deposits_confirmed.inc())
    detail = {"txid": short(seen.txid), "amount_piconero": str(seen.amount_piconero), "status": status.value}
    tx.audit.add(SERVICE, action, now, escrow_id=escrow.id, detail=detail)
    data = {**detail, "txid": seen.txid, "order_id": escrow.order_id}
    tx.outbox.add(escrow.shop_id, escrow.id, f"escrow.{action}", data, now)


def deposits_of(tx: Transaction, escrow: EscrowRecord) -> Assessment:
    """What the escrow's undecided outputs and the pool add up to, beside the order's amount."""
    outputs = [(row.status, row.amount_piconero) for row in tx.outputs.of(escrow.id) if row.payout_id is None]
    outputs.append((OutputStatus.PENDING, escrow.in_pool_piconero))
    return assess(escrow.terms.amount_piconero, outputs)


def _watching_role(escrow_id: str) -> Role:
    return ROLES[crc32(escrow_id.encode()) % len(ROLES)]
