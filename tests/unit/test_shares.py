"""Limits of several nodes together: what one lets through counts for the others, and once."""

from __future__ import annotations

import asyncio

import pytest

from monero_escrow.config import Settings
from monero_escrow.core.errors import EscrowError
from monero_escrow.nodes.shares import Shares
from monero_escrow.store.store import DatabaseBusyError, SqlStore
from monero_escrow.telemetry.metrics import Metrics
from monero_escrow.web.problems import TooManyRequestsError
from monero_escrow.web.rates import Limit, RateLimits
from unit.engines import on_both_engines
from unit.slots import VirtualClock

PER_SECOND = 10
CAPACITY = 100
"""Ten seconds' worth."""


class Node:
    """One of the nodes: its limits, and its share in them."""

    def __init__(self, name: str, store: SqlStore, clock: VirtualClock) -> None:
        settings = Settings(_env_file=None, rate_limit_requests=PER_SECOND)
        self.limits = RateLimits(settings, clock, Metrics())
        self.shares = Shares(store, clock, name, self.limits)

    def ask(self, times: int, who: str = "key") -> int:
        """How many of so many requests come through."""
        through = 0
        for _ in range(times):
            try:
                self.limits.charge([(Limit.KEY, who)])
            except TooManyRequestsError:
                continue
            through += 1
        return through


@pytest.fixture
def nodes(store: SqlStore, clock: VirtualClock) -> list[Node]:
    return [Node(name, store, clock) for name in ("a", "b", "c")]


async def rounds(nodes: list[Node], times: int = 1) -> None:
    for _ in range(times):
        for node in nodes:
            await node.shares.round()


@on_both_engines
async def test_what_one_node_lets_through_is_gone_at_the_others_and_counts_once(
    nodes: list[Node], clock: VirtualClock
) -> None:
    await rounds(nodes)
    assert nodes[0].ask(60) == 60
    await rounds(nodes, 5)
    assert nodes[1].ask(100) == 40
    await rounds(nodes, 5)
    assert [node.ask(100) for node in nodes] == [0, 0, 0]
    assert [node.ask(1, "another key") for node in nodes] == [1, 1, 1]


@on_both_engines
async def test_under_a_flood_of_all_nodes_the_limit_holds_in_the_long_run(
    nodes: list[Node], clock: VirtualClock
) -> None:
    await rounds(nodes)
    through = 0
    for _ in range(60):
        await clock.advance(1)
        through += sum(node.ask(50) for node in nodes)
        await rounds(nodes)
    alone = CAPACITY + 60 * PER_SECOND
    assert through <= alone + 3 * CAPACITY  # what came through before they heard of one another
    assert through >= alone * 0.5
    second_minute = 0
    for _ in range(60):
        await clock.advance(1)
        second_minute += sum(node.ask(50) for node in nodes)
        await rounds(nodes)
    assert second_minute <= 60 * PER_SECOND * 1.25


@on_both_engines
async def test_a_round_that_was_missed_is_made_up_for(nodes: list[Node]) -> None:
    first, second, _ = nodes
    await rounds(nodes)
    for _ in range(4):
        assert first.ask(10) == 10
        await first.shares.round()
    await second.shares.round()
    assert second.ask(100) == 60


@on_both_engines
async def test_what_was_given_back_here_is_given_back_there(nodes: list[Node]) -> None:
    first, second, _ = nodes
    await rounds(nodes)
    first.ask(50)
    await rounds(nodes)
    first.limits.give_back([(Limit.KEY, "key")], 20)
    await rounds(nodes)
    assert second.ask(100) == 70


@on_both_engines
async def test_a_node_that_comes_later_does_not_pay_for_what_was_before_it(
    nodes: list[Node], store: SqlStore, clock: VirtualClock
) -> None:
    first = nodes[0]
    await first.shares.round()
    first.ask(100)
    await first.shares.round()
    late = Node("late", store, clock)
    await late.shares.round()
    assert late.ask(1) == 1
    first.limits.taken_elsewhere("key:key", -50)
    assert first.ask(50) == 50
    await rounds([first, late])
    assert late.ask(100) == 49


@on_both_engines
async def test_a_node_that_starts_again_under_its_name_counts_from_nothing(
    nodes: list[Node], store: SqlStore, clock: VirtualClock
) -> None:
    first, second, _ = nodes
    await rounds([first, second])
    first.ask(50)
    await rounds([first, second])
    again = Node("a", store, clock)
    assert again.ask(20) == 20
    await again.shares.round()
    await second.shares.round()
    assert second.ask(100) == 30


async def test_while_the_database_is_away_each_keeps_the_limit_alone_and_nobody_is_barred_afterwards(
    nodes: list[Node], store: SqlStore, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: object) -> None:
        raise DatabaseBusyError("The database is away.")

    running = [asyncio.create_task(node.shares.run()) for node in nodes]
    try:
        for _ in range(5):
            await clock.advance(1)
            await _settled(store)
        with monkeypatch.context() as gone:
            gone.setattr(store, "read", away)
            gone.setattr(store, "write", away)
            for _ in range(30):
                await clock.advance(1)
                assert all(node.ask(5) == 5 for node in nodes)
        for _ in range(5):
            await clock.advance(1)
            await _settled(store)
        assert all(node.ask(5) == 5 for node in nodes)
        assert not any(task.done() for task in running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)


async def _settled(store: SqlStore) -> None:
    """What was handed to the database is done, and its answer taken."""
    for _ in range(3):
        await store.write(lambda tx: None)
        await store.read(lambda tx: None)
        await asyncio.sleep(0)


@on_both_engines
async def test_only_what_is_not_full_is_told_and_the_neediest_first(nodes: list[Node], clock: VirtualClock) -> None:
    limits = nodes[0].limits
    for number in range(50):
        nodes[0].ask(number + 1, f"key-{number}")
    told = limits.admitted(10)
    assert list(told) == [f"key:key-{number}" for number in range(49, 39, -1)]
    await clock.advance(CAPACITY / PER_SECOND)
    assert limits.admitted(10) == {}
    assert limits._buckets == {}


def test_a_limit_that_is_off_here_is_no_trouble_for_what_others_tell() -> None:
    limits = RateLimits(Settings(_env_file=None, rate_limit_requests=0), VirtualClock(), Metrics())
    for name in ("key:somebody", "no such limit:x", "nothing", ""):
        limits.taken_elsewhere(name, 5)
    assert limits.admitted(10) == {}


def test_very_many_addresses_are_kept_in_little_memory() -> None:
    limits = RateLimits(Settings(_env_file=None), VirtualClock(), Metrics())
    for number in range(60_000):
        limits.charge([(Limit.ADDRESS, str(number))])
    assert len(limits._buckets) == 50_000


def test_a_refusal_takes_nothing_from_the_other_buckets() -> None:
    limits = RateLimits(
        Settings(_env_file=None, rate_limit_orders=60, rate_limit_address_orders=5), VirtualClock(), Metrics()
    )
    claims = [(Limit.KEY_ORDERS, "key"), (Limit.ADDRESS_ORDERS, "192.0.2.1")]
    limits.charge(claims, 5)
    with pytest.raises(EscrowError):
        limits.charge(claims, 1)
    limits.charge(claims[:1], 55)
