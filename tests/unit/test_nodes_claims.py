"""The claims of one of several nodes: what it takes, what it keeps, and what it does not know that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.monero.waiting import until
from monero_escrow.nodes.claims import HOME_SECONDS, FencedStore, Horizons, SoleClaims
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.store import CommitUnknownError, DatabaseBusyError, SqlStore
from monero_escrow.store.work_table import Claim, ClaimLostError
from unit.node_rows import FAR, LEASE_SECONDS, Line, add_due, claims_of, end_lease, holder, set_home
from unit.slots import VirtualClock


def subjects(claims: list[Claim]) -> list[str]:
    return [claim.subject for claim in claims]


async def test_what_is_claimed_is_held_until_it_is_given_back(store: SqlStore, clock: VirtualClock) -> None:
    claims = await claims_of(store, clock, "a")
    add_due(store, "one", "two")
    taken = await claims.take(5, FAR)
    assert subjects(taken) == subjects(claims.held) == ["one", "two"]
    assert await claims.take(5, FAR) == []
    await claims.give_back(taken[0])
    assert subjects(claims.held) == ["two"]
    assert subjects(await claims.take(5, FAR)) == ["one"]


async def test_two_nodes_share_the_work(store: SqlStore, clock: VirtualClock) -> None:
    first, second = await claims_of(store, clock, "a"), await claims_of(store, clock, "b")
    add_due(store, "one", "two", "three")
    assert subjects(await first.take(2, FAR)) == ["one", "two"]
    assert subjects(await second.take(2, FAR)) == ["three"]


async def test_what_a_node_left_in_the_middle_of_is_claimed_as_taken_over(store: SqlStore, clock: VirtualClock) -> None:
    first, second = await claims_of(store, clock, "a"), await claims_of(store, clock, "b")
    add_due(store, "left", "given back")
    left, given_back = await first.take(5, FAR)
    await first.give_back(given_back)
    assert not left.taken_over
    end_lease(store, "a")
    set_home(store, "given back", None)
    assert {claim.subject: claim.taken_over for claim in await second.take(5, FAR)} == {
        "left": True,
        "given back": False,
    }


@pytest.mark.parametrize("why", ["draining", "not trusted"])
async def test_a_node_that_may_not_takes_nothing_and_waits(store: SqlStore, clock: VirtualClock, why: str) -> None:
    claims = await claims_of(store, clock, "a")
    add_due(store, "one")
    if why == "draining":
        claims._node.draining = True
    else:
        await clock.advance(LEASE_SECONDS)
    assert await claims.take(5, FAR) == []
    assert await claims.take_scan() is None
    assert await claims.next_due_at() is None, "it would ask again at once, and again"
    assert holder(store, "one") == (None, 0)


async def test_claims_whose_answer_was_lost_are_let_go(store: SqlStore, clock: VirtualClock) -> None:
    line = Line(store)
    claims = await claims_of(line, clock, "a")
    add_due(store, "known")
    await claims.take(5, FAR)
    add_due(store, "unknown", due_at=200.0)
    line.loses_answers = True
    with pytest.raises(CommitUnknownError):
        await claims.take(5, FAR)
    assert holder(store, "unknown")[0] is not None
    line.loses_answers = False
    assert subjects(await claims.take(5, FAR)) == ["unknown"], "let go, and taken anew"
    assert holder(store, "known") == (claims._node.id, 1)
    assert holder(store, "unknown") == (claims._node.id, 2)


async def test_what_could_not_be_given_back_is_given_back_later(store: SqlStore, clock: VirtualClock) -> None:
    line = Line(store)
    claims = await claims_of(line, clock, "a")
    add_due(store, "one")
    (held,) = await claims.take(5, FAR)
    line.is_cut = True
    await claims.give_back(held)
    line.is_cut = False
    assert subjects(await claims.take(5, FAR)) == ["one"]


async def test_what_is_not_given_back_while_more_is_taken_is_not_forgotten(
    store: SqlStore, clock: VirtualClock
) -> None:
    line = Line(store)
    claims = await claims_of(line, clock, "a")
    add_due(store, "one")
    (held,) = await claims.take(5, FAR)
    line.on_write = lambda: claims.ended(held)
    assert await claims.take(5, FAR) == []
    assert subjects(await claims.take(5, FAR)) == ["one"]


async def test_a_draining_node_too_lets_go_of_what_it_could_not_give_back(store: SqlStore, clock: VirtualClock) -> None:
    line = Line(store)
    claims = await claims_of(line, clock, "a")
    add_due(store, "one")
    (held,) = await claims.take(5, FAR)
    line.is_cut = True
    await claims.give_back(held)
    line.is_cut = False
    claims._node.draining = True
    assert await claims.take(5, FAR) == []
    assert holder(store, "one") == (None, 1)


async def test_work_of_before_a_lapse_does_not_hide_a_claim_of_after(store: SqlStore, clock: VirtualClock) -> None:
    """The task of the first claim may be on its way to stop still, when the node has come back."""
    line = Line(store)
    claims = await claims_of(line, clock, "a")
    add_due(store, "one")
    (before,) = await claims.take(5, FAR)
    end_lease(store, "a")
    await claims._node._join()
    line.loses_answers = True
    with pytest.raises(CommitUnknownError):
        await claims.take(5, FAR)
    line.loses_answers = False
    assert subjects(await claims.take(5, FAR)) == ["one"]
    await claims.give_back(before)
    assert subjects(claims.held) == ["one"]
    assert holder(store, "one")[0] == claims._node.id


async def test_the_next_look_is_due_when_another_nodes_lease_ends(store: SqlStore, clock: VirtualClock) -> None:
    first, _ = await claims_of(store, clock, "a"), await claims_of(store, clock, "b")
    next_at = await first.next_due_at()
    assert next_at is not None
    assert 0 < next_at - first._clock.now() <= LEASE_SECONDS
    add_due(store, "one")
    assert await first.next_due_at() == 100.0


async def test_a_node_does_not_ask_for_what_is_anothers_to_begin(store: SqlStore, clock: VirtualClock) -> None:
    first, second = await claims_of(store, clock, "a"), await claims_of(store, clock, "b")
    now = first._clock.now()
    add_due(store, "one", due_at=now - 1)
    set_home(store, "one", "b")
    assert await first.take(5, FAR) == []
    assert await first.next_due_at() == now - 1 + HOME_SECONDS
    assert subjects(await second.take(5, FAR)) == ["one"]


async def test_what_a_wrong_clock_put_off_is_found(store: SqlStore, clock: VirtualClock) -> None:
    claims = await claims_of(store, clock, "a")
    add_due(store, "one", due_at=claims._clock.now() + 10_000)
    assert subjects(await claims.take(5, Horizons(300.0, 600.0))) == ["one"]


# --- what is written ---


async def test_a_node_that_lost_its_claim_writes_nothing(store: SqlStore, clock: VirtualClock) -> None:
    first, second = await claims_of(store, clock, "a"), await claims_of(store, clock, "b")
    add_due(store, "one")
    (stale,) = await first.take(5, FAR)
    end_lease(store, "a")
    (held,) = await second.take(5, FAR)
    written: list[str] = []
    with pytest.raises(ClaimLostError):
        await first.store_for(stale).write(lambda _tx: written.append("stale"))
    await second.store_for(held).write(lambda _tx: written.append("held"))
    assert written == ["held"]
    assert await first.store_for(stale).read(lambda tx: tx.escrows.get("one").id) == "one"


async def test_a_claim_of_before_is_not_trusted_by_the_node_of_after(store: SqlStore, clock: VirtualClock) -> None:
    claims = await claims_of(store, clock, "a")
    add_due(store, "one")
    (held,) = await claims.take(5, FAR)
    claims.require(held)
    await claims._node._join()
    claims.require()
    with pytest.raises(ClaimLostError):
        claims.require(held)


async def test_the_scan_is_one_nodes_duty_until_its_lease_is_over(store: SqlStore, clock: VirtualClock) -> None:
    first, second = await claims_of(store, clock, "a"), await claims_of(store, clock, "b")
    scan = await first.take_scan()
    assert isinstance(scan, FencedStore)
    assert await second.take_scan() is None
    await scan.write(lambda _tx: None)
    end_lease(store, "a")
    assert await second.take_scan() is not None
    with pytest.raises(ClaimLostError):
        await scan.write(lambda _tx: None)


async def test_a_server_that_is_silent_about_the_scan_is_asked_again_later(
    store: SqlStore, clock: VirtualClock
) -> None:
    line = Line(store)
    claims = await claims_of(line, clock, "a")
    line.is_cut = True
    assert await claims.take_scan() is None
    with pytest.raises(DatabaseBusyError):
        await claims.next_due_at()


# --- the conductor ---


async def _until(said: Callable[[], bool]) -> None:
    async def it_is_so() -> bool:
        return said()

    await until(it_is_so, limit_seconds=10, poll_seconds=0.001)


async def test_a_lapse_stops_all_work_and_gives_it_back(
    ctx: Context, store: SqlStore, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    async def endless(_ctx: Context, escrow: EscrowRecord) -> None:
        begun.append(escrow.id)
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("monero_escrow.escrows.conductor.advance", endless)
    claims = await claims_of(store, clock, "a")
    add_due(store, "one", "two", state=State.SETTING_UP)
    conductor = Conductor(replace(ctx, daemon=None, clock=claims._clock), claims)
    running = asyncio.create_task(conductor.run())
    await _until(lambda: len(begun) == 2)
    conductor.stop_all()
    await _until(lambda: len(begun) == 4)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert {holder(store, name) for name in ("one", "two")} == {(None, 2)}


async def test_an_escrow_taken_again_at_once_is_still_stopped_by_a_lapse(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first task may end after the second began: it must not be taken for that one."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(*_: object) -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    monkeypatch.setattr("monero_escrow.escrows.conductor.advance", endless)
    conductor = Conductor(ctx)
    async with asyncio.TaskGroup() as tasks:
        first = asyncio.create_task(asyncio.sleep(0))
        add_due(ctx.store, "one", due_at=1.0)  # type: ignore[arg-type]
        await conductor._start_due(tasks)
        conductor._ended(Claim("one", "", 0), first)
        assert len(conductor._running) == 1
        await begun.wait()
        conductor.stop_all()
        await ended.wait()


async def test_a_service_that_is_alone_claims_in_memory(store: SqlStore, clock: VirtualClock) -> None:
    claims = SoleClaims(store, clock)
    add_due(store, "one", "two")
    one, two = await claims.take(5, FAR)
    assert await claims.take(5, FAR) == []
    assert await claims.next_due_at() is None
    await claims.give_back(one)
    assert subjects(await claims.take(5, FAR)) == ["one"]
    claims.require(two)
    assert claims.store_for(two) is store
    assert holder(store, "one") == (None, 0), "the database knows of no node"
