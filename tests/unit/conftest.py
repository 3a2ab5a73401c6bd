"""Fixtures of the unit tests: pools on a clock that the test moves, and a store on a real encrypted file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio

from monero_escrow.config import load_settings
from monero_escrow.escrows.context import Context
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.monero.ports import Daemon
from monero_escrow.store.opening import open_postgresql, open_sqlcipher
from monero_escrow.store.store import SqlStore
from run_twice import TwiceStore
from unit.engines import POSTGRESQL, SQLCIPHER, TWICE, OpenStore
from unit.rows import MASTER_KEY, NETWORK
from unit.scan_village import Village, a_village, grown
from unit.scripted import ScriptedDaemon
from unit.slots import PoolOf, VirtualClock, assert_books_balance, make_pool, make_slots


@pytest.fixture
def clock() -> VirtualClock:
    """A clock that stands still until the test moves it."""
    return VirtualClock()


@pytest_asyncio.fixture
async def pool_of(clock: VirtualClock) -> AsyncIterator[PoolOf]:
    """Pools whose books are looked at once more when the test is over."""
    made: list[SlotPool] = []

    def make(count: int) -> SlotPool:
        made.append(make_pool(make_slots(count), clock))
        return made[-1]

    yield make
    for pool in made:
        assert_books_balance(pool)
        await pool.aclose()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """What is beneath the store: the file, unless the test runs on both (engines.py)."""
    return str(getattr(request, "param", SQLCIPHER))


@pytest.fixture
def open_store(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> OpenStore:
    """Opens the test's database, a new one of the tests' network, as often as it is asked to."""
    url = request.getfixturevalue("database_url") if engine == POSTGRESQL else None

    def open_it() -> SqlStore:
        if url is not None:
            opened: SqlStore = open_postgresql(url, MASTER_KEY, NETWORK)
        else:
            opened = open_sqlcipher(tmp_path / "escrow.db", MASTER_KEY, NETWORK)
        request.addfinalizer(opened.close)
        return TwiceStore(opened) if engine == TWICE else opened

    return open_it


@pytest.fixture
def store(open_store: OpenStore) -> SqlStore:
    """A new database of the tests' network; as a file, at `tmp_path / "escrow.db"`."""
    return open_store()


@pytest.fixture
def daemon() -> ScriptedDaemon:
    """A daemon that is where the test puts it."""
    return ScriptedDaemon()


@pytest.fixture
def ctx(store: SqlStore, clock: VirtualClock, daemon: ScriptedDaemon, tmp_path: Path) -> Context:
    """What the use cases work with; there is no wallet-rpc process in it."""
    settings = load_settings(monero_network="stagenet", data_dir=tmp_path)
    return Context(settings, store, SlotPool([], clock, quarantine_seconds=1), cast("Daemon", daemon), clock)


@pytest_asyncio.fixture
async def village(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Village]:
    """A chain in memory, and a scan that has not begun."""
    async with a_village(ctx, monkeypatch) as here:
        yield here


@pytest_asyncio.fixture
async def town(village: Village) -> Village:
    """The village with three escrows, and a scan that has begun."""
    return await grown(village)
