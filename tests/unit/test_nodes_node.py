"""A node joins, renews its lease, stops trusting it in time, and comes back with nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from monero_escrow.clock import SystemClock
from monero_escrow.nodes.node import Node
from monero_escrow.store.node_table import NodeNameTakenError, NodeRecord, SlotTakenError
from monero_escrow.store.store import CommitUnknownError, SqlStore
from monero_escrow.store.work_table import ClaimLostError
from unit.node_rows import FAR, LEASE_SECONDS, Line, add_due, claims_of, end_lease, holder, joined
from unit.slots import VirtualClock, settle

TRUSTED_SECONDS = 0.8 * LEASE_SECONDS
MOST_TURNS = 2_000


@asynccontextmanager
async def at_work(node: Node) -> AsyncIterator[list[str]]:
    """Its heartbeat beats; the list tells of each lapse."""
    lapses: list[str] = []
    node.on_lapse = lambda: lapses.append(node.id)
    running = asyncio.create_task(node.run())
    try:
        yield lapses
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def until(said: Callable[[], bool], clock: VirtualClock, step_seconds: float = 0.5) -> None:
    """Let time pass until it is so."""
    for _ in range(MOST_TURNS):
        if said():
            return
        await clock.advance(step_seconds)
    raise AssertionError("it never came to be")


@pytest.fixture
def line(store: SqlStore) -> Line:
    """The node's line to the store."""
    return Line(store)


def listed(store: SqlStore) -> dict[str, NodeRecord]:
    return {node.name: node for node in store.read_now(lambda tx: tx.nodes.all())}


async def test_a_node_that_joins_is_listed_and_trusts_its_lease(
    store: SqlStore, line: Line, clock: VirtualClock
) -> None:
    node = await joined(line, clock, "a")
    assert listed(store)["a"].id == node.id
    assert node.trusted
    node.require()


async def test_a_node_goes_by_the_databases_time_whatever_its_own_clock_says(
    store: SqlStore, line: Line, clock: VirtualClock
) -> None:
    """Its own says 1970, which is a good deal more than an hour wrong."""
    node = await joined(line, clock, "a")
    told = store.read_now(lambda tx: tx.nodes.now())
    assert abs(node.clock.now() - told) < 60
    before = node.clock.now()
    await clock.advance(5)
    assert node.clock.now() == before + 5


async def test_trust_ends_before_the_lease_does(store: SqlStore, line: Line, clock: VirtualClock) -> None:
    node = await joined(line, clock, "a")
    await clock.advance(TRUSTED_SECONDS - 0.1)
    assert node.trusted
    await clock.advance(0.2)
    assert not node.trusted
    with pytest.raises(ClaimLostError):
        node.require()
    assert listed(store)["a"].alive, "a fifth of the lease is left to those whose clock runs slowly"


async def test_trust_counts_from_before_the_question(store: SqlStore, line: Line, clock: VirtualClock) -> None:
    """An answer that took long says nothing of when the lease began."""
    line.on_write = lambda: setattr(clock, "_now", clock._now + 6)
    node = await joined(line, clock, "a")
    await clock.advance(TRUSTED_SECONDS - 6 + 0.1)
    assert not node.trusted


def test_the_machines_sleep_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease goes on while a machine is suspended; the clock that stops meanwhile would not tell."""
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: 7.0}.__getitem__)
    assert SystemClock().monotonic() == 7.0


async def test_a_heart_that_beats_keeps_the_trust(store: SqlStore, line: Line, clock: VirtualClock) -> None:
    node = await joined(line, clock, "a")
    first = node.id
    async with at_work(node) as lapses:
        for _ in range(60):
            await clock.advance(1)
            assert node.trusted
        assert node.id == first
        assert lapses == []


async def test_a_node_that_starts_anew_waits_until_its_own_last_lease_is_over(
    store: SqlStore, line: Line, clock: VirtualClock
) -> None:
    killed = await joined(line, clock, "a")
    again = Node(line, clock, "a", LEASE_SECONDS)
    joining = asyncio.create_task(again.join())
    await until(lambda: clock.now() > 1_003, clock)
    assert not joining.done()
    end_lease(store, "a")
    await until(joining.done, clock)
    assert again.trusted
    assert again.id != killed.id


async def test_a_name_that_another_node_renews_is_refused(store: SqlStore, line: Line, clock: VirtualClock) -> None:
    await joined(line, clock, "a")
    second = Node(line, clock, "a", LEASE_SECONDS)
    joining = asyncio.create_task(second.join())
    await until(joining.done, clock)
    with pytest.raises(NodeNameTakenError):
        await joining
    assert clock.now() >= 1_000 + 1.5 * LEASE_SECONDS


async def test_a_process_of_another_node_is_refused_at_the_start(
    store: SqlStore, line: Line, clock: VirtualClock
) -> None:
    await joined(line, clock, "a", {"place:1": "http://example.com:1"})
    with pytest.raises(SlotTakenError):
        await joined(line, clock, "b", {"place:1": "http://example.com:1"})
    assert list(listed(store)) == ["a"]


async def test_a_reload_that_names_anothers_process_changes_nothing(
    store: SqlStore, line: Line, clock: VirtualClock
) -> None:
    first = await joined(line, clock, "a", {"place:1": "http://example.com:1"})
    second = await joined(line, clock, "b")
    with pytest.raises(SlotTakenError):
        await second.use({"place:1": "http://example.com:1", "place:2": "http://example.com:2"})
    await first.use({"place:2": "http://example.com:2"})
    await second.use({"place:1": "http://example.com:1"})


async def test_a_node_that_lost_its_lease_cannot_list_processes(
    store: SqlStore, line: Line, clock: VirtualClock
) -> None:
    node = await joined(line, clock, "a")
    end_lease(store, "a")
    with pytest.raises(ClaimLostError):
        await node.use({"place:1": "http://example.com:1"})


async def test_a_paused_node_comes_back_as_a_new_one_with_nothing(
    store: SqlStore, line: Line, clock: VirtualClock
) -> None:
    claims = await claims_of(line, clock, "a")
    node, first = claims._node, claims._node.id
    add_due(store, "one")
    (held,) = await claims.take(5, FAR)
    end_lease(store, "a")
    async with at_work(node) as lapses:
        await until(lambda: node.id != first and node.trusted, clock)
        assert lapses == [first]
    assert holder(store, "one") == (None, 1)
    assert claims.held == []
    with pytest.raises(ClaimLostError):
        claims.require(held)
    claims.require()


async def test_a_node_that_is_cut_off_lets_go_before_its_lease_is_over(
    store: SqlStore, line: Line, clock: VirtualClock
) -> None:
    node = await joined(line, clock, "a")
    first = node.id
    async with at_work(node) as lapses:
        line.is_cut = True
        await until(lambda: bool(lapses), clock)
        assert clock.now() < 1_000 + LEASE_SECONDS
        assert not node.trusted
        line.is_cut = False
        await until(lambda: node.trusted, clock)
    assert node.id != first
    assert listed(store)["a"].id == node.id, "its old lease was not over, and yet it need not wait for it"


async def test_a_renewal_that_was_answered_too_late_is_not_believed(
    store: SqlStore, line: Line, clock: VirtualClock
) -> None:
    """Others see it only when it is committed: they may have found the lease to be over meanwhile."""
    node = await joined(line, clock, "a")
    first = node.id
    slow = iter([TRUSTED_SECONDS])
    line.on_write = lambda: setattr(clock, "_now", clock._now + next(slow, 0.0))
    async with at_work(node) as lapses:
        await until(lambda: node.id != first and node.trusted, clock)
        assert lapses == [first]


async def test_an_answer_that_was_lost_leaves_no_second_self(store: SqlStore, line: Line, clock: VirtualClock) -> None:
    node = Node(line, clock, "a", LEASE_SECONDS)
    line.loses_answers = True
    joining = asyncio.create_task(node.join())
    await until(lambda: "a" in listed(store), clock)
    line.loses_answers = False
    await until(joining.done, clock)
    await joining
    assert clock.now() < 1_000 + LEASE_SECONDS / 2, "it knows the name to be its own"
    assert listed(store)["a"].id == node.id


async def test_who_gets_no_answer_at_all_is_told_so(store: SqlStore, line: Line, clock: VirtualClock) -> None:
    line.loses_answers = True
    joining = asyncio.create_task(Node(line, clock, "a", LEASE_SECONDS).join())
    await until(joining.done, clock)
    with pytest.raises(CommitUnknownError):
        await joining


async def test_a_node_hears_that_it_is_to_drain_and_that_it_is_not(
    store: SqlStore, line: Line, clock: VirtualClock
) -> None:
    node = await joined(line, clock, "a")
    async with at_work(node):
        store.write_now(lambda tx: tx.nodes.drain("a"))
        await until(lambda: node.draining, clock)
        store.write_now(lambda tx: tx.nodes.drain("a", drains=False))
        await until(lambda: not node.draining, clock)


async def test_a_node_that_drains_still_does_when_it_comes_back_after_a_lapse(
    store: SqlStore, line: Line, clock: VirtualClock
) -> None:
    node = await joined(line, clock, "a")
    first = node.id
    async with at_work(node):
        store.write_now(lambda tx: tx.nodes.drain("a"))
        await until(lambda: node.draining, clock)
        end_lease(store, "a")
        await until(lambda: node.id != first and node.trusted, clock)
        assert node.draining
    assert listed(store)["a"].draining_at is not None


@pytest.mark.parametrize("drains", [True, False])
async def test_what_a_node_is_told_about_draining_while_its_lease_is_over_holds_when_it_comes_back(
    store: SqlStore, line: Line, clock: VirtualClock, *, drains: bool
) -> None:
    node = await joined(line, clock, "a")
    first = node.id
    async with at_work(node):
        store.write_now(lambda tx: tx.nodes.drain("a", drains=not drains))
        await until(lambda: node.draining is not drains, clock)
        end_lease(store, "a")
        store.write_now(lambda tx: tx.nodes.drain("a", drains=drains))
        await until(lambda: node.id != first and node.trusted, clock)
        assert node.draining is drains
    assert (listed(store)["a"].draining_at is not None) is drains


async def test_a_node_that_leaves_is_not_waited_for(store: SqlStore, line: Line, clock: VirtualClock) -> None:
    claims = await claims_of(line, clock, "a")
    add_due(store, "one")
    await claims.take(5, FAR)
    await claims._node.leave()
    assert not claims._node.trusted
    assert listed(store) == {}
    assert holder(store, "one") == (None, 1)
    await joined(line, clock, "a")


async def test_a_node_that_cannot_say_goodbye_leaves_all_the_same(
    store: SqlStore, line: Line, clock: VirtualClock
) -> None:
    node = await joined(line, clock, "a")
    line.is_cut = True
    await node.leave()
    await settle()
    assert listed(store)["a"].alive, "the others wait for its lease"
