"""A restored database asks the chain before it acts: what was paid after the copy was made is not paid again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import update

from monero_escrow.config import Settings
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout_states import PayoutState
from monero_escrow.escrows import ask_chain, decide
from monero_escrow.escrows.ask_chain import ask_chain_if_restored
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.restore import restore
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.waiting import until
from monero_escrow.service import only_one
from monero_escrow.store import facts, schema
from monero_escrow.store.backup import make_backup
from monero_escrow.store.known_spends import KnownOutput
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.sealing import derive_key
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.fake_service import CONFIRMATIONS, Town, payout_is, reached, settings_of, view
from unit.rows import add_funded, hex64, output, plan
from unit.rows import decide as add_decision
from unit.slots import VirtualClock

PAID_ELSEWHERE = "paid, recipient unknown"


@pytest.fixture
def town() -> Town:
    return Town()


def back_up(settings: Settings, tmp_path: Path) -> Path:
    """A copy of a database in use."""
    file = tmp_path / "copy"
    make_backup(settings.database_path, file, derive_key(settings.master_key(), "database"), 1.0)
    return file


async def restored(file: Path, folder: Path, processes: Sequence[FakeWalletRpc]) -> Settings:
    """Settings of a service on another machine, whose database was restored from the copy."""
    settings = settings_of(folder, processes)
    with only_one(folder):
        pass  # whoever holds the folder's lock has made it
    await restore(settings, file, 2.0)
    return settings


async def release(conductor: Conductor, escrow_id: str) -> None:
    await conductor.ctx.store.write(await decide.release(conductor.ctx, escrow_id, "shop:test"))
    conductor.nudge(escrow_id)


async def checked(conductor: Conductor) -> None:
    """Until the chain was asked."""

    async def done() -> bool:
        return not await conductor.ctx.store.read(lambda tx: facts.waits_for_check(tx.connection))

    await until(done, limit_seconds=10)


async def audited(store: SqlStore, action: str) -> list[dict[str, str]]:
    query = schema.audit.select().where(schema.audit.c.action == action)
    return await store.read(lambda tx: [row.detail for row in tx.connection.execute(query)])


# The whole story, on the fake


@pytest.mark.parametrize("same_disks", [True, False], ids=["wallet files still there", "wallet files gone"])
async def test_a_release_asked_for_again_after_a_restore_pays_nobody_twice(
    town: Town, tmp_path: Path, same_disks: bool
) -> None:
    processes = town.processes()
    first = settings_of(tmp_path / "first", processes)
    async with town.service(first, processes) as conductor:
        escrow_id = await town.funded(conductor)
        file = back_up(first, tmp_path)
        await release(conductor, escrow_id)
        await payout_is(conductor, escrow_id, PayoutState.BROADCAST)
        await town.chain.mine(CONFIRMATIONS)
        paid = await reached(conductor, escrow_id, State.SETTLED)

    processes = processes if same_disks else town.processes()
    async with town.service(await restored(file, tmp_path / "second", processes), processes) as conductor:
        await reached(conductor, escrow_id, State.FUNDED)
        await release(conductor, escrow_id)
        again = await payout_is(conductor, escrow_id, PayoutState.HELD, PayoutState.BROADCAST)
        await town.chain.mine(CONFIRMATIONS)

    assert again.payouts[0].state is PayoutState.HELD
    assert "spen" in (again.payouts[0].trouble or "")
    anchor = paid.payouts[0].plan.anchor.public_key
    assert [tx.txid for tx in town.spenders(anchor)] == [paid.payouts[0].txid]


async def test_a_payout_that_was_broadcast_before_the_copy_is_followed_to_its_end(town: Town, tmp_path: Path) -> None:
    processes = town.processes()
    first = settings_of(tmp_path / "first", processes)
    async with town.service(first, processes) as conductor:
        escrow_id = await town.funded(conductor)
        await release(conductor, escrow_id)
        await payout_is(conductor, escrow_id, PayoutState.BROADCAST)
        file = back_up(first, tmp_path)
        await town.chain.mine(CONFIRMATIONS)
        await reached(conductor, escrow_id, State.SETTLED)

    async with town.service(await restored(file, tmp_path / "second", processes), processes) as conductor:
        settled = await reached(conductor, escrow_id, State.SETTLED)

    assert settled.payouts[0].state is PayoutState.SETTLED


async def test_a_payout_whose_coins_left_by_a_transaction_the_copy_lacks_stops_before_any_wallet_is_opened(
    town: Town, tmp_path: Path
) -> None:
    processes = town.processes()
    first = settings_of(tmp_path / "first", processes)
    async with town.service(first, processes) as conductor:
        escrow_id = await town.funded(conductor)
        await release(conductor, escrow_id)
        await payout_is(conductor, escrow_id, PayoutState.BROADCAST)
        # What the copy would hold, had the transaction on the network been a replacement made after it.
        other_txid = update(schema.proposals).values(txid=hex64("an earlier transaction"))
        await conductor.ctx.store.write(lambda tx: tx.connection.execute(other_txid))
        file = back_up(first, tmp_path)
        await town.chain.mine(1)

    nobody: list[FakeWalletRpc] = []
    async with town.service(await restored(file, tmp_path / "second", processes), nobody) as conductor:
        stopped = await payout_is(conductor, escrow_id, PayoutState.HELD)

    assert PAID_ELSEWHERE in (stopped.payouts[0].trouble or "")
    assert stopped.history[-1].action == "payout_held"
    assert PAID_ELSEWHERE in stopped.waits_for


async def test_without_a_daemon_a_restored_database_waits_and_nothing_is_signed(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    processes = town.processes()
    first = settings_of(tmp_path / "first", processes)
    async with town.service(first, processes) as conductor:
        escrow_id = await town.funded(conductor)
        await release(conductor, escrow_id)
        await payout_is(conductor, escrow_id, PayoutState.BROADCAST)
        back_to_decided = update(schema.payouts).values(state=PayoutState.DECIDED)
        await conductor.ctx.store.write(lambda tx: tx.connection.execute(back_to_decided))
        file = back_up(first, tmp_path)

    town.chain.daemon.synchronized = False
    async with town.service(await restored(file, tmp_path / "second", processes), processes) as conductor:
        begun = (await view(conductor, escrow_id)).steps
        other = await town.order(conductor)
        await said(capsys, "restored_copy_waits", times=2)
        assert (await view(conductor, escrow_id)).steps == begun
        assert (await view(conductor, other)).steps == ()

        town.chain.daemon.synchronized = True
        await checked(conductor)
        await reached(conductor, other, State.AWAITING_DEPOSIT)


# What is asked, and what comes of each answer


class CountingDaemon:
    """The town's daemon, counting how often it is asked about key images."""

    def __init__(self, town: Town) -> None:
        self._daemon = town.chain.daemon
        self.asked = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._daemon, name)

    async def is_key_image_spent(self, key_images: Sequence[str]) -> object:
        self.asked += 1
        return await self._daemon.is_key_image_spent(key_images)


async def context_of(settings: Settings, store: SqlStore, daemon: object, clock: VirtualClock) -> Context:
    return Context(settings, store, SlotPool([], clock, quarantine_seconds=1), daemon, clock)  # type: ignore[arg-type]


async def test_the_chain_is_asked_once_and_never_when_nothing_was_restored(
    town: Town, tmp_path: Path, clock: VirtualClock
) -> None:
    settings = settings_of(tmp_path, town.processes())
    daemon = CountingDaemon(town)
    store = open_sqlcipher(settings.database_path, settings.master_key(), settings.monero_network)
    ctx = await context_of(settings, store, daemon, clock)
    await store.write(add_funded)
    await store.write(lambda tx: tx.outputs.change("escrow", hex64("coin of escrow"), key_image=hex64("an image")))

    await ask_chain_if_restored(ctx)
    assert daemon.asked == 0

    await store.write(lambda tx: facts.put_fact(tx.connection, facts.RESTORED_AT, 1.0))
    await ask_chain_if_restored(ctx)
    await ask_chain_if_restored(ctx)
    assert daemon.asked == 1
    assert await audited(store, "restored_copy_checked") == [
        {"key_images": "1", "held": "0", "spent_without_payout": "0"}
    ]
    store.close()


async def test_it_says_what_it_waits_for_and_asks_again(
    town: Town, tmp_path: Path, clock: VirtualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(tmp_path, town.processes())
    store = open_sqlcipher(settings.database_path, settings.master_key(), settings.monero_network)
    ctx = await context_of(settings, store, town.chain.daemon, clock)
    await store.write(lambda tx: facts.put_fact(tx.connection, facts.RESTORED_AT, 1.0))
    town.chain.daemon.reachable = False

    asking = asyncio.create_task(ask_chain_if_restored(ctx))
    told = await said(capsys, "restored_copy_waits", times=3, clock=clock)
    assert not asking.done()
    assert "nobody listens" in told

    town.chain.daemon.reachable = True
    await said(capsys, "restored_copy_checked", times=1, clock=clock)
    await asyncio.wait_for(asking, 5)
    store.close()


async def said(capsys: pytest.CaptureFixture[str], what: str, *, times: int, clock: VirtualClock | None = None) -> str:
    """The log, once it has said this so often; the clock is moved on meanwhile."""
    log = ""

    async def often_enough() -> bool:
        nonlocal log
        if clock is not None:
            await clock.advance(60)
        log += capsys.readouterr().out
        return log.count(what) >= times

    await until(often_enough, limit_seconds=20)
    return log


async def test_what_another_node_has_asked_about_meanwhile_is_not_judged_by_what_was_known_before(
    ctx: Context, store: SqlStore
) -> None:
    coin = output("coin")

    def decided_and_asked(tx: Transaction) -> None:
        add_funded(tx)
        add_decision(tx, "payout", "escrow", plan("coin"))
        facts.put_fact(tx.connection, facts.RESTORED_AT, 1.0)
        facts.put_fact(tx.connection, facts.RESTORED_CHECKED_AT, 2.0)

    await store.write(decided_and_asked)
    spent = KnownOutput("escrow", coin.public_key, coin.txid, hex64("image"), "payout", PayoutState.DECIDED)
    before, answer = ask_chain._Known([spent], {}), ask_chain._Answer([spent], frozenset())

    assert await store.write(lambda tx: ask_chain._record(ctx, tx, before, answer)) == (0, 0)
    assert (await store.read(lambda tx: tx.payouts.get("payout"))).state is PayoutState.DECIDED
