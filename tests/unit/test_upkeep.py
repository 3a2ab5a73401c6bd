"""Managed slots are kept as wanted: what dies is replaced, what does not start is tried again, ever more seldom."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import cast

import pytest
import pytest_asyncio

from monero_escrow.core.errors import UnavailableError
from monero_escrow.core.roles import ROLES, TRIO, Role
from monero_escrow.fleet.health import HealthWatch
from monero_escrow.fleet.pool import NoSlotFreeError, SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.fleet.upkeep import EARLY_DEATH_SECONDS, FORGIVEN_SECONDS, Upkeep
from monero_escrow.monero.ports import WalletRpc
from monero_escrow.monero.processes import ProgramFailedError
from unit.fake_fleet import START_SECONDS, FakeFleet
from unit.slots import (
    BUYER,
    IdleRpc,
    VirtualClock,
    abandon_a_call,
    assert_books_balance,
    holding,
    make_pool,
    mark_anew,
    settle,
)

LONG = 100 * EARLY_DEATH_SECONDS


class House:
    """A pool that begins empty, and its upkeep on the tests' clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.local = FakeFleet(clock)
        self.pool: SlotPool = make_pool([], clock)
        self.upkeep = Upkeep(self.local, self.pool, clock)
        self.task = asyncio.create_task(self.upkeep.run())

    async def wants(self, trios: int) -> None:
        for role in ROLES:
            self.upkeep.want(role, trios)
        await self.clock.advance(START_SECONDS)

    def sizes(self) -> list[int]:
        return [len(self.upkeep.staying(role)) for role in ROLES]

    def buyer(self) -> Slot:
        return self.upkeep.staying(Role.BUYER)[0]


@pytest_asyncio.fixture
async def house(clock: VirtualClock) -> AsyncIterator[House]:
    made = House(clock)
    await settle()
    yield made
    assert_books_balance(made.pool)
    made.task.cancel()
    await asyncio.wait([made.task])
    await made.pool.aclose()


async def test_what_is_wanted_starts_side_by_side_and_serves(house: House) -> None:
    await house.wants(2)
    assert house.sizes() == [2, 2, 2]
    assert house.pool.stats().free == 6
    assert set(house.upkeep.starting.values()) == {0}


async def test_slots_that_start_in_the_same_moment_all_join(house: House) -> None:
    """Each looks whether it is still wanted, and those that have just joined are not counted twice."""
    turns = itertools.cycle((1, 2, 3))
    numbers = itertools.count()

    async def start_slot(role: Role) -> Slot:
        for _ in range(next(turns)):
            await asyncio.sleep(0)
        number = next(numbers)
        slot = Slot(number, role, cast("WalletRpc", IdleRpc(number)), managed=True)
        mark_anew(slot)
        house.local.alive.append(slot)
        return slot

    house.local.start_slot = start_slot  # type: ignore[method-assign]
    await house.wants(10)
    assert house.sizes() == [10, 10, 10]
    assert house.local.ended == []
    assert set(house.upkeep.starting.values()) == {0}


async def test_who_comes_before_the_first_slot_is_there_waits_for_it(house: House) -> None:
    for role in ROLES:
        house.upkeep.want(role, 1)
    (early,) = await holding(house.pool, TRIO)
    assert not early.task.done()
    await house.clock.advance(START_SECONDS)
    assert early.holds
    await early.give_back()


async def test_also_who_comes_before_the_upkeep_has_begun_waits(clock: VirtualClock) -> None:
    pool = make_pool([], clock)
    upkeep = Upkeep(FakeFleet(clock), pool, clock)
    for role in ROLES:
        upkeep.want(role, 1)
    (early,) = await holding(pool, TRIO)
    assert not early.task.done()
    running = asyncio.create_task(upkeep.run())
    await clock.advance(START_SECONDS)
    assert early.holds
    await early.give_back()
    running.cancel()
    await asyncio.wait([running])


async def test_who_came_before_the_upkeep_began_is_told_when_nothing_starts(clock: VirtualClock) -> None:
    pool, local = make_pool([], clock), FakeFleet(clock)
    local.broken = True
    upkeep = Upkeep(local, pool, clock)
    upkeep.want(Role.BUYER, 1)
    (early,) = await holding(pool, BUYER)
    running = asyncio.create_task(upkeep.run())
    await clock.advance(START_SECONDS)
    assert isinstance(early.task.exception(), NoSlotFreeError)
    running.cancel()
    await asyncio.wait([running])


async def test_a_slot_whose_process_dies_is_replaced_at_once(house: House) -> None:
    await house.wants(1)
    await house.clock.advance(LONG)
    house.local.die(dead := house.buyer())
    (waiter,) = await holding(house.pool, BUYER)
    assert dead not in house.pool.slots
    assert not waiter.task.done(), "another one is on its way"

    await house.clock.advance(START_SECONDS)

    assert waiter.holds
    assert house.sizes() == [1, 1, 1]
    assert house.local.ended == [dead]
    await waiter.give_back()


async def test_a_process_that_dies_while_it_is_leased_is_replaced_before_the_lease_is_over(house: House) -> None:
    await house.wants(1)
    await house.clock.advance(LONG)
    (holder,) = await holding(house.pool, BUYER)
    house.local.die(dead := house.buyer())
    await house.clock.advance(START_SECONDS)

    assert house.pool.stats().free_by_role[Role.BUYER] == 1
    assert dead in house.pool.slots, "whoever holds it finds out by himself"
    await holder.give_back()
    await settle()
    assert dead not in house.pool.slots
    assert house.local.ended == [dead]


async def test_a_slot_whose_call_was_given_up_on_is_replaced_and_its_process_ended(house: House) -> None:
    await house.wants(1)
    async with house.pool.lease(BUYER, "look", wait_seconds=1) as lease:
        abandon_a_call(slot := lease.slot(Role.BUYER))
    await house.clock.advance(START_SECONDS)
    assert slot in house.local.ended
    assert house.sizes() == [1, 1, 1]
    assert house.buyer() is not slot


async def test_a_program_that_does_not_start_is_tried_again_ever_more_seldom_and_said_why(house: House) -> None:
    house.local.broken = True
    await house.wants(1)
    assert "does not start here" in house.upkeep.trouble[Role.BUYER]
    tries = []
    for _ in range(3):
        before = house.local.starts
        await house.clock.advance(120)
        tries.append(house.local.starts - before)
    assert 5 * len(ROLES) <= tries[0] <= 8 * len(ROLES), "after 1, 2, 4, 8 … seconds"
    assert tries[1] + tries[2] <= 3 * len(ROLES), "and then minutes"

    house.local.broken = False
    await house.clock.advance(400)
    assert house.sizes() == [1, 1, 1]
    assert house.upkeep.trouble == {}


async def test_while_a_class_cannot_be_started_whoever_wants_it_is_told_and_the_others_serve(house: House) -> None:
    start = house.local.start_slot

    async def no_buyers(role: Role) -> Slot:
        if role is Role.BUYER:
            raise ProgramFailedError("It ended by itself at its start.")
        return await start(role)

    house.local.start_slot = no_buyers  # type: ignore[method-assign]
    await house.wants(1)
    assert house.sizes() == [0, 1, 1]
    assert not house.pool.has_usable_slot(Role.BUYER)
    async with house.pool.lease(TRIO - BUYER, "look", wait_seconds=1):
        pass


async def test_a_process_that_dies_right_after_its_start_again_and_again_is_not_started_all_the_time(
    house: House,
) -> None:
    await house.wants(1)
    ends_at = house.clock.monotonic() + 60
    while house.clock.monotonic() < ends_at:
        for slot in house.upkeep.staying(Role.BUYER):
            house.local.die(slot)
        await house.clock.advance(0.5)
    assert house.local.starts < len(ROLES) + 10
    assert house.sizes()[1:] == [1, 1]


async def test_failures_of_long_ago_are_forgiven(house: House) -> None:
    house.local.broken = True
    await house.wants(1)
    await house.clock.advance(120)
    house.local.broken = False
    await house.clock.advance(300 + FORGIVEN_SECONDS)
    assert house.sizes() == [1, 1, 1]
    house.local.broken = True
    house.local.die(house.buyer())
    await house.clock.advance(START_SECONDS)
    house.local.broken = False
    await house.clock.advance(1.25 + START_SECONDS)
    assert house.sizes() == [1, 1, 1]


async def test_of_what_is_too_much_the_idle_leave_first_and_no_lease_is_broken(house: House) -> None:
    await house.wants(3)
    holders = await holding(house.pool, BUYER, BUYER)
    held = {holder.lease.slot(Role.BUYER) for holder in holders if holder.lease}

    house.upkeep.want(Role.BUYER, 1)
    await settle()

    assert len(house.local.ended) == 1
    assert not held & set(house.local.ended)
    assert len(house.upkeep.staying(Role.BUYER)) == 1
    for holder in holders:
        assert holder.holds
        await holder.give_back()
    await settle()
    assert len(house.local.ended) == 2


async def test_a_start_that_is_not_wanted_any_more_when_it_is_done_is_ended(house: House) -> None:
    house.upkeep.want(Role.BUYER, 1)
    await settle()
    house.upkeep.want(Role.BUYER, 0)
    await house.clock.advance(START_SECONDS)
    assert house.pool.slots == ()
    assert len(house.local.ended) == 1


async def test_after_the_end_nothing_is_started_any_more(house: House) -> None:
    await house.wants(1)
    house.task.cancel()
    await asyncio.wait([house.task])
    starts = house.local.starts
    house.local.die(house.buyer())
    house.upkeep.want(Role.VENDOR, 5)
    await house.clock.advance(LONG)
    assert house.local.starts == starts


@pytest.mark.parametrize("turns", range(5))
async def test_what_dies_while_the_service_ends_harms_nobody(house: House, turns: int) -> None:
    """Leases are given back in those very moments, and giving one back may drain its slot."""
    await house.wants(2)
    holders = await holding(house.pool, TRIO)
    house.task.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    for slot in house.upkeep.staying(Role.BUYER):
        house.local.die(slot)
    for holder in holders:
        await holder.give_back()
    await asyncio.wait([house.task])
    assert house.task.cancelled()


async def test_who_waits_is_not_turned_away_while_a_sick_managed_slot_is_replaced(house: House) -> None:
    await house.wants(1)
    sick = house.buyer()

    async def hangs(_slot: Slot) -> None:
        await house.clock.sleep(10)
        raise UnavailableError("It does not answer", what_to_do="See to it.")

    watching = asyncio.create_task(HealthWatch(house.pool, house.clock, hangs).run())
    first, waits = await holding(house.pool, BUYER, BUYER)
    assert first.lease is not None
    first.lease.suspect(Role.BUYER, "It gave no answer.")
    await first.give_back()
    await house.clock.advance(12)
    await house.clock.advance(2 * START_SECONDS)
    watching.cancel()
    await asyncio.wait([watching])

    assert house.local.ended == [sick]
    assert waits.holds
    await waits.give_back()


async def test_when_fewer_are_wanted_while_several_start_only_the_surplus_is_ended(house: House) -> None:
    await house.wants(1)
    house.upkeep.want(Role.BUYER, 4)
    await settle()
    stop = house.local.stop_slot

    async def takes_a_while(slot: Slot) -> None:
        await house.clock.sleep(1)
        await stop(slot)

    house.local.stop_slot = takes_a_while  # type: ignore[method-assign]
    house.upkeep.want(Role.BUYER, 2)
    starts = house.local.starts
    await house.clock.advance(10)
    assert house.sizes() == [2, 1, 1]
    assert (house.local.starts, len(house.local.ended)) == (starts, 2)
