"""Slots that cannot be used for a while: abandoned calls, sickness, suspicion. Each comes back, and none too early."""

from __future__ import annotations

import pytest

from monero_escrow.core.roles import ROLES, TRIO, Role
from monero_escrow.fleet.pool import NoSlotFreeError, SlotPool
from monero_escrow.fleet.slot import Slot
from unit.slots import (
    BUYER,
    QUARANTINE_SECONDS,
    WAIT_SECONDS,
    Holder,
    PoolOf,
    VirtualClock,
    abandon_a_call,
    assert_books_balance,
    holding,
    make_pool,
    make_slots,
    settle,
)

# Abandoned calls


async def test_a_slot_with_an_abandoned_call_rests_for_the_quarantine_and_then_serves_again(
    pool_of: PoolOf, clock: VirtualClock
) -> None:
    pool = pool_of(3)
    async with pool.lease(TRIO, "set-up", wait_seconds=1) as lease:
        abandon_a_call(slot := lease.slot(Role.VENDOR))

    assert (pool.stats().free, pool.stats().sick) == (2, 1)
    assert slot.resting_because is not None
    assert slot.rests_until == clock.monotonic() + QUARANTINE_SECONDS
    waiter = Holder(pool, wait_seconds=2 * QUARANTINE_SECONDS)
    await clock.advance(QUARANTINE_SECONDS - 1)
    assert pool.sick_slots() == ()
    await clock.advance(1)

    assert slot.resting_because is None
    assert not slot.rpc.abandoned
    assert pool.sick_slots() == (slot,)
    assert not waiter.holds
    pool.mark_well(slot)
    await settle()
    assert waiter.holds
    await waiter.give_back()
    assert pool.stats().free == 3


async def test_a_resting_slot_that_falls_sick_does_not_serve_when_its_rest_is_over(
    pool_of: PoolOf, clock: VirtualClock
) -> None:
    pool = pool_of(6)
    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        abandon_a_call(slot := lease.slot(Role.BUYER))
    pool.mark_sick(slot, "unreachable")

    await clock.advance(QUARANTINE_SECONDS)

    assert pool.stats().free_by_role[Role.BUYER] == 1
    pool.mark_well(slot)
    assert pool.stats().free_by_role[Role.BUYER] == 2


async def test_a_resting_slot_is_left_alone_even_if_it_is_suspected(pool_of: PoolOf, clock: VirtualClock) -> None:
    """An inspection would queue behind the call that was given up on."""
    pool = pool_of(6)
    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        abandon_a_call(slot := lease.slot(Role.BUYER))
        lease.suspect(Role.BUYER, "no answer")

    assert slot.sick == "no answer"
    assert pool.sick_slots() == ()
    await clock.advance(QUARANTINE_SECONDS)
    assert pool.sick_slots() == (slot,)


async def test_a_resting_slot_that_is_well_again_still_rests_to_the_end(pool_of: PoolOf, clock: VirtualClock) -> None:
    pool = pool_of(6)
    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        abandon_a_call(slot := lease.slot(Role.BUYER))
    pool.mark_sick(slot, "unreachable")
    pool.mark_well(slot)

    assert pool.stats().free_by_role[Role.BUYER] == 1
    await clock.advance(QUARANTINE_SECONDS)
    pool.mark_well(slot)
    assert pool.stats().free_by_role[Role.BUYER] == 2


async def test_a_slot_that_fell_sick_with_an_abandoned_call_rests_before_it_serves_again(
    pool_of: PoolOf, clock: VirtualClock
) -> None:
    """Being well again says that the process answers, not that the call it was sent is over."""
    pool = pool_of(6)
    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        abandon_a_call(slot := lease.slot(Role.BUYER))
        pool.mark_sick(slot, "unreachable")
    pool.mark_well(slot)

    assert pool.stats().free_by_role[Role.BUYER] == 1
    await clock.advance(QUARANTINE_SECONDS)
    pool.mark_well(slot)
    assert pool.stats().free_by_role[Role.BUYER] == 2


async def test_a_sick_slot_whose_inspection_was_abandoned_rests_before_it_serves_again(
    pool_of: PoolOf, clock: VirtualClock
) -> None:
    pool = pool_of(6)
    slot = pool.slots[0]
    pool.mark_sick(slot, "no answer")
    abandon_a_call(slot)

    pool.mark_well(slot)

    assert pool.stats().free_by_role[Role.BUYER] == 1
    await clock.advance(QUARANTINE_SECONDS)
    assert pool.sick_slots() == (slot,)
    pool.mark_well(slot)
    assert pool.stats().free_by_role[Role.BUYER] == 2


# Sick slots


async def test_a_sick_slot_is_not_handed_out_until_it_is_well(pool_of: PoolOf) -> None:
    pool = pool_of(6)
    sick = pool.slots[0]
    pool.mark_sick(sick, "too old")
    assert pool.sick_slots() == (sick,)

    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        assert lease.slot(Role.BUYER) is not sick
        (waiter,) = await holding(pool, BUYER)
        assert not waiter.holds
        pool.mark_well(sick)
        await settle()
        assert waiter.lease is not None
        assert waiter.lease.slot(Role.BUYER) is sick
        await waiter.give_back()


async def test_a_slot_that_was_sick_at_the_start_is_not_handed_out(clock: VirtualClock) -> None:
    slots = make_slots(6)
    slots[0].sick = "unreachable"
    pool = make_pool(slots, clock)

    assert pool.stats().free_by_role == {Role.BUYER: 1, Role.VENDOR: 2, Role.ARBITER: 2}
    assert_books_balance(pool)


async def test_a_slot_that_falls_sick_while_leased_stays_its_holders_and_does_not_come_back(pool_of: PoolOf) -> None:
    pool = pool_of(6)
    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        slot = lease.slot(Role.BUYER)
        pool.mark_sick(slot, "unreachable")
        assert lease.slot(Role.BUYER) is slot
        assert pool.sick_slots() == ()
        assert_books_balance(pool)

    assert pool.sick_slots() == (slot,)
    assert pool.stats().free_by_role[Role.BUYER] == 1


async def test_a_slot_that_was_sick_for_a_while_during_a_lease_is_never_handed_out_twice(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        slot = lease.slot(Role.BUYER)
        pool.mark_sick(slot, "unreachable")
        pool.mark_well(slot)
        assert pool.stats().free_by_role[Role.BUYER] == 0
        assert_books_balance(pool)

    assert pool.stats().free_by_role[Role.BUYER] == 1


async def test_a_slot_its_holder_suspects_is_looked_at_before_anybody_gets_it_again(pool_of: PoolOf) -> None:
    pool = pool_of(6)
    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        slot = lease.slot(Role.BUYER)
        lease.suspect(Role.BUYER, "another wallet is open")
        assert lease.slot(Role.BUYER) is slot
        assert_books_balance(pool)

    assert pool.sick_slots() == (slot,)
    assert slot.sick == "another wallet is open"
    assert pool.stats().free_by_role[Role.BUYER] == 1
    pool.mark_well(slot)
    assert pool.stats().free_by_role[Role.BUYER] == 2


def mark_class_sick(pool: SlotPool, role: Role) -> list[Slot]:
    sick = [slot for slot in pool.slots if slot.role is role]
    for slot in sick:
        pool.mark_sick(slot, "unreachable")
    return sick


@pytest.mark.parametrize("role", ROLES)
async def test_a_class_without_a_usable_slot_is_refused_at_once(pool_of: PoolOf, role: Role) -> None:
    pool = pool_of(6)
    mark_class_sick(pool, role)

    with pytest.raises(NoSlotFreeError, match=f"serves the {role}s"):
        async with pool.lease(TRIO, "set-up", wait_seconds=WAIT_SECONDS):
            pass
    async with pool.lease(TRIO - {role}, "look", wait_seconds=WAIT_SECONDS):
        pass


async def test_those_who_wait_for_a_class_that_falls_sick_are_told_at_once_and_stand_in_nobodys_way(
    pool_of: PoolOf,
) -> None:
    pool = pool_of(3)
    arbiter, trio, behind = await holding(pool, frozenset({Role.ARBITER}), TRIO, BUYER)
    assert not behind.holds

    mark_class_sick(pool, Role.ARBITER)
    await settle()

    assert isinstance(trio.task.exception(), NoSlotFreeError)
    assert behind.holds
    for holder in (arbiter, behind):
        await holder.give_back()
