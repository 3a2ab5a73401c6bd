"""A process that was started anew: its rest ends at once, and nobody gets it before it was looked at again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest
import pytest_asyncio

from monero_escrow.core.address import Network
from monero_escrow.core.roles import TRIO, Role
from monero_escrow.fleet.inspection import inspect_all
from monero_escrow.fleet.instance import LONGEST_LOOK_SECONDS
from monero_escrow.fleet.pool import NoSlotFreeError, SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.errors import CallAbandonedError, NoWalletOpenError
from monero_escrow.monero.fake.faults import Fault, Moment, Phase
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.versions import LEAST_SUPPORTED
from unit.slots import (
    BUYER,
    QUARANTINE_SECONDS,
    Holder,
    VirtualClock,
    abandon_a_call,
    assert_books_balance,
    make_pool,
    make_slots,
    mark_anew,
    rpc_of,
    settle,
    start_anew,
)


@pytest_asyncio.fixture
async def pool(clock: VirtualClock) -> AsyncIterator[SlotPool]:
    """Six slots that were inspected."""
    made = make_pool(make_slots(6, marked=True), clock)
    yield made
    assert_books_balance(made)
    await made.aclose()


async def rested(pool: SlotPool, slot: Slot) -> None:
    """Lease the slot and give up on a call to it."""
    async with pool.lease(frozenset({slot.role}), "work", wait_seconds=1) as lease:
        assert lease.slot(slot.role) is slot
        abandon_a_call(slot)


async def test_a_rest_ends_within_seconds_of_a_restart_and_the_slot_is_looked_at_before_it_serves(
    pool: SlotPool, clock: VirtualClock
) -> None:
    slot = pool.slots[0]
    await rested(pool, slot)
    await clock.advance(QUARANTINE_SECONDS / 2)
    assert slot.resting_because is not None
    assert pool.sick_slots() == ()

    start_anew(slot)
    await clock.advance(1.25 * LONGEST_LOOK_SECONDS)

    assert slot.resting_because is None
    assert not slot.rpc.abandoned
    assert pool.sick_slots() == (slot,)
    assert pool.stats().free_by_role[Role.BUYER] == 1
    mark_anew(slot)
    pool.mark_well(slot)
    assert pool.stats().free == 6


async def test_a_process_that_still_has_its_mark_rests_to_the_end(pool: SlotPool, clock: VirtualClock) -> None:
    slot = pool.slots[0]
    await rested(pool, slot)
    await clock.advance(QUARANTINE_SECONDS - 1)
    assert pool.stats().sick == 1
    await clock.advance(1)
    assert pool.sick_slots() == (slot,)
    pool.mark_well(slot)
    assert pool.stats().free == 6
    assert 60 < rpc_of(slot).looks < 130


async def test_no_answer_proves_nothing_and_lengthens_nothing(pool: SlotPool, clock: VirtualClock) -> None:
    """The call that was given up on may keep the process's only thread busy until the end of the quarantine."""
    slot = pool.slots[0]
    await rested(pool, slot)
    rpc_of(slot).silent = True
    ends_at = slot.rests_until
    await clock.advance(QUARANTINE_SECONDS - 1)
    assert (pool.stats().sick, slot.rests_until) == (1, ends_at)
    await clock.advance(1)
    assert slot.resting_because is None


async def test_looks_come_quickly_at_first_then_at_most_every_fifteen_seconds(
    pool: SlotPool, clock: VirtualClock
) -> None:
    slot = pool.slots[0]
    await rested(pool, slot)
    at_lease = rpc_of(slot).looks
    await clock.advance(1.25)
    assert rpc_of(slot).looks == at_lease + 1
    await clock.advance(60)
    before = rpc_of(slot).looks
    await clock.advance(15)
    assert rpc_of(slot).looks > before


async def test_a_rest_without_certainty_about_who_got_the_call_is_not_cut_short(
    pool: SlotPool, clock: VirtualClock
) -> None:
    """The process may have been started anew before the call, and the new one have got it."""
    slot = pool.slots[0]
    async with pool.lease(BUYER, "work", wait_seconds=1) as lease:
        abandon_a_call(lease.slot(Role.BUYER))
        rpc_of(slot).abandoned_marks = frozenset()
    start_anew(slot)
    await clock.advance(QUARANTINE_SECONDS - 1)
    assert slot.resting_because is not None
    await clock.advance(1)
    assert slot.resting_because is None


async def test_a_restart_that_nobody_noticed_is_found_before_the_slot_is_used(pool: SlotPool) -> None:
    anew, other = pool.slots[0], pool.slots[3]
    start_anew(anew)
    async with pool.lease(TRIO, "set-up", wait_seconds=1) as lease:
        assert lease.slot(Role.BUYER) is other
        assert pool.sick_slots() == (anew,)
        assert_books_balance(pool)
    assert anew.sick == "Its process was started anew since it was looked at."


async def test_a_process_that_does_not_answer_is_left_for_another(pool: SlotPool) -> None:
    rpc_of(pool.slots[1]).silent = True
    async with pool.lease(TRIO, "set-up", wait_seconds=1) as lease:
        assert lease.slot(Role.VENDOR) is pool.slots[4]
    assert pool.sick_slots() == (pool.slots[1],)


async def test_when_no_process_of_a_class_is_as_it_was_one_waits_until_they_were_looked_at(pool: SlotPool) -> None:
    anew = (pool.slots[2], pool.slots[5])
    for slot in anew:
        start_anew(slot)
    hopeful = Holder(pool, TRIO)
    await settle()
    assert not hopeful.holds
    assert pool.sick_slots() == anew

    mark_anew(anew[0])
    pool.mark_well(anew[0])
    await settle()
    assert hopeful.holds
    await hopeful.give_back()
    for slot in anew:
        pool.mark_sick(slot, "It is older than Monero 0.18.5.1.")
    with pytest.raises(NoSlotFreeError, match="serves the arbiters"):
        async with pool.lease(TRIO, "set-up", wait_seconds=1):
            pass
    assert pool.stats().free == 4


async def test_who_is_cancelled_while_the_processes_are_asked_gives_back(pool: SlotPool) -> None:
    holder = Holder(pool, TRIO)
    for _ in range(3):
        await asyncio.sleep(0)
        if pool.leases:
            break
    assert (holder.holds, pool.stats().leased) == (False, 3)
    holder.task.cancel()
    await settle()
    assert pool.stats().free == 6


async def test_a_slot_that_comes_back_sick_is_told_of_at_once(pool: SlotPool, clock: VirtualClock) -> None:
    waiting = asyncio.create_task(pool.until_there_is_one_to_look_at(1_000))
    await settle()
    assert not waiting.done()
    async with pool.lease(BUYER, "look", wait_seconds=1) as lease:
        lease.suspect(Role.BUYER, "another wallet is open")
    await settle()
    assert waiting.done()

    waiting = asyncio.create_task(pool.until_there_is_one_to_look_at(15))
    await clock.advance(15)
    assert waiting.done()


# With the fake process, and the inspection that marks it


class OneSlot:
    """A pool of one fake process, and a fault plan with one fault at most."""

    def __init__(self, clock: VirtualClock) -> None:
        self.next: dict[tuple[str, Phase], Fault] = {}
        self.process = FakeWalletRpc(
            "http://127.0.0.1:1",
            FakeDisk(),
            Random(1),
            network=Network.TESTNET,
            version=LEAST_SUPPORTED,
            faults=self.fault_of,
        )
        self.slot = Slot(0, Role.BUYER, self.process)
        self.pool = make_pool([self.slot], clock)

    async def fault_of(self, moment: Moment) -> Fault:
        return self.next.pop((moment.method, moment.phase), Fault.NONE)

    async def inspect(self) -> None:
        """As the service does it, of slots nobody uses."""
        await inspect_all([self.slot], self.pool, Network.TESTNET, self)

    async def knows_wallet(self, address: str) -> bool:
        return True

    async def recent_passwords(self, role: Role) -> list[str]:
        return []

    async def make_wallet_in_a_lease(self) -> None:
        async with self.pool.lease(BUYER, "work", wait_seconds=1):
            await self.process.create_wallet("w", "p")


@pytest_asyncio.fixture
async def one(clock: VirtualClock) -> AsyncIterator[OneSlot]:
    made = OneSlot(clock)
    yield made
    assert_books_balance(made.pool)
    await made.pool.aclose()


async def test_the_whole_way_of_a_killed_process_from_its_lease_to_its_next(one: OneSlot, clock: VirtualClock) -> None:
    await one.inspect()
    before = one.slot.mark
    one.next["create_wallet", Phase.ANSWERING] = Fault.KILL
    with pytest.raises(CallAbandonedError):
        await one.make_wallet_in_a_lease()
    await clock.advance(60)
    assert one.slot.resting_because is not None

    one.process.start()
    await clock.advance(15)
    assert one.pool.sick_slots() == (one.slot,)
    await one.inspect()

    assert one.pool.stats().free == 1
    assert one.slot.mark not in {None, before}
    async with one.pool.lease(BUYER, "look", wait_seconds=1) as lease:
        assert lease.slot(Role.BUYER) is one.slot


async def test_a_call_that_will_run_late_keeps_its_slot_resting_and_what_it_opened_is_closed_before_anybody_gets_it(
    one: OneSlot, clock: VirtualClock
) -> None:
    await one.inspect()
    one.next["create_wallet", Phase.ARRIVING] = Fault.LATE
    with pytest.raises(CallAbandonedError):
        await one.make_wallet_in_a_lease()
    await clock.advance(QUARANTINE_SECONDS - 1)
    assert one.pool.stats().sick == 1
    assert one.process.run_late_calls() == 1
    await clock.advance(1)
    assert one.pool.sick_slots() == (one.slot,)
    await one.inspect()
    assert one.pool.stats().free == 1
    with pytest.raises(NoWalletOpenError):
        await one.process.get_address()


async def test_a_call_of_an_inspection_that_died_with_its_process_costs_no_rest(one: OneSlot) -> None:
    await one.process.create_wallet("ours", "p")
    one.next["close_wallet", Phase.ARRIVING] = Fault.KILL
    await one.inspect()
    assert one.process.abandoned
    one.process.start()
    await one.inspect()
    assert one.pool.stats().free == 1


async def test_a_query_that_was_given_up_on_costs_no_rest(one: OneSlot) -> None:
    await one.inspect()
    one.next["get_address", Phase.ANSWERING] = Fault.LOST
    await one.make_wallet_in_a_lease()
    with pytest.raises(CallAbandonedError):
        await one.process.get_address()
    assert not one.process.abandoned
