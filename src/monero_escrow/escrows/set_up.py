"""From an order to an address: three fresh wallets become one 2-of-3 multisig.

    stock, or: lease a trio → keys stored → wallets made → prepare → make → exchange → exchange → gate → finished trio
    finished trio → second place → the escrow's address (claim.py)

The three wallets work side by side in every round. What a round made is stored, sealed, before the next one depends
on it. No address exists for anyone until three reopened wallets vouch for it. The slots go back at the gate, or at any
failure: an attempt that fails is abandoned, and the next one starts with fresh wallets. A finished trio is the same
whether it was made for an escrow or for the stock: it is made here, and passes the same gate.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from structlog.contextvars import bound_contextvars

from monero_escrow.core.address import parse_address
from monero_escrow.core.key_exchange import Call, KeyExchange, Round, pass_gate
from monero_escrow.core.roles import ROLES, TRIO, Role
from monero_escrow.escrows.claim import birthday, give_address, take_or_keep
from monero_escrow.escrows.context import SERVICE, Context, new_id
from monero_escrow.escrows.hosted import HostedWallet, new_participant, side_by_side
from monero_escrow.escrows.journal import Rounds, Step
from monero_escrow.escrows.step_log import code_of, one_step
from monero_escrow.fleet.pool import Lease
from monero_escrow.store.records import ParticipantRecord
from monero_escrow.store.trail_tables import OK
from monero_escrow.store.transaction import Transaction
from monero_escrow.telemetry.metrics import ORDER, STOCK

T = TypeVar("T")


async def set_up(ctx: Context, escrow_id: str) -> None:
    """Give the escrow its address. Raises whatever kept it from one; an attempt that failed is then history.

    Whoever had to wait for slots looks into the stock once more: a trio may have been finished on those very slots.
    """
    if not await take_or_keep(ctx, escrow_id):
        work = f"set-up of {escrow_id}"
        async with ctx.lease(TRIO, work, wait_seconds=ctx.settings.lease_wait_seconds) as lease:
            if not await take_or_keep(ctx, escrow_id):
                await make_trio(ctx, lease, escrow_id)
    await give_address(ctx, escrow_id)


async def make_trio(ctx: Context, lease: Lease, escrow_id: str | None) -> None:
    """Make a finished trio on three leased slots, for an escrow or (None) for the stock. Raises what went wrong."""
    with ctx.metrics.one_set_up(STOCK if escrow_id is None else ORDER, ctx.clock):
        attempt = await _begin(ctx, escrow_id)
        try:
            with bound_contextvars(trio_id=attempt.trio_id):
                await _exchange_and_pass_gate(ctx, lease, attempt)
        except BaseException as error:
            trouble, code = str(error) or type(error).__name__, code_of(error)
            now = ctx.clock.now()
            await ctx.store.write(lambda tx: attempt.abandon(tx, trouble, code, now))
            raise


@dataclass(slots=True)
class _Attempt:
    """One try at a set-up: its trio, its wallets, and the journal of its rounds."""

    escrow_id: str | None
    trio_id: str
    restore_height: int
    participants: dict[Role, ParticipantRecord]
    rounds: Rounds
    under_way: tuple[Step, float] | None = field(default=None, repr=False)
    """The round under way, and since when on the monotonic clock."""

    def abandon(self, tx: Transaction, trouble: str, code: str, now: float) -> None:
        """The round under way did not work; the attempt is history."""
        self.rounds.end(tx, trouble, now, code)
        tx.trios.abandon(self.trio_id, trouble, now)


async def _begin(ctx: Context, escrow_id: str | None) -> _Attempt:
    """Store the three wallets' keys, sealed, before any process hears of them."""
    restore_height = await _restore_height(ctx)
    trio_id, network = new_id(), ctx.settings.monero_network
    participants = {role: new_participant(trio_id, role, network, ctx.entropy(64)) for role in ROLES}
    now, maker = ctx.clock.now(), ctx.maker()

    def record(tx: Transaction) -> None:
        if escrow_id is not None:  # of the stock, several are made side by side
            tx.trios.abandon_unfinished(escrow_id, "begun anew", now)
        tx.trios.add(trio_id, escrow_id, restore_height, now, maker)
        tx.trios.add_hosted(participants.values(), now)
        detail = {"trio_id": trio_id}
        tx.audit.add(SERVICE, "set_up_begun", now, escrow_id=escrow_id, trio_id=trio_id, detail=detail)

    await ctx.store.write(record)
    return _Attempt(escrow_id, trio_id, restore_height, participants, Rounds(escrow_id, trio_id))


async def _restore_height(ctx: Context) -> int:
    if ctx.daemon is None:
        return ctx.settings.monero_restore_height
    _, info = await ctx.daemon_of_our_network()
    return birthday(ctx.settings, info.height)


async def _exchange_and_pass_gate(ctx: Context, lease: Lease, attempt: _Attempt) -> None:
    network = ctx.settings.monero_network
    async with AsyncExitStack() as stack:
        wallets = {
            role: await stack.enter_async_context(HostedWallet(lease, participant, network, ctx.metrics))
            for role, participant in attempt.participants.items()
        }
        await _intend(ctx, attempt, Step.MAKE_WALLET, wallets)
        await side_by_side(
            _logged(ctx, Step.MAKE_WALLET, wallet, partial(wallet.make, attempt.restore_height))
            for wallet in wallets.values()
        )

        exchange = KeyExchange()
        while calls := [call for role in wallets if (call := exchange.next_call(role)) is not None]:
            exchange = await _one_round(ctx, attempt, wallets, exchange, calls)

        await _intend(ctx, attempt, Step.GATE, wallets)
        await side_by_side(
            _logged(ctx, Step.GATE, wallet, partial(wallet.reopen, exchange.addresses[role]))
            for role, wallet in wallets.items()
        )
        reports = await side_by_side(wallet.report() for wallet in wallets.values())
        address, view_key = pass_gate({report.role: report for report in reports})
        parse_address(address, network)
    _round_worked(ctx, attempt)
    await _record_finished(ctx, attempt, address, view_key)


async def _intend(ctx: Context, attempt: _Attempt, name: Step, wallets: dict[Role, HostedWallet]) -> None:
    _round_worked(ctx, attempt)
    attempt.under_way = name, ctx.clock.monotonic()
    slots, now = {role: wallet.slot_name for role, wallet in wallets.items()}, ctx.clock.now()
    await ctx.store.write(lambda tx: attempt.rounds.intend(tx, name, slots, now))


def _round_worked(ctx: Context, attempt: _Attempt) -> None:
    """The round under way, if there is one, did what it should."""
    if attempt.under_way is not None:
        name, since = attempt.under_way
        ctx.metrics.set_up_round_seconds.labels(name.value).observe(ctx.clock.monotonic() - since)


async def _one_round(
    ctx: Context,
    attempt: _Attempt,
    wallets: dict[Role, HostedWallet],
    exchange: KeyExchange,
    calls: list[Call],
) -> KeyExchange:
    """Every wallet whose turn it is makes its call; the answers are stored before the next round."""
    this_round = min(call.round for call in calls)
    calls = [call for call in calls if call.round is this_round]
    await _intend(ctx, attempt, Step[this_round.name], {call.role: wallets[call.role] for call in calls})
    answers = await side_by_side(
        _logged(ctx, Step[this_round.name], wallets[call.role], partial(wallets[call.role].answer, call))
        for call in calls
    )
    made = {call.role: answer for call, answer in zip(calls, answers, strict=True)}
    if this_round is Round.FINISH:
        for role, address in made.items():
            exchange = exchange.with_address(role, address)
        return exchange
    for role, message in made.items():
        exchange = exchange.with_message(role, this_round, message)
    now = ctx.clock.now()
    await ctx.store.write(lambda tx: tx.trios.add_messages(attempt.trio_id, this_round, made, now))
    return exchange


async def _logged(ctx: Context, name: Step, wallet: HostedWallet, work: Callable[[], Awaitable[T]]) -> T:
    """One wallet's part of a round, and the line that tells of it."""
    with one_step(ctx.clock, name.value, wallet):
        return await work()


async def _record_finished(ctx: Context, attempt: _Attempt, address: str, view_key: str) -> None:
    """Three wallets vouched for the address: the trio is finished. Nobody is told of the address here."""
    now = ctx.clock.now()

    def record(tx: Transaction) -> None:
        attempt.rounds.end(tx, OK, now)
        tx.trios.finish(attempt.trio_id, address, view_key, ctx.settings.monero_network, now)

    await ctx.store.write(record)
