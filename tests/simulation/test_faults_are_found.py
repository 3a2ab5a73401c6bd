"""The simulation can fail: each fault put into the product's code here is one that it finds, and how it says so.

And what it does not find, because a further rule makes it harmless, is told as well.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import select, update

from monero_escrow.core.key_exchange import Round
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import Plan
from monero_escrow.core.scan import Hint, scan
from monero_escrow.escrows import pay_out, scan_chain, set_up, settle, signers
from monero_escrow.escrows.broadcast import mined_first
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.hosted import HostedWallet
from monero_escrow.monero.fake.faults import Fault, Moment, Phase
from monero_escrow.monero.ports import Daemon, DaemonTransaction, KeyImageStatus, SignedSet, WalletRpc
from monero_escrow.store import schema
from monero_escrow.store.audit_table import AuditTable
from monero_escrow.store.records import PayoutRecord, TrioState
from monero_escrow.store.trio_table import TrioTable
from simulation.boundaries import Crash, Planned, live
from simulation.payouts import mill
from simulation.run import simulate
from simulation.storage import forget, quick_folder
from simulation.weather import Weather

_SEEDS = range(1, 6)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """No other run's: that one may be going on, or have been killed."""
    own = quick_folder(tmp_path) / f"{tmp_path.name}-{os.getpid()}"
    yield own
    forget(own)


def _found(folder: Path, *crashes: Crash) -> str:
    """What a few lives find, together."""
    lives = [live(seed, Planned(crashes), folder) for seed in _SEEDS]
    return "\n".join(problem for life in lives for problem in life.problems)


def test_without_a_fault_nothing_is_found(folder: Path) -> None:
    assert _found(folder) == ""


def test_two_proposals_on_one_exchange_of_infos(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    exchanged: set[int] = set()
    exchange = signers.exchange_infos

    async def only_once(ctx: Any, payout: Any, opened: signers.Signers) -> None:
        if id(opened) not in exchanged:
            exchanged.add(id(opened))
            await exchange(ctx, payout, opened)

    monkeypatch.setattr(pay_out, "exchange_infos", only_once)
    assert "signed two different transactions" in _found(folder)


class _Hasty:
    """A process that hands to the network what it signs, before anybody has stored it."""

    def __init__(self, rpc: WalletRpc) -> None:
        self._rpc = rpc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rpc, name)

    async def sign_multisig(self, txset: str) -> SignedSet:
        signed = await self._rpc.sign_multisig(txset)
        await self._rpc.submit_multisig(signed.blob)
        return signed


def test_a_submission_before_the_blob_is_stored(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    checked = HostedWallet.checked

    async def hasty(self: HostedWallet) -> Any:
        return _Hasty(await checked(self))

    monkeypatch.setattr(HostedWallet, "checked", hasty)
    assert "reached the network, and is not stored" in _found(folder)


def test_a_signature_without_an_audit_row(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    add = AuditTable.add

    def forgetful(self: AuditTable, actor: str, action: str, now: float, **more: Any) -> None:
        if action != "payout_to_be_signed":
            add(self, actor, action, now, **more)

    monkeypatch.setattr(AuditTable, "add", forgetful)
    assert "signed without an audit row" in _found(folder)


def test_an_address_before_its_messages_are_stored(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    add = TrioTable.add_messages

    def forgetful(self: TrioTable, trio_id: str, made: Round, messages: Any, now: float) -> None:
        if made is not Round.EXCHANGE:
            add(self, trio_id, made, messages, now)

    monkeypatch.setattr(TrioTable, "add_messages", forgetful)
    assert "shows an address with 6 messages" in _found(folder)


def test_an_address_of_a_set_up_that_is_not_finished(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    record = set_up._record_finished

    async def early(ctx: Any, attempt: Any, address: str, view_key: str) -> None:
        await ctx.store.write(
            lambda tx: tx.escrows.change(
                attempt.escrow_id,
                expected=State.SETTING_UP,
                now=0.0,
                state=State.AWAITING_DEPOSIT,
                trio_id=attempt.trio_id,
                deposit_address=address,
                deposit_deadline=ctx.clock.now() + 3_600,
            )
        )
        await record(ctx, attempt, address, view_key)

    monkeypatch.setattr(set_up, "_record_finished", early)
    assert "shows an address whose trio is ('making', None" in _found(folder)


def test_a_secret_in_the_log(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    make = HostedWallet.make

    async def talkative(self: HostedWallet, *arguments: Any) -> None:
        structlog.get_logger().info("made", password=self._participant.password)
        await make(self, *arguments)

    monkeypatch.setattr(HostedWallet, "make", talkative)
    assert "stands in the log" in _found(folder)


def test_another_output_than_the_anchor(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A proposal that leaves the plan: the anchor is kept back instead of the others, and nobody looks at the set."""
    freeze_others = signers._freeze_others

    async def careless(plan: Plan, wallet: HostedWallet) -> dict[str, str]:
        images = await freeze_others(plan, wallet)
        if len(images) > 1:
            await (await wallet.checked()).freeze(images[plan.anchor.public_key])
        return images

    monkeypatch.setattr(signers, "_freeze_others", careless)
    monkeypatch.setattr(pay_out, "objections", lambda *_, **__: [])
    monkeypatch.setattr("simulation.mill._MOST_STEPS", 30)
    assert "nothing spends its anchor" in "\n".join(mill(1, 0, folder).problems)


def test_a_payout_that_fell_out_of_the_chain_and_is_not_given_again(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    async def idle(*_: Any) -> None:
        return

    monkeypatch.setattr(settle, "_give_again", idle)
    monkeypatch.setattr("simulation.mill._MOST_STEPS", 15)
    assert any(mill(seed, 1, folder).problems for seed in (2, 1, 3, 4, 5))


def test_a_payout_taken_for_a_stranger_s_because_the_daemon_missed_it_while_it_was_mined(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    async def ask_once(ctx: Context, daemon: Daemon, payout: PayoutRecord) -> tuple[list[DaemonTransaction], bool]:
        known = await daemon.get_transactions(await ctx.store.read(lambda tx: tx.payouts.signed_txids(payout.id)))
        anchor = payout.plan.anchor.public_key
        image = await ctx.store.read(lambda tx: tx.outputs.key_image(payout.escrow_id, anchor))
        spent = await daemon.is_key_image_spent([image]) == [KeyImageStatus.IN_CHAIN]
        return mined_first(known.values()), spent

    async def slow(self: Weather, moment: Moment) -> Fault:
        if (moment.method, moment.phase) == ("get_transactions", Phase.ANSWERING):
            await asyncio.sleep(self._rng.uniform(0, 8))
        return await of_call(self, moment)

    of_call = Weather.of_call
    monkeypatch.setattr(Weather, "of_call", slow)
    assert mill(5, 1, folder).problems == ()
    monkeypatch.setattr(settle, "_ask", ask_once)
    problems = mill(5, 1, folder).problems
    assert any("paid by a transaction of ours" in problem for problem in problems)


def _careless_claim(self: TrioTable, escrow_id: str, _restore_height: int, now: float) -> bool:
    """Take a finished trio without a look at whose it is."""
    t = schema.trios
    any_one = select(t.c.id).where(t.c.state == TrioState.READY).order_by(t.c.finished_at).limit(1).scalar_subquery()
    taken = update(t).where(t.c.id == any_one).values(escrow_id=escrow_id, claimed_at=now)
    return self._connection.execute(taken).rowcount == 1


def test_a_trio_of_the_stock_that_is_claimed_twice(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(TrioTable, "claim", _careless_claim)
    monkeypatch.setattr("simulation.run._LONGEST_STORM_SECONDS", 7_200)
    monkeypatch.setattr("simulation.run._LONGEST_CALM_SECONDS", 3_600)
    lived = simulate(1, folder, orders=4, backup_url=f"file://{tmp_path}")
    assert "belonged to another escrow before" in "\n".join(lived.problems)


def test_without_quarantine_late_calls_cost_time_and_nothing_else(folder: Path) -> None:
    """A slot is leased again at once, and calls that were given up on run amid the next holder's work.

    What makes them harmless is not the quarantine alone: the open wallet is looked at before each change, a message of
    another wallet does not pass the gate, a set of another wallet is not the plan, every payout exchanges infos anew,
    and only what is stored is submitted. (When the look before each change was taken out as well, three worlds of
    payouts still came out right: a late call made proposals and signatures fail, and none go astray.)
    """
    lived = mill(1, 1, folder, quarantine_seconds=0.0)
    assert lived.struck["call ran after it was given up on"] > 0
    assert lived.problems == ()


@pytest.fixture
def overlooked(monkeypatch: pytest.MonkeyPatch) -> list[Hint]:
    """The scan finds nothing any more. What it should have found comes in here."""
    hints: list[Hint] = []

    def blind(transactions: Any, watchers: Any) -> list[Hint]:
        hints.extend(scan(transactions, watchers))
        return []

    monkeypatch.setattr(scan_chain, "scan", blind)
    return hints


def test_what_a_scan_misses_the_sweep_finds(folder: Path, overlooked: list[Hint]) -> None:
    assert _found(folder) == ""
    assert overlooked


def test_a_scan_that_misses_deposits_without_a_sweep_or_a_deadline(
    monkeypatch: pytest.MonkeyPatch, folder: Path, overlooked: list[Hint]
) -> None:
    monkeypatch.setattr("simulation.world.SWEEP_SECONDS", 30 * 86_400)
    monkeypatch.setattr("simulation.people._WINDOW_SECONDS", 30 * 86_400.0)
    monkeypatch.setattr("simulation.boundaries._LONGEST_SECONDS", 3_600)
    assert "It never came to an end." in live(1, Planned(()), folder).problems
    assert overlooked
