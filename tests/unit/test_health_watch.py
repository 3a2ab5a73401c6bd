"""Health: idle slots are looked at from time to time, sick ones find back on their own, work is never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import pytest
import pytest_asyncio

from monero_escrow.core.errors import UnavailableError
from monero_escrow.core.roles import TRIO, Role
from monero_escrow.fleet import health
from monero_escrow.fleet.health import LONGEST_PAUSE_SECONDS, LOOK_SECONDS, HealthWatch
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.ports import WalletRpc
from unit.slots import (
    BUYER,
    QUARANTINE_SECONDS,
    IdleRpc,
    VirtualClock,
    abandon_a_call,
    holding,
    make_pool,
    make_slots,
    mark_anew,
    rpc_of,
    start_anew,
)

A_LOOK = 1.25 * LOOK_SECONDS + 1
"""By now every idle slot was looked at, however the pauses fell."""


@dataclass
class Clinic:
    """A watched pool of six slots; what inspects them says no to those in `ill`, and keeps count."""

    clock: VirtualClock
    pool: SlotPool
    watch: HealthWatch = field(init=False)
    ill: set[Slot] = field(default_factory=set)
    inspected: list[tuple[float, Slot]] = field(default_factory=list)
    hangs: asyncio.Event | None = None

    def __post_init__(self) -> None:
        self.watch = HealthWatch(self.pool, self.clock, self.inspect)

    async def inspect(self, slot: Slot) -> None:
        self.inspected.append((self.clock.monotonic(), slot))
        if self.hangs is not None and slot is self.pool.slots[0]:
            await self.hangs.wait()
        if slot in self.ill:
            raise UnavailableError("It does not serve", what_to_do="See to it.")
        if not rpc_of(slot).marks:
            mark_anew(slot)

    def times_of(self, slot: Slot) -> list[float]:
        return [at for at, inspected in self.inspected if inspected is slot]


@pytest_asyncio.fixture
async def clinic(clock: VirtualClock) -> AsyncIterator[Clinic]:
    made = Clinic(clock, make_pool(make_slots(6, marked=True), clock))
    task = asyncio.create_task(made.watch.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await made.pool.aclose()


async def test_every_idle_slot_is_looked_at_again_and_again(clinic: Clinic, clock: VirtualClock) -> None:
    await clock.advance(10 * A_LOOK)
    assert all(10 <= rpc_of(slot).looks <= 16 for slot in clinic.pool.slots)
    assert clinic.pool.stats().free == 6
    assert clinic.inspected == []


async def test_a_slot_that_somebody_holds_is_left_alone(clinic: Clinic, clock: VirtualClock) -> None:
    (holder,) = await holding(clinic.pool, TRIO)
    assert holder.lease is not None
    before = {slot: rpc_of(slot).looks for slot in holder.lease.slots.values()}
    await clock.advance(3 * A_LOOK)
    assert {slot: rpc_of(slot).looks for slot in before} == before
    await holder.give_back()


async def test_a_process_that_was_started_anew_is_noticed_inspected_and_serves_again(
    clinic: Clinic, clock: VirtualClock
) -> None:
    slot = clinic.pool.slots[0]
    start_anew(slot)
    await clock.advance(A_LOOK + 2)
    assert len(clinic.times_of(slot)) == 1
    assert slot.sick is None
    assert clinic.pool.stats().free == 6


async def test_a_silent_idle_process_is_sick_with_its_reason_before_anybody_leases_it(
    clinic: Clinic, clock: VirtualClock
) -> None:
    slot = clinic.pool.slots[3]
    rpc_of(slot).silent = True
    clinic.ill.add(slot)
    await clock.advance(A_LOOK)
    assert slot.sick is not None
    assert clinic.pool.stats().free == 5
    await clock.advance(2)
    assert slot.sick == "It does not serve. See to it."


class SlowRpc(IdleRpc):
    """Answers only when it is let."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.asked = asyncio.Semaphore(0)
        self.may_answer = asyncio.Event()

    async def instance_marks(self) -> frozenset[str]:
        self.looks += 1
        self.asked.release()
        await self.may_answer.wait()
        return self.marks


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time limits are the event loop's: in these tests they pass at once."""
    monkeypatch.setattr(health, "LIMIT_SECONDS", 0.01)


def slow_slot(clinic: Clinic, index: int = 0) -> tuple[Slot, SlowRpc]:
    slot = clinic.pool.slots[index]
    rpc = SlowRpc(index)
    slot.rpc = cast("WalletRpc", rpc)
    mark_anew(slot)
    return slot, rpc


async def test_no_answer_within_the_limit_twice_is_sick_and_keeps_no_other_look_waiting(
    clinic: Clinic, short_limit: None
) -> None:
    slot, rpc = slow_slot(clinic)
    await clinic.watch.look_at_idle_ones()
    assert rpc.looks == 2
    assert slot.sick is not None
    assert "did not answer within" in slot.sick
    assert [rpc_of(other).looks for other in clinic.pool.slots[1:]] == [1] * 5


async def test_one_late_answer_is_forgiven(clinic: Clinic, short_limit: None) -> None:
    slot, rpc = slow_slot(clinic)
    look = asyncio.create_task(clinic.watch.look_at_idle_ones())
    for _ in range(2):
        await rpc.asked.acquire()
    rpc.may_answer.set()
    await look
    assert slot.sick is None


async def test_a_slot_that_is_leased_in_the_middle_of_a_look_is_its_holders(clinic: Clinic, short_limit: None) -> None:
    """What the look finds is of no matter any more: whoever leases looks too."""
    slot, rpc = slow_slot(clinic)
    slot.mark = None  # a lease asks nothing then
    rpc.get_version = rpc.instance_marks  # type: ignore[attr-defined]
    look = asyncio.create_task(clinic.watch.look_at_idle_ones())
    await rpc.asked.acquire()
    async with clinic.pool.lease(BUYER, "work", wait_seconds=1) as lease:
        assert lease.slot(Role.BUYER) is slot
        await look
        assert slot.sick is None
        assert rpc.looks == 1, "a second look would stand in line behind the holder's work"


async def test_a_sick_slot_is_inspected_at_once_then_after_pauses_that_grow_and_comes_back_on_its_own(
    clinic: Clinic, clock: VirtualClock
) -> None:
    slot = clinic.pool.slots[4]
    clinic.ill.add(slot)
    clinic.pool.mark_sick(slot, "no answer")
    await clock.advance(600)
    times = clinic.times_of(slot)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[0] <= 3
    assert max(pauses) <= 1.25 * LONGEST_PAUSE_SECONDS + 1.25
    assert 10 <= len(times) <= 25
    assert sum(pauses[-3:]) > 10 * sum(pauses[:3]) / 3

    clinic.ill.clear()
    await clock.advance(1.25 * LONGEST_PAUSE_SECONDS + 2)
    assert slot.sick is None
    assert clinic.pool.stats().free == 6


async def test_when_the_next_look_is_can_be_told(clinic: Clinic, clock: VirtualClock) -> None:
    slot = clinic.pool.slots[4]
    assert clinic.watch.next_look_seconds(slot) is None
    clinic.ill.add(slot)
    clinic.pool.mark_sick(slot, "no answer")
    await clock.advance(60)
    told = clinic.watch.next_look_seconds(slot)
    assert told is not None
    assert 0 <= told <= 1.25 * LONGEST_PAUSE_SECONDS


async def test_a_slot_that_somebody_calls_well_is_inspected_before_its_pause_is_over(
    clinic: Clinic, clock: VirtualClock
) -> None:
    slot = clinic.pool.slots[4]
    clinic.ill.add(slot)
    clinic.pool.mark_sick(slot, "no answer")
    await clock.advance(300)
    clinic.ill.clear()
    clinic.watch.look_soon(slot)
    await clock.advance(5)
    assert slot.sick is None


async def test_a_slot_that_comes_back_suspect_is_inspected_at_once(clinic: Clinic, clock: VirtualClock) -> None:
    async with clinic.pool.lease(BUYER, "work", wait_seconds=1) as lease:
        lease.suspect(Role.BUYER, "another wallet is open")
        slot = lease.slot(Role.BUYER)
    await clock.advance(0)
    assert clinic.times_of(slot) == [clock.monotonic()]
    assert slot.sick is None


async def test_a_resting_slot_is_left_alone_until_its_rest_is_over(clinic: Clinic, clock: VirtualClock) -> None:
    async with clinic.pool.lease(BUYER, "work", wait_seconds=1) as lease:
        abandon_a_call(slot := lease.slot(Role.BUYER))
    rpc_of(slot).silent = True
    await clock.advance(QUARANTINE_SECONDS - 20)
    assert clinic.times_of(slot) == []
    assert clinic.watch.next_look_seconds(slot) is None
    rpc_of(slot).silent = False
    await clock.advance(25)
    assert len(clinic.times_of(slot)) == 1
    assert slot.sick is None


async def test_an_inspection_that_hangs_keeps_no_other_slot_sick(clinic: Clinic, clock: VirtualClock) -> None:
    clinic.hangs = asyncio.Event()
    hanging, other = clinic.pool.slots[0], clinic.pool.slots[1]
    clinic.pool.mark_sick(hanging, "no answer")
    await clock.advance(5)
    clinic.pool.mark_sick(other, "no answer")
    await clock.advance(5)
    assert other.sick is None
    assert len(clinic.times_of(hanging)) == 1, "not a second one beside the first"
    clinic.hangs.set()
    await clock.advance(2)
    assert hanging.sick is None


async def test_a_managed_slot_that_cannot_serve_drains_so_that_another_takes_its_place(
    clinic: Clinic, clock: VirtualClock
) -> None:
    slot = clinic.pool.slots[2]
    slot.managed = True
    clinic.ill.add(slot)
    clinic.pool.mark_sick(slot, "no answer")
    await clock.advance(2)
    assert slot.draining
    assert slot not in clinic.pool.slots


async def test_a_managed_slot_that_was_only_slow_is_not_thrown_away(clinic: Clinic, clock: VirtualClock) -> None:
    slot = clinic.pool.slots[2]
    slot.managed = True
    clinic.pool.mark_sick(slot, "It did not answer within 0.9 seconds, 2 times.")
    await clock.advance(2)
    assert not slot.draining
    assert slot.sick is None
