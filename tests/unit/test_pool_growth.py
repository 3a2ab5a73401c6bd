"""Slots join the pool and leave it while work goes on: none is handed out twice, none is lost, no lease is broken."""

from __future__ import annotations

import asyncio

import pytest

from monero_escrow.core.growth import ClassLoad
from monero_escrow.core.roles import ROLES, TRIO, Role
from monero_escrow.fleet.pool import NoSlotFreeError
from monero_escrow.fleet.slot import Slot
from unit.slots import (
    BUYER,
    QUARANTINE_SECONDS,
    PoolOf,
    VirtualClock,
    abandon_a_call,
    assert_books_balance,
    holding,
    make_pool,
    make_slots,
    settle,
)


def new_slot(role: Role, *, managed: bool = False) -> Slot:
    """A slot that is in no pool yet."""
    slot = make_slots(100)[90 + ROLES.index(role)]
    assert slot.role is role
    slot.managed = managed
    return slot


# Joining


async def test_a_slot_that_joins_serves_whoever_waits(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    first, second = await holding(pool, BUYER, BUYER)
    assert not second.holds

    pool.add(joined := new_slot(Role.BUYER))
    await settle()

    assert second.lease is not None
    assert second.lease.slot(Role.BUYER) is joined
    assert pool.slots[-1] is joined
    assert_books_balance(pool)
    for holder in (first, second):
        await holder.give_back()


async def test_a_slot_that_joins_sick_serves_only_after_it_was_looked_at(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    first, second = await holding(pool, BUYER, BUYER)
    joined = new_slot(Role.BUYER)
    joined.sick = "It has not been looked at yet."

    pool.add(joined)
    await settle()

    assert not second.holds
    assert pool.sick_slots() == (joined,)
    pool.mark_well(joined)
    await settle()
    assert second.holds
    for holder in (first, second):
        await holder.give_back()


async def test_a_slot_joins_once_and_never_on_its_way_out(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    with pytest.raises(ValueError, match="cannot join"):
        pool.add(pool.slots[0])
    pool.drain(left := pool.slots[0])
    with pytest.raises(ValueError, match="cannot join"):
        pool.add(left)


# Leaving


async def test_a_drained_slot_is_never_handed_out_again(pool_of: PoolOf) -> None:
    pool = pool_of(6)
    drained, other = pool.slots[0], pool.slots[3]

    pool.drain(drained)

    assert drained not in pool.slots
    for _ in range(4):
        async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
            assert lease.slot(Role.BUYER) is other
    pool.mark_sick(drained, "unreachable")
    pool.mark_well(drained)
    assert pool.stats().free_by_role[Role.BUYER] == 1


async def test_a_lease_keeps_its_slot_while_it_drains_and_the_slot_leaves_at_its_end(pool_of: PoolOf) -> None:
    pool = pool_of(6)
    gone = None
    async with pool.lease(BUYER, "set-up", wait_seconds=1) as lease:
        slot = lease.slot(Role.BUYER)
        pool.drain(slot)
        gone = asyncio.create_task(pool.until_gone(slot))
        await settle()
        assert lease.slot(Role.BUYER) is slot
        assert (slot in pool.slots, gone.done()) == (True, False)
        assert_books_balance(pool)

    await settle()
    assert (slot in pool.slots, gone.done()) == (False, True)
    assert pool.stats().total == 5
    await pool.until_gone(slot)  # who asks later has his answer at once


async def test_a_sick_slot_leaves_at_once(pool_of: PoolOf) -> None:
    pool = pool_of(6)
    pool.mark_sick(slot := pool.slots[0], "unreachable")
    pool.drain(slot)
    assert slot not in pool.slots
    assert pool.sick_slots() == ()


async def test_a_slot_that_rests_leaves_after_its_rest(pool_of: PoolOf, clock: VirtualClock) -> None:
    """Were its process listed again meanwhile, the call that was given up on might still run."""
    pool = pool_of(6)
    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        abandon_a_call(slot := lease.slot(Role.BUYER))
    pool.drain(slot)

    await clock.advance(QUARANTINE_SECONDS - 1)
    assert slot in pool.slots
    assert_books_balance(pool)
    await clock.advance(1)
    assert slot not in pool.slots


async def test_a_slot_whose_call_is_given_up_on_while_it_drains_rests_before_it_leaves(
    pool_of: PoolOf, clock: VirtualClock
) -> None:
    pool = pool_of(6)
    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        slot = lease.slot(Role.BUYER)
        pool.drain(slot)
        abandon_a_call(slot)
    assert slot in pool.slots
    assert slot.resting_because is not None
    await clock.advance(QUARANTINE_SECONDS)
    assert slot not in pool.slots


async def test_who_waits_for_a_class_whose_last_slot_leaves_is_told_at_once(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    holder, waiter, behind = await holding(pool, BUYER, TRIO, frozenset({Role.VENDOR}))
    assert not behind.holds

    pool.drain(pool.slots[0])
    await settle()

    assert isinstance(waiter.task.exception(), NoSlotFreeError)
    assert behind.holds
    for other in (holder, behind):
        await other.give_back()


async def test_nobody_is_turned_away_while_a_slot_of_the_class_is_on_its_way(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    holder, waiter = await holding(pool, BUYER, BUYER)

    with pool.expecting(Role.BUYER):
        pool.drain(pool.slots[0])
        await settle()
        assert not waiter.task.done()
        assert pool.has_usable_slot(Role.BUYER)
        pool.add(joined := new_slot(Role.BUYER))
    await settle()

    assert waiter.lease is not None
    assert waiter.lease.slot(Role.BUYER) is joined
    for other in (holder, waiter):
        await other.give_back()


async def test_whoever_hoped_for_a_slot_that_did_not_come_is_told(clock: VirtualClock) -> None:
    pool = make_pool(make_slots(3)[1:], clock)
    with pool.expecting(Role.BUYER):
        (waiter,) = await holding(pool, TRIO)
        assert not waiter.task.done()
    await settle()
    with pytest.raises(NoSlotFreeError, match="serves the buyers"):
        await waiter.task


async def test_whoever_replaces_a_draining_slot_does_so_before_anybody_is_turned_away(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    holder, waiter = await holding(pool, BUYER, BUYER)
    pool.on_drain = lambda slot: pool.add(new_slot(slot.role))

    pool.drain(pool.slots[0])
    await settle()

    assert waiter.holds
    for other in (holder, waiter):
        await other.give_back()


# Managed slots


@pytest.mark.parametrize("suspected", [True, False])
async def test_a_managed_slot_with_an_abandoned_call_leaves_and_does_not_rest(
    pool_of: PoolOf, *, suspected: bool
) -> None:
    pool = pool_of(3)
    drained: list[Slot] = []
    pool.on_drain = drained.append
    pool.slots[0].managed = True
    async with pool.lease(TRIO, "set-up", wait_seconds=1) as lease:
        abandon_a_call(slot := lease.slot(Role.BUYER))
        if suspected:
            lease.suspect(Role.BUYER, "no answer")
        assert slot in pool.slots

    assert slot not in pool.slots
    assert drained == [slot]
    assert slot.sick is not None, "so that its process is killed, not asked"
    assert_books_balance(pool)


async def test_a_managed_slot_whose_inspection_was_abandoned_leaves(pool_of: PoolOf) -> None:
    pool = pool_of(6)
    slot = pool.slots[0]
    slot.managed = True
    pool.mark_sick(slot, "no answer")
    abandon_a_call(slot)
    pool.mark_well(slot)
    assert slot not in pool.slots


# What is usable


async def test_a_suspect_slot_that_rests_is_waited_for_like_any_that_rests(
    pool_of: PoolOf, clock: VirtualClock
) -> None:
    pool = pool_of(3)
    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        abandon_a_call(slot := lease.slot(Role.BUYER))
        lease.suspect(Role.BUYER, "no answer")
    assert pool.has_usable_slot(Role.BUYER)
    (waiter,) = await holding(pool, BUYER)
    assert not waiter.task.done()

    pool.mark_sick(slot, "It is older than Monero 0.18.4.0.")
    await settle()
    assert not pool.has_usable_slot(Role.BUYER), "now it is known to be bad"
    with pytest.raises(NoSlotFreeError):
        await waiter.task
    await clock.advance(QUARANTINE_SECONDS)


# Load


async def test_the_load_of_a_class_is_its_slots_and_those_who_wait(pool_of: PoolOf, clock: VirtualClock) -> None:
    pool = pool_of(7)
    holders = await holding(pool, TRIO, TRIO, TRIO)
    await clock.advance(5)
    (late,) = await holding(pool, BUYER)
    await clock.advance(2)

    load = pool.load()

    # The buyers' third slot is free, and kept for the trio that came before.
    assert load[Role.BUYER] == ClassLoad(slots=3, leased=2, usable=3, waiting=2, longest_wait_seconds=7)
    assert load[Role.VENDOR] == ClassLoad(slots=2, leased=2, usable=2, waiting=1, longest_wait_seconds=7)
    pool.mark_sick(pool.slots[1], "unreachable")
    assert pool.load()[Role.VENDOR].usable == 1
    pool.drain(pool.slots[0])
    assert pool.load()[Role.BUYER] == ClassLoad(slots=2, leased=1, usable=2, waiting=2, longest_wait_seconds=7)
    for holder in (*holders, late):
        holder.task.cancel()
    await asyncio.wait([holder.task for holder in (*holders, late)])
    assert pool.load()[Role.BUYER].longest_wait_seconds == 0


async def test_slots_beyond_whole_trios_are_counted_by_class_and_without_those_that_drain(pool_of: PoolOf) -> None:
    pool = pool_of(6)
    pool.add(spare := new_slot(Role.ARBITER))
    assert pool.leftovers == (spare,)
    (holder,) = await holding(pool, BUYER)
    pool.drain(pool.slots[0])
    assert [slot.role for slot in pool.leftovers] == [Role.VENDOR, Role.ARBITER, Role.ARBITER]
    await holder.give_back()
