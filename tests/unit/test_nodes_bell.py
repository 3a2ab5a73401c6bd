"""How nodes wake one another: what is rung, heard, lost, and listened to again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg
import pytest

from monero_escrow.clock import SystemClock
from monero_escrow.monero.waiting import until
from monero_escrow.nodes import bell as bell_module
from monero_escrow.nodes.bell import PostgresqlBell
from monero_escrow.store.opening import open_postgresql
from monero_escrow.store.store import DatabaseBusyError, Store
from unit.rows import MASTER_KEY, NETWORK
from unit.slots import VirtualClock, settle

DEADLINE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Notice:
    payload: str


@dataclass(slots=True)
class FakeConnection:
    """Hears what the test says; then it breaks."""

    says: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)

    async def __aenter__(self) -> FakeConnection:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def notifies(self) -> AsyncIterator[Notice]:
        while (payload := await self.says.get()) is not None:
            yield Notice(payload)
        raise psycopg.OperationalError("server closed the connection")


@dataclass(slots=True)
class FakeStore:
    """Keeps what is rung; or takes nothing."""

    rung: list[list[str]] = field(default_factory=list)
    silent: bool = False

    async def write(self, work: Callable[[Any], object]) -> None:
        if self.silent:
            raise DatabaseBusyError("Not now.")
        work(self)

    @property
    def nodes(self) -> FakeStore:
        return self

    def ring(self, name: str, escrow_ids: list[str]) -> None:
        assert name == "a"
        self.rung.append(escrow_ids)


class Belfry:
    """A bell between a fake store and fake connections."""

    def __init__(self, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = FakeStore()
        self.connections: list[FakeConnection] = []
        self.refuses = False
        self.heard: list[str] = []
        self.clock = clock
        monkeypatch.setattr(bell_module, "listening_to", self._listening_to)
        self.bell = PostgresqlBell(cast("Store", self.store), "postgresql://host/escrow", clock, "a")

    async def _listening_to(self, _url: str, _channel: str) -> FakeConnection:
        if self.refuses:
            raise psycopg.OperationalError("connection refused")
        self.connections.append(FakeConnection())
        return self.connections[-1]

    async def say(self, payload: str | None) -> None:
        self.connections[-1].says.put_nowait(payload)
        await settle()


@asynccontextmanager
async def ringing(bell: PostgresqlBell, heard: Callable[[str], None]) -> AsyncIterator[None]:
    """The bell at work beside the block."""
    running = asyncio.create_task(bell.run(heard))
    await settle()
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.fixture
def belfry(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Belfry:
    return Belfry(clock, monkeypatch)


async def test_what_is_rung_together_is_told_together_and_once(belfry: Belfry) -> None:
    belfry.bell.ring("early")
    async with ringing(belfry.bell, belfry.heard.append):
        for name in ("one", "two", "one"):
            belfry.bell.ring(name)
        await settle()
    assert belfry.store.rung == [["early"], ["one", "two"]]


async def test_a_crowd_is_told_in_parts(belfry: Belfry) -> None:
    for number in range(250):
        belfry.bell.ring(str(number))
    async with ringing(belfry.bell, belfry.heard.append):
        await settle()
    assert [len(some) for some in belfry.store.rung] == [100, 100, 50]


async def test_a_ring_that_the_server_does_not_take_is_lost_and_the_next_is_not(belfry: Belfry) -> None:
    belfry.store.silent = True
    async with ringing(belfry.bell, belfry.heard.append):
        belfry.bell.ring("lost")
        await settle()
        belfry.store.silent = False
        belfry.bell.ring("told")
        await settle()
    assert belfry.store.rung == [["told"]]


async def test_others_are_heard_and_the_nodes_own_ring_is_not(belfry: Belfry) -> None:
    async with ringing(belfry.bell, belfry.heard.append):
        await belfry.say("b one")
        await belfry.say("a two")
        await belfry.say("c *")
    assert belfry.heard == ["one", "*"]


async def test_a_bell_whose_line_broke_listens_again(belfry: Belfry) -> None:
    async with ringing(belfry.bell, belfry.heard.append):
        belfry.refuses = True
        await belfry.say(None)
        await belfry.clock.advance(10)
        belfry.refuses = False
        await belfry.clock.advance(10)
        await belfry.say("b again")
    assert belfry.heard == ["again"]
    assert len(belfry.connections) == 2


async def test_one_node_hears_what_another_rings_on_postgresql(database_url: str) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    stores = [open_postgresql(database_url, MASTER_KEY, NETWORK) for _ in range(2)]
    try:
        listener, ringer = (
            PostgresqlBell(store, database_url, SystemClock(), name)
            for store, name in zip(stores, ("a", "b"), strict=True)
        )
        async with ringing(listener, heard.put_nowait), ringing(ringer, lambda _escrow_id: None):

            async def is_heard() -> bool:
                """It may take the listener a moment to be there, and who is not there hears nothing."""
                ringer.ring("one")
                listener.ring("of its own")
                return not heard.empty()

            await until(is_heard, limit_seconds=DEADLINE_SECONDS)
            assert heard.get_nowait() == "one"
        while not heard.empty():
            assert heard.get_nowait() == "one"
    finally:
        for store in stores:
            store.close()
