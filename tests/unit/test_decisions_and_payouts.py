"""Decisions and their way to the network, on a real store and a daemon that says what the test wants."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from monero_escrow.config import Settings, load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.deposits import Coverage, OutputStatus
from monero_escrow.core.life_cycle import State
from monero_escrow.core.pauses import LONGEST_PAUSE_SECONDS, pause_seconds
from monero_escrow.core.payout import NothingToPayOutError, PayoutKind
from monero_escrow.escrows import decide
from monero_escrow.escrows.advance import advance
from monero_escrow.escrows.context import Context, DaemonUnavailableError
from monero_escrow.escrows.decide import DepositsPendingError
from monero_escrow.escrows.watch_deposits import deposits_of
from monero_escrow.fleet.pool import NoSlotFreeError, SlotPool
from monero_escrow.monero.ports import BlockHeader, Daemon, DaemonInfo, DaemonTransaction, FeeEstimate, KeyImageStatus
from monero_escrow.store.records import EscrowRecord, PayoutRecord, PayoutState
from monero_escrow.store.store import SqlStore, Transaction
from unit.rows import XMR, address, escrow, hex64, output
from unit.slots import VirtualClock

FEE_PER_BYTE = 20_000
# Worth more than the fee one input adds, and less than a whole transaction costs.
WORTHLESS_ALONE = 20_000_000


class ScriptedDaemon:
    """A daemon that is where the test puts it, and knows the transactions the test gives it."""

    url = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.tip_at = 10_000.0
        self.known: dict[str, DaemonTransaction] = {}
        self.relayed: list[str] = []
        self.spent: dict[str, KeyImageStatus] = {}

    async def get_info(self) -> DaemonInfo:
        return DaemonInfo(1_000, 0, "aa" * 32, True, Network.STAGENET, False, "0.18.5.3")

    async def get_last_block_header(self) -> BlockHeader:
        return BlockHeader(999, "aa" * 32, int(self.tip_at))

    async def get_fee_estimate(self) -> FeeEstimate:
        return FeeEstimate(FEE_PER_BYTE, (FEE_PER_BYTE,), 10_000)

    async def get_transactions(self, txids: Sequence[str]) -> dict[str, DaemonTransaction]:
        return {txid: self.known[txid] for txid in txids if txid in self.known}

    async def is_key_image_spent(self, key_images: Sequence[str]) -> list[KeyImageStatus]:
        return [self.spent.get(image, KeyImageStatus.UNSPENT) for image in key_images]

    async def send_raw_transaction(self, raw_hex: str) -> None:
        self.relayed.append(raw_hex)


@pytest.fixture
def daemon() -> ScriptedDaemon:
    return ScriptedDaemon()


@pytest.fixture
def ctx(store: SqlStore, clock: VirtualClock, daemon: ScriptedDaemon, tmp_path: Path) -> Context:
    settings: Settings = load_settings(monero_network="stagenet", data_dir=tmp_path)
    return Context(settings, store, SlotPool([], clock, quarantine_seconds=1), cast("Daemon", daemon), clock)


async def an_escrow(ctx: Context, state: State, *coins: tuple[OutputStatus, int], in_pool: int = 0) -> EscrowRecord:
    """An escrow of 1 XMR in this state, to which these outputs came."""

    def add(tx: Transaction) -> None:
        tx.escrows.add(escrow())
        tx.trios.add("trio", "escrow", 0, 100.0)
        tx.escrows.change(
            "escrow",
            expected=State.SETTING_UP,
            now=100.0,
            state=state,
            trio_id="trio",
            deposit_address=address("deposit"),
            deposit_deadline=200.0,
        )
        tx.escrows.saw_in_pool("escrow", in_pool)
        for number, (status, piconero) in enumerate(coins):
            tx.outputs.add(output(f"coin {number}", status=status, amount_piconero=piconero))

    await ctx.store.write(add)
    return await ctx.store.read(lambda tx: tx.escrows.get("escrow"))


async def payouts(ctx: Context) -> list[PayoutRecord]:
    return await ctx.store.read(lambda tx: tx.payouts.of("escrow"))


async def test_a_release_waits_for_what_is_on_its_way_unless_the_amount_is_there(ctx: Context) -> None:
    await an_escrow(ctx, State.FUNDED, (OutputStatus.COUNTED, XMR * 4 // 10), (OutputStatus.PENDING, XMR * 6 // 10))
    with pytest.raises(DepositsPendingError):
        await ctx.store.write(await decide.release(ctx, "escrow", "shop"))
    assert await payouts(ctx) == []


async def test_a_surplus_on_its_way_does_not_hold_a_release_up(ctx: Context) -> None:
    await an_escrow(ctx, State.FUNDED, (OutputStatus.COUNTED, XMR), (OutputStatus.PENDING, XMR))
    await ctx.store.write(await decide.release(ctx, "escrow", "shop"))
    (payout,) = await payouts(ctx)
    assert payout.plan.total_piconero == XMR


async def test_a_short_deposit_is_not_accepted_while_more_is_on_its_way(ctx: Context) -> None:
    await an_escrow(ctx, State.SHORT, (OutputStatus.COUNTED, XMR // 2), in_pool=XMR // 2)
    with pytest.raises(DepositsPendingError):
        await ctx.store.write(decide.accept_short(ctx, "escrow", "shop"))


async def test_coins_in_the_pool_are_on_their_way_and_do_not_count(ctx: Context) -> None:
    record = await an_escrow(ctx, State.AWAITING_DEPOSIT, in_pool=XMR)
    deposits = await ctx.store.read(lambda tx: deposits_of(tx, record))
    assert (deposits.pending_piconero, deposits.coverage) == (XMR, Coverage.NOTHING)


async def test_a_decision_that_the_fee_would_eat_is_not_made(ctx: Context) -> None:
    await an_escrow(ctx, State.EXPIRED, (OutputStatus.COUNTED, WORTHLESS_ALONE))
    with pytest.raises(NothingToPayOutError):
        await ctx.store.write(await decide.refund(ctx, "escrow", "shop"))
    await decide.return_late_coins(ctx, "escrow")
    assert await payouts(ctx) == []


async def test_late_coins_and_those_whose_lock_ran_out_go_back_together(ctx: Context) -> None:
    await an_escrow(ctx, State.SETTLED, (OutputStatus.COUNTED, XMR), (OutputStatus.RETURNABLE, 2 * XMR))
    await decide.return_late_coins(ctx, "escrow")
    (payout,) = await payouts(ctx)
    assert (payout.plan.kind, payout.plan.total_piconero) == (PayoutKind.RETURN, 3 * XMR)
    await decide.return_late_coins(ctx, "escrow")
    assert len(await payouts(ctx)) == 1


async def test_a_daemon_whose_last_block_is_old_is_not_believed(ctx: Context, daemon: ScriptedDaemon) -> None:
    daemon.tip_at = ctx.clock.now() - ctx.settings.tip_age_seconds - 1
    with pytest.raises(DaemonUnavailableError, match="hours old"):
        await ctx.chain()


async def broadcast(ctx: Context, *, raw: bool = True) -> PayoutRecord:
    """A refund whose transaction was signed, and (raw) known to the network."""
    await an_escrow(ctx, State.FUNDED, (OutputStatus.COUNTED, XMR))
    await ctx.store.write(await decide.refund(ctx, "escrow", "shop"))
    (payout,) = await payouts(ctx)

    def sign(tx: Transaction) -> None:
        for name in ("earlier", "txid"):  # the answer to a first submission was lost, and a second one was signed
            number = tx.payouts.add_proposal(payout.id, "txset", 1, 102.0)
            tx.payouts.keep_signed(payout.id, number, "blob", hex64(name), 102.0)
        tx.outputs.change("escrow", payout.plan.anchor.public_key, key_image=hex64("image"))
        tx.payouts.change(payout.id, state=PayoutState.SIGNED, txid=hex64("txid"), fee_piconero=1)
        if raw:
            tx.payouts.keep_raw(payout.id, "raw")
            tx.payouts.change(payout.id, state=PayoutState.BROADCAST)

    await ctx.store.write(sign)
    return (await payouts(ctx))[0]


async def look(ctx: Context) -> PayoutRecord:
    """The first payout after the service looked; there is no wallet here with which to look for more deposits."""
    with suppress(NoSlotFreeError):
        await advance(ctx, await ctx.store.read(lambda tx: tx.escrows.get("escrow")))
    return (await payouts(ctx))[0]


def in_block(height: int | None, txid: str = "txid") -> DaemonTransaction:
    return DaemonTransaction(hex64(txid), height is None, height, 0, "raw", False)


async def test_a_signed_payout_that_the_network_knows_is_broadcast_with_all_that_belongs_to_it(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    await broadcast(ctx, raw=False)
    daemon.known[hex64("txid")] = in_block(None)
    payout = await look(ctx)
    assert payout.state is PayoutState.BROADCAST
    assert payout.broadcast_at is not None
    assert await ctx.store.read(lambda tx: tx.payouts.raw(payout.id)) == "raw"
    history = await ctx.store.read(lambda tx: tx.audit.of("escrow"))
    assert "payout_broadcast" in [row.action for row in history]


async def test_a_payout_that_the_pool_forgot_is_given_to_the_daemon_again(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    payout = await look(ctx)
    assert payout.state is PayoutState.BROADCAST
    assert daemon.relayed == ["raw"]


async def test_a_payout_is_settled_when_it_is_deep_enough_and_not_before(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    daemon.known[hex64("txid")] = in_block(991)
    assert (await look(ctx)).state is PayoutState.BROADCAST
    daemon.known[hex64("txid")] = in_block(990)
    assert (await look(ctx)).state is PayoutState.SETTLED
    assert (await ctx.store.read(lambda tx: tx.escrows.get("escrow"))).state is State.SETTLED


async def test_any_transaction_that_was_signed_for_the_plan_settles_it(ctx: Context, daemon: ScriptedDaemon) -> None:
    await broadcast(ctx)
    daemon.known[hex64("earlier")] = in_block(900, "earlier")
    payout = await look(ctx)
    assert (payout.state, payout.txid) == (PayoutState.SETTLED, hex64("earlier"))
    assert daemon.relayed == []


async def test_an_anchor_that_a_stranger_transaction_spent_stops_for_a_person(
    ctx: Context, daemon: ScriptedDaemon
) -> None:
    await broadcast(ctx)
    daemon.spent[hex64("image")] = KeyImageStatus.IN_CHAIN
    payout = await look(ctx)
    assert payout.state is PayoutState.HELD
    assert "recipient unknown" in (payout.trouble or "")
    assert daemon.relayed == []
    events = await ctx.store.read(lambda tx: tx.outbox.after(None, 0, 100))
    assert events[-1].type == "escrow.payout_held"


def test_pauses_grow_to_a_bound_and_never_overflow() -> None:
    assert [pause_seconds(failures) for failures in (0, 1, 2, 9)] == [1.0, 2.0, 4.0, LONGEST_PAUSE_SECONDS]
    assert pause_seconds(10_000) == LONGEST_PAUSE_SECONDS
