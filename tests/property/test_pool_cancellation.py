"""Whatever is cancelled, abandoned, sick or late, and in whatever order: no slot is lost, and none is held twice.

Thousands of short lives of a pool. A seeded chance decides what happens next and after how many turns of the event
loop, so that cancellation strikes at every await: while waiting, just granted, holding. A failing life prints its seed.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from monero_escrow.core.roles import ROLES, TRIO, Role
from monero_escrow.fleet.pool import LeaseLostError, NoSlotFreeError, SlotPool
from monero_escrow.fleet.slot import Slot
from unit.slots import QUARANTINE_SECONDS, VirtualClock, abandon_a_call, assert_books_balance, make_pool, make_slots

LIVES = 3_000
STEPS = 25
LONGEST_WAIT_SECONDS = 100.0


class Life:
    """One pool, and a crowd that leases from it, with everything going wrong that can."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = VirtualClock()
        self.pool: SlotPool = make_pool(make_slots(self.chance.randint(3, 8)), self.clock)
        self.workers: list[asyncio.Task[None]] = []
        self.finish: list[asyncio.Event] = []
        self.held: set[Slot] = set()
        self.fences = {slot: slot.fence for slot in self.pool.slots}
        self.happened: Counter[str] = Counter()

    async def worker(self, roles: frozenset[Role], finish: asyncio.Event) -> None:
        wait_seconds = self.chance.uniform(0, LONGEST_WAIT_SECONDS)
        held: set[Slot] = set()
        try:
            async with self.pool.lease(roles, "work", wait_seconds=wait_seconds) as lease:
                held = {lease.slot(role) for role in roles}
                assert not held & self.held, "two hold the same slot"
                self.held |= held
                try:
                    await finish.wait()
                    assert {lease.slot(role) for role in roles} == held, "the lease was lost while it was held"
                finally:
                    self.held -= held
                self.happened["finished"] += 1
            with pytest.raises(LeaseLostError):
                lease.slot(next(iter(roles)))
        except NoSlotFreeError:
            self.happened["refused"] += 1
        except asyncio.CancelledError:
            self.happened["cancelled holding" if held else "cancelled waiting"] += 1
            raise

    async def step(self) -> None:
        match self.chance.choice(
            ("come", "come", "come", "finish", "finish", "cancel", "abandon", "suspect", "sick", "well", "wait")
        ):
            case "come":
                roles = (
                    TRIO
                    if self.chance.random() < 0.5
                    else frozenset(self.chance.sample(ROLES, self.chance.randint(1, 2)))
                )
                self.finish.append(asyncio.Event())
                self.workers.append(asyncio.create_task(self.worker(roles, self.finish[-1])))
            case "finish" if self.finish:
                self.chance.choice(self.finish).set()
            case "cancel" if self.workers:
                self.chance.choice(self.workers).cancel()
            case "abandon" if self.held:
                abandon_a_call(self.chance.choice(sorted(self.held, key=lambda slot: slot.index)))
                self.happened["abandoned"] += 1
            case "suspect" if self.pool.leases:
                lease = self.chance.choice(
                    sorted(self.pool.leases, key=lambda lease: min(slot.index for slot in lease.slots.values()))
                )
                lease.suspect(self.chance.choice(sorted(lease.slots)), "another wallet is open")
                self.happened["suspected"] += 1
            case "sick":
                self.pool.mark_sick(self.chance.choice(self.pool.slots), "unreachable")
                self.happened["sick"] += 1
            case "well":
                self.pool.mark_well(self.chance.choice(self.pool.slots))
            case "wait":
                await self.clock.advance(self.chance.choice((1.0, LONGEST_WAIT_SECONDS, QUARANTINE_SECONDS)))
        for _ in range(self.chance.choice((0, 0, 0, 1, 1, 2, 3))):
            await asyncio.sleep(0)

    def check(self) -> None:
        assert_books_balance(self.pool)
        leased = {slot for lease in self.pool.leases for slot in lease.slots.values()}
        assert self.held <= leased, "somebody holds what is not leased to them"
        for slot in self.pool.slots:
            assert slot.fence >= self.fences[slot], "a fence went back"
            self.fences[slot] = slot.fence

    async def run(self) -> Counter[str]:
        for _ in range(STEPS):
            await self.step()
            self.check()
        return await self.end()

    async def end(self) -> Counter[str]:
        """Everybody goes home, every slot gets well and has rested: then all must be there, and work."""
        for worker in self.workers:
            if self.chance.random() < 0.5:
                worker.cancel()
        for finish in self.finish:
            finish.set()
        for _ in range(3):  # a slot that is looked at while it rests may have to rest once more
            await self.clock.advance(QUARANTINE_SECONDS + LONGEST_WAIT_SECONDS)
            for slot in self.pool.slots:
                self.pool.mark_well(slot)
        await self.clock.advance(QUARANTINE_SECONDS)
        failures = [
            outcome
            for outcome in await asyncio.gather(*self.workers, return_exceptions=True)
            if outcome is not None and not isinstance(outcome, asyncio.CancelledError)
        ]
        assert failures == []
        self.check()
        stats = self.pool.stats()
        assert (stats.free, stats.leased, stats.sick) == (stats.total, 0, 0), "a slot was lost"
        await self.everything_can_be_leased()
        return self.happened

    async def everything_can_be_leased(self) -> None:
        seen: set[Slot] = set()
        for role in ROLES:
            for _ in range(sum(slot.role is role for slot in self.pool.slots)):
                async with self.pool.lease(frozenset({role}), "last look", wait_seconds=1) as lease:
                    seen.add(lease.slot(role))
        assert seen == set(self.pool.slots), "a slot no longer takes its turn"


async def test_no_interleaving_of_leases_cancellations_and_failures_loses_a_slot() -> None:
    happened: Counter[str] = Counter()
    for seed in range(LIVES):
        try:
            happened += await Life(seed).run()
        except AssertionError as error:
            error.add_note(f"Life({seed})")
            raise

    for kind in ("finished", "refused", "cancelled waiting", "cancelled holding", "abandoned", "suspected", "sick"):
        assert happened[kind] > 500, f"too few lives tried what happens when one is {kind}"


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("others", [0, 1, 2])
async def test_cancellation_after_any_number_of_turns_loses_no_slot(turns: int, others: int) -> None:
    """The same moments one by one: a waiter, with some behind it, is cancelled so many turns after a release."""
    pool = make_pool(make_slots(3), VirtualClock())
    release = asyncio.Event()

    async def hold(until: asyncio.Event) -> None:
        async with pool.lease(TRIO, "work", wait_seconds=1):
            await until.wait()

    first = asyncio.create_task(hold(release))
    await asyncio.sleep(0)
    at_once = asyncio.Event()
    at_once.set()
    victim = asyncio.create_task(hold(asyncio.Event()))
    behind = [asyncio.create_task(hold(at_once)) for _ in range(others)]
    await asyncio.sleep(0)
    release.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    victim.cancel()
    await asyncio.gather(first, victim, *behind, return_exceptions=True)

    assert victim.cancelled()
    assert all(task.exception() is None for task in (first, *behind))
    assert_books_balance(pool)
    assert pool.stats().free == 3
