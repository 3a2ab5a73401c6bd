"""The pool: leases are all or nothing, in fair order, fenced, and every slot always comes back. Time is the test's."""

from __future__ import annotations

import asyncio

import pytest

from monero_escrow.core.errors import UnavailableError
from monero_escrow.core.roles import ROLES, TRIO, Role
from monero_escrow.fleet.pool import LeaseLostError, NoSlotFreeError
from unit.slots import BUYER, WAIT_SECONDS, Holder, PoolOf, VirtualClock, assert_books_balance, holding, settle

# Leasing


async def test_a_trio_is_one_slot_of_each_class_and_comes_back_at_the_end_of_the_block(pool_of: PoolOf) -> None:
    pool = pool_of(6)
    async with pool.lease(TRIO, "set-up", wait_seconds=1) as lease:
        assert {role: slot.role for role, slot in lease.slots.items()} == {role: role for role in ROLES}
        assert pool.stats().leased == 3
        assert_books_balance(pool)

    assert pool.stats().free == 6
    assert pool.leases == frozenset()


async def test_slots_come_back_from_a_block_that_fails(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    with pytest.raises(ZeroDivisionError):
        async with pool.lease(TRIO, "set-up", wait_seconds=1):
            1 / 0  # noqa: B018

    assert pool.stats().free == 3


async def test_two_set_ups_at_once_on_six_slots_share_no_slot(pool_of: PoolOf) -> None:
    pool = pool_of(6)
    first, second = await holding(pool, TRIO, TRIO)

    assert first.lease is not None
    assert second.lease is not None
    assert not set(first.lease.slots.values()) & set(second.lease.slots.values())
    assert pool.stats().set_ups_possible == 0
    await first.give_back()
    assert pool.stats().set_ups_possible == 1
    await second.give_back()


async def test_who_cannot_have_the_whole_trio_holds_nothing_while_waiting(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    buyer, trio = await holding(pool, BUYER, TRIO)

    assert not trio.holds
    assert pool.stats().free == 2
    await buyer.give_back()
    await settle()
    assert trio.holds
    await trio.give_back()


async def test_the_slots_of_a_class_take_turns(pool_of: PoolOf) -> None:
    pool, used = pool_of(9), []
    for _ in range(6):
        async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
            used.append(lease.slot(Role.BUYER).index)

    assert used == [0, 3, 6, 0, 3, 6]


async def test_waiters_are_served_in_the_order_in_which_they_came(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    holders = await holding(pool, *[TRIO] * 5)

    for turn, holder in enumerate(holders):
        assert [other.holds for other in holders[turn:]] == [True] + [False] * (4 - turn)
        await holder.give_back()
        await settle()


async def test_one_who_wants_little_does_not_pass_a_trio_that_waits_for_the_same_class(pool_of: PoolOf) -> None:
    pool = pool_of(6)
    vendors = await holding(pool, frozenset({Role.VENDOR}), frozenset({Role.VENDOR}))
    trio, late = await holding(pool, TRIO, BUYER)

    assert pool.stats().free_by_role[Role.BUYER] == 2
    assert (trio.holds, late.holds) == (False, False)
    await vendors[0].give_back()
    await settle()
    assert (trio.holds, late.holds) == (True, True)
    for holder in (vendors[1], trio, late):
        await holder.give_back()


# Fences


async def test_a_lease_that_is_over_gives_nobody_a_slot(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    async with pool.lease(TRIO, "set-up", wait_seconds=1) as lease:
        slots = [lease.slot(role) for role in ROLES]

    for role in ROLES:
        with pytest.raises(LeaseLostError):
            lease.slot(role)
    async with pool.lease(TRIO, "another", wait_seconds=1) as later:
        assert [later.slot(role) for role in ROLES] == slots
        with pytest.raises(LeaseLostError):
            lease.slot(Role.BUYER)


async def test_the_fences_of_a_slot_only_grow(pool_of: PoolOf) -> None:
    pool, fences = pool_of(3), []
    for _ in range(4):
        async with pool.lease(TRIO, "set-up", wait_seconds=1) as lease:
            fences.append(lease.fences[Role.BUYER])

    assert fences == sorted(set(fences))


# Waiting and its end


async def test_who_waits_too_long_is_told_so_and_leaves_the_queue(pool_of: PoolOf, clock: VirtualClock) -> None:
    pool = pool_of(3)
    holder, waiter = await holding(pool, TRIO, TRIO)

    await clock.advance(WAIT_SECONDS - 1)
    assert not waiter.task.done()
    await clock.advance(1)

    with pytest.raises(NoSlotFreeError, match="60 s for: arbiter, buyer, vendor") as caught:
        await waiter.task
    assert isinstance(caught.value, UnavailableError)
    await holder.give_back()
    assert pool.stats().free == 3


async def test_when_one_who_stood_in_the_way_gives_up_those_behind_are_served(
    pool_of: PoolOf, clock: VirtualClock
) -> None:
    pool = pool_of(3)
    (vendor,) = await holding(pool, frozenset({Role.VENDOR}))
    trio = Holder(pool, wait_seconds=10)
    await settle()
    (behind,) = await holding(pool, BUYER)
    assert not behind.holds

    await clock.advance(10)

    assert isinstance(trio.task.exception(), NoSlotFreeError)
    assert behind.holds
    for holder in (vendor, behind):
        await holder.give_back()


async def test_when_one_who_stood_in_the_way_is_cancelled_those_behind_are_served(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    vendor, trio, behind = await holding(pool, frozenset({Role.VENDOR}), TRIO, BUYER)

    trio.task.cancel()
    await settle()

    assert behind.holds
    for holder in (vendor, behind):
        await holder.give_back()


async def test_a_waiter_cancelled_in_the_moment_it_is_served_gives_its_slots_to_the_next(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    holder, served, following = await holding(pool, TRIO, TRIO, TRIO)

    holder.finish()
    await asyncio.sleep(0)
    assert len(pool.leases) == 1
    assert (holder.task.done(), served.lease) == (True, None)  # granted, and not yet told
    served.task.cancel()
    await settle()

    assert served.task.cancelled()
    assert following.holds
    await following.give_back()


async def test_a_holder_who_is_cancelled_gives_back_and_what_it_left_is_looked_at(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    (holder,) = await holding(pool, TRIO)

    holder.task.cancel()
    await settle()

    assert pool.leases == frozenset()
    assert pool.sick_slots() == pool.slots
    for slot in pool.slots:
        pool.mark_well(slot)
    assert pool.stats().free == 3


# Odd numbers


async def test_without_any_slot_nothing_can_be_leased(pool_of: PoolOf) -> None:
    with pytest.raises(NoSlotFreeError):
        async with pool_of(0).lease(TRIO, "set-up", wait_seconds=1):
            pass


async def test_slots_beyond_whole_trios_are_spares_of_their_class(pool_of: PoolOf) -> None:
    pool = pool_of(5)

    assert [slot.name for slot in pool.leftovers] == ["buyer@127.0.0.1:18085", "vendor@127.0.0.1:18086"]
    assert pool.stats().free_by_role == {Role.BUYER: 2, Role.VENDOR: 2, Role.ARBITER: 1}
    assert pool.stats().set_ups_possible == 1
