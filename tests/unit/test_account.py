"""What the service gives account of besides its orders: runs, settings, processes, checkpoints."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select, update

from monero_escrow.config import load_settings
from monero_escrow.escrows.account import (
    LOOK_SECONDS,
    FleetAccount,
    keep_account,
    note_start,
    noted_end,
    set_by_people,
)
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.decide import release
from monero_escrow.store import audit_checkpoints, schema
from monero_escrow.store.audit_checkpoints import checkpoints, sign_all
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.origin import origin
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import OpenStore, on_both_engines
from unit.fake_service import Town, payout_is, settings_of
from unit.slots import VirtualClock

SECRET = "do-not-tell"


def actions_of(store: SqlStore, chain: str) -> list[str]:
    a = schema.audit.c
    query = select(a.action).where(a.chain == chain).order_by(a.seq)
    return store.read_now(lambda tx: list(tx.connection.scalars(query)))


async def test_a_run_is_noted_with_its_settings_and_its_end(ctx: Context, store: SqlStore) -> None:
    async with noted_end(ctx):
        await note_start(ctx)
    assert actions_of(store, f"node:{origin().node}") == ["service_started", "service_ended"]


def test_of_settings_that_may_hold_a_secret_an_auditor_sees_only_that_they_were_set(tmp_path: Path) -> None:
    settings = load_settings(
        data_dir=tmp_path,
        monero_network="stagenet",
        db_encryption_key="44" * 32,
        monero_rpc_login=f"user:{SECRET}",
        database_url=f"postgresql://escrow:{SECRET}@db.example.com/escrow",
        deposit_sweep_seconds=3_600,
    )
    shown = set_by_people(settings)

    assert shown["database_url"] == shown["monero_rpc_login"] == shown["db_encryption_key"] == "set"
    assert shown["monero_network"] == "stagenet"
    assert shown["deposit_sweep_seconds"] == "3600.0"
    assert SECRET not in str(shown)
    assert "44" * 32 not in str(shown)


def test_processes_that_come_go_fall_sick_and_recover_are_told_of_once() -> None:
    account = FleetAccount()
    assert account.news({"a": None, "b": None}) == {"joined": ["a", "b"]}
    account.told = {"a": None, "b": None}
    assert account.news({"a": None, "b": None}) == {}
    assert account.news({"a": "silent", "c": None}) == {"joined": ["c"], "left": ["b"], "sick": {"a": "silent"}}
    account.told = {"a": "silent"}
    assert account.news({"a": "silent still"}) == {}
    assert account.news({"a": None}) == {"well": ["a"]}


async def test_checkpoints_are_made_until_every_chain_is_in_one_and_then_no_more(
    store: SqlStore, clock: VirtualClock
) -> None:
    def many(tx: Transaction) -> None:
        for number in range(1_100):
            tx.audit.add("service", "noted", 1.0, escrow_id=f"e{number}")

    await store.write(many)
    assert await sign_all(store, lambda _tx: clock.now()) == 2
    assert await sign_all(store, lambda _tx: clock.now()) == 0
    found = store.read_now(verify)
    assert (found.troubles, found.checkpoints, found.chains) == ([], 2, 1_100)


@on_both_engines
async def test_two_nodes_that_sign_at_once_sign_one_after_another(
    open_store: OpenStore, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes the numbers that the other has not; nobody is undone because of the other."""
    monkeypatch.setattr(audit_checkpoints, "MOST_HEADS", 5)
    one, other = open_store(), open_store()

    def many(tx: Transaction) -> None:
        for number in range(300):
            tx.audit.add("service", "noted", 1.0, escrow_id=f"e{number}")

    def now(_tx: Transaction) -> float:
        return clock.now()

    await one.write(many)
    made = await asyncio.gather(sign_all(one, now), sign_all(other, now))
    found = one.read_now(lambda tx: verify(tx, lambda _what, _done: None))
    assert (found.troubles, found.checkpoints, sum(made)) == ([], 60, 60)


async def test_where_the_nodes_own_chain_is_broken_the_others_are_signed_all_the_same(
    ctx: Context, store: SqlStore, clock: VirtualClock
) -> None:
    await note_start(ctx)
    await store.write(lambda tx: tx.audit.add("service", "noted", 1.0, escrow_id="one"))
    heads = schema.audit_heads
    moved = update(heads).where(heads.c.chain == f"node:{origin().node}").values(seq=7)
    await store.write(lambda tx: tx.connection.execute(moved) and None)

    def signed() -> list[str]:
        return [head[0] for one in store.read_now(lambda tx: list(checkpoints(tx.connection))) for head in one.heads]

    account = asyncio.create_task(keep_account(ctx))
    try:
        async with asyncio.timeout(10):  # what is written, is written by a thread beside the virtual time
            while not signed():
                await clock.advance(LOOK_SECONDS)
                await asyncio.sleep(0)
    finally:
        account.cancel()
    assert signed() == ["one"]


async def test_an_order_from_set_up_to_payout_is_in_the_trail_with_every_step_on_its_wallets(tmp_path: Path) -> None:
    town = Town()
    processes = town.processes()
    async with town.service(settings_of(tmp_path, processes, node_name="main"), processes) as conductor:
        store = conductor.ctx.store
        assert isinstance(store, SqlStore)
        escrow_id = await town.funded(conductor)
        await store.write(await release(conductor.ctx, escrow_id, "shop:test"))
        conductor.nudge(escrow_id)
        await payout_is(conductor, escrow_id, "broadcast", "settled")
        story = await store.read(lambda tx: tx.audit.story(escrow_id, None))
        steps = await store.read(lambda tx: tx.journal.of(escrow_id))

        told = {row.detail["step"] for row in story if row.action == "wallet_operation"}
        assert told == {row["name"] for row in steps if row["result"] == "ok"}
        assert {"make wallet", "gate", "open wallets", "propose", "sign", "submit"} <= told
        assert all(row.result == "ok" for row in story if row.action == "wallet_operation")
        assert set(actions_of(store, "node:main")) >= {"service_started", "fleet_changed"}
        assert (await store.read(verify)).troubles == []
