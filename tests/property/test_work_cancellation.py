"""Claimed work that a lapse stops in any turn of the event loop: no claim and no slot is lost, all is taken again.

Set-ups on the fake under a conductor that shares its database, stopped in every turn from their first to their last.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from monero_escrow.config import load_settings
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES, role_of_slot
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.fleet.inspection import inspect_all
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.versions import LEAST_FOR_MAINNET
from monero_escrow.nodes.claims import SharedClaims
from monero_escrow.nodes.node import Node
from monero_escrow.store.opening import open_sqlcipher
from property.test_pool_cancellation import InlineStore, OwnBooks, a_turn_a_call, everything_comes_back
from unit.node_rows import FAR, add_due
from unit.rows import MASTER_KEY, NETWORK
from unit.slots import VirtualClock, make_pool, settle

LONG_SECONDS = 1e9
MOST_TURNS = 2_000
LEAST_TURNS = 60


@pytest.fixture
def clock() -> VirtualClock:
    """It stands still until the test moves it."""
    return VirtualClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[InlineStore]:
    """The real engine without threads: a turn of the event loop is always the same turn."""
    opened = open_sqlcipher(tmp_path / "escrow.db", MASTER_KEY, NETWORK)
    yield InlineStore(opened._engine, opened._sealer, opened._begin, opened._writer)
    opened.close()


@pytest.fixture
def trio(store: InlineStore, clock: VirtualClock, tmp_path: Path) -> Context:
    """Three fake processes, and no daemon."""
    processes = [
        FakeWalletRpc(
            f"http://127.0.0.1:{index}",
            FakeDisk(),
            random.Random(index),
            network=NETWORK,
            version=LEAST_FOR_MAINNET,
            faults=a_turn_a_call,
        )
        for index in range(len(ROLES))
    ]
    slots = [Slot(index, role_of_slot(index), process) for index, process in enumerate(processes)]
    settings = load_settings(monero_network=NETWORK.value, data_dir=tmp_path)
    return Context(settings, store, make_pool(slots, clock), None, clock)


async def test_work_that_is_stopped_in_any_turn_loses_no_claim(
    trio: Context, store: InlineStore, clock: VirtualClock
) -> None:
    node = Node(store, clock, "a", lease_seconds=LONG_SECONDS)
    await node.join()
    claims = SharedClaims(store, node.clock, node)
    conductor = Conductor(replace(trio, clock=claims._clock), claims)
    await inspect_all(trio.pool.slots, trio.pool, NETWORK, OwnBooks())
    for turns in itertools.count():
        name = f"escrow-{turns}"
        add_due(store, name)
        (claim,) = await claims.take(1, FAR)
        work = asyncio.create_task(conductor._work_on(claim))
        conductor._running.add(work)
        work.add_done_callback(partial(conductor._ended, claim))
        for _ in range(turns):
            await asyncio.sleep(0)
        conductor.stop_all()
        await _until_ended(work, clock)
        assert claims.held == [], f"stopped in turn {turns}"
        await everything_comes_back(trio, turns)
        state = store.read_now(lambda tx, name=name: tx.escrows.get(name).state)  # type: ignore[misc]
        if state is State.SETTING_UP:
            (again,) = await claims.take(1, FAR)
            assert (again.subject, again.fence) == (name, claim.fence + 1), f"stopped in turn {turns}"
            _put_off(store, name)
            await claims.give_back(again)
        elif not work.cancelled():
            break
    assert LEAST_TURNS < turns < MOST_TURNS
    await trio.pool.aclose()


async def _until_ended(work: asyncio.Task[None], clock: VirtualClock) -> None:
    while not work.done():
        await settle()
        await clock.advance(1)
    assert work.cancelled() or work.exception() is None


def _put_off(store: InlineStore, name: str) -> None:
    """Only the next one is due."""
    escrow = store.read_now(lambda tx: tx.escrows.get(name))
    store.write_now(lambda tx: tx.escrows.looked_at(escrow, None))
