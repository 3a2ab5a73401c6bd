"""The supervisor with its keeper over a real pool: sizes follow the load, and no lease ever notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from monero_escrow.config import load_settings
from monero_escrow.core.growth import GrowthLimits
from monero_escrow.core.roles import ROLES, TRIO, Role
from monero_escrow.core.usage import WINDOW_SECONDS
from monero_escrow.fleet.pool import NoSlotFreeError, SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.fleet.supervisor import FleetSupervisor, limits_of
from monero_escrow.fleet.upkeep import Upkeep
from monero_escrow.monero.calls import WALLET_CALLS
from unit.fake_fleet import SLOT_BYTES, START_SECONDS, FakeFleet
from unit.slots import BUYER, Holder, VirtualClock, abandon_a_call, holding, make_pool, make_slots, settle

QUIET_SECONDS = 120.0
LIMITS = GrowthLimits(min_trios=1, max_trios=3, memory_max_bytes=100 * SLOT_BYTES, quiet_seconds=QUIET_SECONDS, cores=4)
IDLE_WORK = "made while slots are idle"
A_MOMENT = START_SECONDS + 2.0


class Town:
    """A supervised fleet on the tests' clock."""

    def __init__(self, clock: VirtualClock, *, static: int = 0) -> None:
        self.clock = clock
        self.fleet = FakeFleet(clock)
        self.pool: SlotPool = make_pool(make_slots(static, marked=True), clock)
        self.upkeep = Upkeep(self.fleet, self.pool, clock)
        self.supervisor = FleetSupervisor(
            self.pool, self.upkeep, self.fleet.memory_bytes, clock, LIMITS, idle_work=frozenset({IDLE_WORK})
        )
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Run, until the least is there."""
        self.tasks = [asyncio.create_task(job.run()) for job in (self.upkeep, self.supervisor)]
        await self.clock.advance(A_MOMENT)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.pool.aclose()

    def sizes(self) -> list[int]:
        return [len(self.upkeep.staying(role)) for role in ROLES]

    def of(self, role: Role) -> Slot:
        return self.upkeep.staying(role)[0]

    def reasons(self) -> list[str]:
        return [step.decision.reason for step in self.supervisor.steps]


@pytest_asyncio.fixture
async def town(clock: VirtualClock) -> AsyncIterator[Town]:
    made = Town(clock)
    await made.open()
    yield made
    await made.close()


async def test_the_least_is_there_before_anybody_waits(town: Town) -> None:
    assert town.sizes() == [1, 1, 1]
    await town.clock.advance(600)
    assert town.sizes() == [1, 1, 1]
    assert town.fleet.starts == 3


async def test_those_who_wait_get_slots_that_were_started_for_them(town: Town, clock: VirtualClock) -> None:
    first, second, third, fourth = await holding(town.pool, *[TRIO] * 4)
    assert (first.holds, second.holds) == (True, False)

    await clock.advance(A_MOMENT + 2)

    assert town.sizes() == [3, 3, 3]
    assert second.holds
    assert third.holds
    assert not fourth.holds, "FLEET_MAX_TRIOS"
    for holder in (first, second, third, fourth):
        await holder.give_back()


async def test_only_the_class_that_is_waited_for_grows(town: Town, clock: VirtualClock) -> None:
    holders = await holding(town.pool, BUYER, BUYER)
    await clock.advance(A_MOMENT + 2)
    assert town.sizes() == [2, 1, 1]
    assert all(holder.holds for holder in holders)
    for holder in holders:
        await holder.give_back()


async def test_it_says_why_it_grew_and_once_why_it_grows_no_further(town: Town, clock: VirtualClock) -> None:
    holders = await holding(town.pool, *[BUYER] * 5)
    await clock.advance(30)
    grown, stays = town.reasons()[-2:]
    assert grown.startswith("buyer +2: ")
    assert "wait, the first for" in grown
    assert "stays although" in stays
    assert "3 are allowed" in stays
    steps = len(town.supervisor.steps)
    await clock.advance(20)
    assert len(town.supervisor.steps) == steps
    for holder in holders:
        holder.finish()
    await settle()


async def test_after_a_quiet_time_it_shrinks_to_the_least_and_ends_what_it_drained(
    town: Town, clock: VirtualClock
) -> None:
    holders = await holding(town.pool, TRIO, TRIO, TRIO)
    await clock.advance(A_MOMENT + 2)
    for holder in holders:
        await holder.give_back()
    assert town.sizes() == [3, 3, 3]

    await clock.advance(QUIET_SECONDS - 5)
    assert town.sizes() == [3, 3, 3]
    await clock.advance(10)
    assert town.sizes() == [2, 2, 2]
    await clock.advance(WINDOW_SECONDS + 5)
    assert town.sizes() == [1, 1, 1]
    await clock.advance(10 * QUIET_SECONDS)
    assert town.sizes() == [1, 1, 1]
    assert len(town.fleet.ended) == 6
    assert set(town.fleet.alive) == set(town.pool.slots)


async def test_what_is_leased_is_not_ended_when_less_is_allowed_until_it_is_given_back(
    town: Town, clock: VirtualClock
) -> None:
    holders = await holding(town.pool, TRIO, TRIO, TRIO)
    await clock.advance(A_MOMENT + 2)

    town.supervisor.set_limits(replace(LIMITS, max_trios=1))
    await clock.advance(30)
    assert all(holder.holds for holder in holders)
    assert town.fleet.ended == []

    for holder in holders:
        await holder.give_back()
    await clock.advance(5)
    assert len(town.fleet.ended) == 6
    assert town.sizes() == [1, 1, 1]


async def test_a_higher_least_is_there_at_once(town: Town, clock: VirtualClock) -> None:
    town.supervisor.set_limits(replace(LIMITS, min_trios=2))
    await clock.advance(A_MOMENT)
    assert town.sizes() == [2, 2, 2]


async def test_a_lower_least_takes_nothing_away_before_it_was_quiet(town: Town, clock: VirtualClock) -> None:
    town.supervisor.set_limits(replace(LIMITS, min_trios=2))
    await clock.advance(A_MOMENT)
    town.supervisor.set_limits(LIMITS)
    await clock.advance(QUIET_SECONDS - 10)
    assert town.sizes() == [2, 2, 2]
    await clock.advance(20)
    assert town.sizes() == [1, 1, 1]


async def test_memory_keeps_it_small_and_that_is_said(town: Town, clock: VirtualClock) -> None:
    town.supervisor.set_limits(replace(LIMITS, memory_max_bytes=4 * SLOT_BYTES))
    holders = await holding(town.pool, TRIO, TRIO, TRIO)
    await clock.advance(30)
    assert sum(town.sizes()) == 4
    assert "FLEET_MEMORY_MAX is 160 MiB" in town.reasons()[-1]
    for holder in holders:
        holder.finish()
    await settle()


async def test_a_process_that_died_is_replaced_while_its_holder_keeps_the_lease(
    town: Town, clock: VirtualClock
) -> None:
    await clock.advance(60)
    (holder,) = await holding(town.pool, TRIO)
    assert holder.lease is not None
    dead = holder.lease.slot(Role.VENDOR)

    town.fleet.die(dead)
    await clock.advance(A_MOMENT)

    assert town.sizes() == [1, 1, 1]
    assert holder.lease.slot(Role.VENDOR) is dead
    assert town.of(Role.VENDOR) is not dead
    async with town.pool.lease(frozenset({Role.VENDOR}), "work", wait_seconds=1) as lease:
        assert lease.slot(Role.VENDOR) is town.of(Role.VENDOR)
    await holder.give_back()


async def test_a_managed_slot_whose_call_was_given_up_on_is_ended_and_replaced_at_once(
    town: Town, clock: VirtualClock
) -> None:
    async with town.pool.lease(BUYER, "work", wait_seconds=1) as lease:
        abandon_a_call(slot := lease.slot(Role.BUYER))
    await clock.advance(A_MOMENT)
    assert town.fleet.ended == [slot]
    assert town.of(Role.BUYER) is not slot


async def test_work_that_only_fills_idle_time_neither_makes_it_larger_nor_keeps_it_large(
    town: Town, clock: VirtualClock
) -> None:
    async def fill_idle_time() -> None:
        while True:
            async with town.pool.lease(TRIO, IDLE_WORK, wait_seconds=1):
                await clock.sleep(20)

    filler = asyncio.create_task(fill_idle_time())
    await clock.advance(5 * WINDOW_SECONDS)
    filler.cancel()
    await settle()
    assert town.sizes() == [1, 1, 1]


async def test_lasting_use_makes_it_larger_though_nobody_waits(town: Town, clock: VirtualClock) -> None:
    (holder,) = await holding(town.pool, TRIO)
    await clock.advance(WINDOW_SECONDS + 10)
    assert town.sizes() == [2, 2, 2]
    assert "it was in use for 9" in town.reasons()[-1]
    await holder.give_back()


async def test_a_lease_holds_as_long_as_a_refresh_may_take_and_others_find_slots_meanwhile(
    town: Town, clock: VirtualClock
) -> None:
    """A lease in memory does not expire: what bounds it is the time limit of the call (`monero/calls.py`)."""
    (holder,) = await holding(town.pool, TRIO)
    assert holder.lease is not None
    for _ in range(int(WALLET_CALLS["refresh"].limit_seconds)):
        await clock.advance(1)
        assert holder.lease.slot(Role.BUYER) in town.fleet.alive
    async with town.pool.lease(TRIO, "set-up", wait_seconds=1):
        pass
    await holder.give_back()


async def test_configured_processes_stand_beside_it_and_are_never_drained(clock: VirtualClock) -> None:
    town = Town(clock, static=3)
    await town.open()
    static = [slot for slot in town.pool.slots if not slot.managed]
    holders = await holding(town.pool, *[TRIO] * 4)
    await clock.advance(A_MOMENT + 2)
    assert town.sizes() == [3, 3, 3]
    for holder in holders:
        await holder.give_back()
    await clock.advance(10 * QUIET_SECONDS)
    assert town.sizes() == [1, 1, 1]
    assert [slot for slot in town.pool.slots if not slot.managed] == static
    await town.close()


async def test_a_program_that_does_not_start_is_tried_again_and_whoever_waits_is_told(
    clock: VirtualClock,
) -> None:
    town = Town(clock)
    town.fleet.broken = True
    await town.open()
    await clock.advance(5)
    with pytest.raises(NoSlotFreeError, match="No usable"):
        async with town.pool.lease(TRIO, "set-up", wait_seconds=60):
            pass
    assert "does not start here" in town.upkeep.trouble[Role.BUYER]

    starts = town.fleet.starts
    await clock.advance(60)
    assert 3 <= town.fleet.starts - starts <= 30, "pauses grow"
    town.fleet.broken = False
    await clock.advance(120)
    assert town.sizes() == [1, 1, 1]
    await town.close()


async def test_ten_orders_at_once_are_all_served_and_every_process_is_accounted_for(
    town: Town, clock: VirtualClock
) -> None:
    async def order() -> None:
        async with town.pool.lease(TRIO, "set-up", wait_seconds=600):
            await clock.sleep(4)

    orders = [asyncio.create_task(order()) for _ in range(10)]
    await clock.advance(60)
    assert all(order.done() and order.exception() is None for order in orders)
    assert town.sizes() == [3, 3, 3]
    await clock.advance(3 * QUIET_SECONDS)
    assert town.sizes() == [1, 1, 1]
    assert town.fleet.starts == 9
    assert len(town.fleet.ended) == 6


async def test_the_bounds_come_from_the_settings_and_the_machine() -> None:
    settings = load_settings(fleet_min_trios=2, fleet_max_trios=5, fleet_memory_max="1GiB", fleet_quiet_seconds=30)
    limits = limits_of(settings)
    assert (limits.min_trios, limits.max_trios, limits.memory_max_bytes) == (2, 5, 1 << 30)
    assert limits.cores >= 1
    urls = "http://127.0.0.1:1,http://127.0.0.1:2,http://127.0.0.1:3"
    assert limits_of(load_settings(monero_rpc_urls=urls)).max_trios == 0


async def test_the_last_steps_are_kept_and_no_more(town: Town, clock: VirtualClock) -> None:
    for _ in range(40):
        holder = Holder(town.pool, BUYER)
        other = Holder(town.pool, BUYER)
        await clock.advance(10)
        holder.finish()
        other.finish()
        await clock.advance(QUIET_SECONDS + WINDOW_SECONDS)
    assert len(town.supervisor.steps) == 50
