"""Processes get fresh credentials on a schedule: one after another, no lease broken, and a class never has fewer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio
import structlog

from monero_escrow.core.roles import ROLES, Role
from monero_escrow.core.rotation import Standing, next_to_rotate
from monero_escrow.fleet.rotation import LONGEST_LOOK_SECONDS, Rotation
from monero_escrow.fleet.upkeep import Upkeep
from unit.fake_fleet import START_SECONDS, FakeFleet
from unit.slots import BUYER, VirtualClock, assert_books_balance, holding, make_pool, settle

DAY = 86_400.0
YOUNG, OLD, OLDER = Standing(DAY - 1), Standing(DAY), Standing(DAY + 60)
OLDEST_BUT_LEASED = Standing(DAY + 120, leased=True)


@pytest.mark.parametrize(
    ("processes", "next_one"),
    [
        ({}, None),
        ({"a": YOUNG}, None),
        ({"a": OLD, "b": OLDER, "c": YOUNG}, "b"),
        ({"a": OLD, "b": OLDEST_BUT_LEASED}, "a"),
        ({"a": YOUNG, "b": OLDEST_BUT_LEASED}, "b"),
        ({"a": OLD, "b": Standing(0, draining=True)}, None),
        ({"a": Standing(DAY, draining=True)}, None),
    ],
)
def test_the_oldest_that_nobody_holds_is_next_unless_one_is_on_its_way_out(
    processes: Mapping[str, Standing], next_one: str | None
) -> None:
    assert next_to_rotate(processes, every_seconds=DAY, starting=0) == next_one


def test_none_is_replaced_while_another_starts_or_if_it_is_switched_off() -> None:
    assert next_to_rotate({"a": OLD}, every_seconds=DAY, starting=1) is None
    assert next_to_rotate({"a": OLD}, every_seconds=0, starting=0) is None


class House:
    """Two trios of its own, and their rotation."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.local = FakeFleet(clock)
        self.pool = make_pool([], clock)
        self.upkeep = Upkeep(self.local, self.pool, clock)
        self.rotation = Rotation(self.pool, self.upkeep, clock, DAY)
        self.tasks = [asyncio.create_task(task) for task in (self.upkeep.run(), self.rotation.run())]

    async def begin(self) -> None:
        await settle()
        for role in ROLES:
            self.upkeep.want(role, 2)
        await self.clock.advance(START_SECONDS)

    def serving(self) -> list[int]:
        usable = [slot for slot in self.pool.slots if not slot.draining and slot.sick is None]
        return [sum(slot.role is role for slot in usable) for role in ROLES]


@pytest_asyncio.fixture
async def house(clock: VirtualClock) -> AsyncIterator[House]:
    made = House(clock)
    await made.begin()
    yield made
    assert_books_balance(made.pool)
    for task in made.tasks:
        task.cancel()
    await asyncio.wait(made.tasks)
    await made.pool.aclose()


async def test_each_is_replaced_once_a_day_and_its_class_never_has_fewer(house: House) -> None:
    first = set(house.pool.slots)
    await house.clock.advance(DAY - 120)
    assert set(house.pool.slots) == first
    for _ in range(15 * 60):
        await house.clock.advance(1)
        assert min(house.serving()) >= 2
        assert sum(house.serving()) <= 7, "one at a time"
        assert len(house.local.alive) <= 7
    assert not first & set(house.pool.slots)
    assert house.serving() == [2, 2, 2]
    assert first == set(house.local.ended)
    assert house.local.starts == 12


async def test_a_leased_one_goes_last_and_ends_when_it_is_given_back(house: House) -> None:
    (holder,) = await holding(house.pool, BUYER)
    assert holder.lease is not None
    held = holder.lease.slot(Role.BUYER)
    fence = held.fence
    await house.clock.advance(DAY + 10 * LONGEST_LOOK_SECONDS)
    assert [slot for slot in house.pool.slots if slot.draining] == [held]
    assert house.serving() == [2, 2, 2]
    assert (held.fence, held in house.local.alive) == (fence, True)
    await holder.give_back()
    await settle()
    assert held in house.local.ended
    assert house.local.starts == 12


async def test_a_program_that_does_not_start_costs_no_process(house: House) -> None:
    first = set(house.pool.slots)
    house.local.broken = True
    with structlog.testing.capture_logs() as said:
        await house.clock.advance(DAY + 5 * LONGEST_LOOK_SECONDS)
    assert set(house.pool.slots) == first
    assert {line["event"] for line in said} == {"slot_not_rotated"}
    house.local.broken = False
    await house.clock.advance(10 * LONGEST_LOOK_SECONDS)
    assert not first & set(house.pool.slots)


async def test_one_that_ends_while_its_successor_starts_is_replaced_once(house: House) -> None:
    await house.clock.advance(DAY - START_SECONDS)
    dying = house.upkeep.staying(Role.BUYER)[0]
    replacing = asyncio.create_task(house.upkeep.replace(dying))
    await settle()
    house.local.die(dying)
    await house.clock.advance(2 * START_SECONDS)
    assert await replacing is None
    assert house.serving() == [2, 2, 2]
    assert len(house.local.alive) == 6


async def test_another_age_counts_from_now_on_and_0_switches_it_off(house: House) -> None:
    first = set(house.pool.slots)
    house.rotation.every_seconds = 0
    await house.clock.advance(2 * DAY)
    assert set(house.pool.slots) == first
    house.rotation.every_seconds = DAY
    await house.clock.advance(10 * LONGEST_LOOK_SECONDS)
    assert not first & set(house.pool.slots)
