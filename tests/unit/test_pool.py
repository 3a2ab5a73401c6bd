"""The pool: leases are all or nothing, in fair order, fenced, and every slot always comes back. Time is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from monero_escrow.core.errors import UnavailableError
from monero_escrow.core.roles import ROLES, TRIO, Role
from monero_escrow.fleet.pool import Lease, LeaseLostError, NoSlotFreeError, SlotPool
from monero_escrow.fleet.slot import Slot
from unit.slots import (
    QUARANTINE_SECONDS,
    VirtualClock,
    abandon_a_call,
    assert_books_balance,
    make_pool,
    make_slots,
    settle,
)

WAIT_SECONDS = 60.0
BUYER = frozenset({Role.BUYER})


class Holder:
    """A task that leases, tells when it holds, and gives back when it is told to."""

    def __init__(self, pool: SlotPool, roles: frozenset[Role] = TRIO, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self.lease: Lease | None = None
        self._done = asyncio.Event()
        self.task = asyncio.create_task(self._work(pool, roles, wait_seconds))

    async def _work(self, pool: SlotPool, roles: frozenset[Role], wait_seconds: float) -> None:
        async with pool.lease(roles, "work", wait_seconds=wait_seconds) as self.lease:
            await self._done.wait()

    @property
    def holds(self) -> bool:
        return self.lease is not None and not self.task.done()

    def finish(self) -> None:
        """The holder gives back at its next turn."""
        self._done.set()

    async def give_back(self) -> None:
        self.finish()
        await self.task


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest_asyncio.fixture
async def pool_of(clock: VirtualClock) -> AsyncIterator[Callable[[int], SlotPool]]:
    """Pools whose books are looked at once more when the test is over."""
    made: list[SlotPool] = []

    def make(count: int) -> SlotPool:
        made.append(make_pool(make_slots(count), clock))
        return made[-1]

    yield make
    for pool in made:
        assert_books_balance(pool)
        await pool.aclose()


PoolOf = Callable[[int], SlotPool]


async def holding(pool: SlotPool, *wants: frozenset[Role]) -> list[Holder]:
    holders = [Holder(pool, roles) for roles in wants]
    await settle()
    return holders


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


async def test_a_holder_who_is_cancelled_gives_back(pool_of: PoolOf) -> None:
    pool = pool_of(3)
    (holder,) = await holding(pool, TRIO)

    holder.task.cancel()
    await settle()

    assert pool.stats().free == 3


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
    assert not waiter.holds
    await clock.advance(1)

    assert waiter.holds
    assert slot.resting_because is None
    assert not slot.rpc.abandoned
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


async def test_a_resting_slot_that_is_well_again_still_rests_to_the_end(pool_of: PoolOf, clock: VirtualClock) -> None:
    pool = pool_of(6)
    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        abandon_a_call(slot := lease.slot(Role.BUYER))
    pool.mark_sick(slot, "unreachable")
    pool.mark_well(slot)

    assert pool.stats().free_by_role[Role.BUYER] == 1
    await clock.advance(QUARANTINE_SECONDS)
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


async def test_without_any_slot_nothing_can_be_leased(pool_of: PoolOf) -> None:
    with pytest.raises(NoSlotFreeError):
        async with pool_of(0).lease(TRIO, "set-up", wait_seconds=1):
            pass


async def test_slots_beyond_whole_trios_are_spares_of_their_class(pool_of: PoolOf) -> None:
    pool = pool_of(5)

    assert [slot.name for slot in pool.leftovers] == ["buyer@127.0.0.1:18085", "vendor@127.0.0.1:18086"]
    assert pool.stats().free_by_role == {Role.BUYER: 2, Role.VENDOR: 2, Role.ARBITER: 1}
    assert pool.stats().set_ups_possible == 1
