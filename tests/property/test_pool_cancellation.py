"""Whatever is cancelled, abandoned, sick, restarted or late, in whatever order: no slot is lost, none is held twice.

Slots join and drain meanwhile, some of them managed: who drains leaves, and never before its last holder is done.

Thousands of short lives of a pool, in which a seeded chance decides what happens next and after how many turns of the
event loop, so that cancellation strikes at every await: while waiting, just granted, while the processes are asked
whether they are still the same, holding. A failing life prints its seed. Then whole set-ups on the fake, cancelled in
every turn of the event loop from their first to their last.

`pytest -s tests/property/test_pool_cancellation.py` prints how many cancellations were tried: 10,000 at least.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar, cast

import pytest

from monero_escrow.config import load_settings
from monero_escrow.core.roles import ROLES, TRIO, Role, role_of_slot
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.set_up import set_up
from monero_escrow.fleet.inspection import inspect_all
from monero_escrow.fleet.pool import LeaseLostError, NoSlotFreeError, SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.errors import NoWalletOpenError
from monero_escrow.monero.fake.faults import Fault, Moment
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.versions import LEAST_FOR_MAINNET
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.rows import MASTER_KEY, NETWORK, escrow
from unit.slots import (
    QUARANTINE_SECONDS,
    VirtualClock,
    abandon_a_call,
    assert_books_balance,
    make_pool,
    make_slots,
    mark_anew,
    rpc_of,
    start_anew,
)

T = TypeVar("T")

LIVES = 4_500
STEPS = 30
LEAST_CANCELLATIONS = 10_000
LONGEST_WAIT_SECONDS = 100.0
REST_SECONDS = 30.0


class Life:
    """One pool, and a crowd that leases from it, with everything going wrong that can."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = VirtualClock()
        self.pool: SlotPool = make_pool(
            make_slots(self.chance.randint(3, 8), marked=True), self.clock, quarantine_seconds=REST_SECONDS
        )
        self.draining: set[Slot] = set()
        self.pool.on_drain = self.draining.add
        self.workers: list[asyncio.Task[None]] = []
        self.finish: list[asyncio.Event] = []
        self.held: set[Slot] = set()
        self.joined = len(self.pool.slots) - 1
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
            self.happened["cancelled holding" if held else "cancelled before holding"] += 1
            raise

    async def step(self) -> None:
        match self.chance.choice(
            (
                *("come", "come", "come", "finish", "finish", "cancel", "cancel"),
                *("abandon", "suspect", "sick", "well", "restart", "silence", "wait", "join", "drain"),
            )
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
            case "cancel" if living := [worker for worker in self.workers if not worker.done()]:
                self.chance.choice(living).cancel()
            case "abandon" if self.held:
                abandon_a_call(self.chance.choice(sorted(self.held, key=lambda slot: slot.index)))
                self.happened["abandoned"] += 1
            case "suspect" if self.pool.leases:
                lease = self.chance.choice(
                    sorted(self.pool.leases, key=lambda lease: min(slot.index for slot in lease.slots.values()))
                )
                lease.suspect(self.chance.choice(sorted(lease.slots)), "another wallet is open")
                self.happened["suspected"] += 1
            case "join":
                self.pool.add(self.new_slot())
                self.happened["joined"] += 1
            case "drain" if self.pool.slots:
                self.pool.drain(self.chance.choice(self.pool.slots))
                self.happened["drained"] += 1
            case "sick" if self.pool.slots:
                self.pool.mark_sick(self.chance.choice(self.pool.slots), "unreachable")
                self.happened["sick"] += 1
            case "well" if self.pool.slots:
                self.looked_at(self.chance.choice(self.pool.slots))
            case "restart" if self.pool.slots:
                start_anew(self.chance.choice(self.pool.slots))
                self.happened["restarted"] += 1
            case "silence" if self.pool.slots:
                rpc_of(self.chance.choice(self.pool.slots)).silent = True
                self.happened["silent"] += 1
            case "wait":
                await self.clock.advance(self.chance.choice((1.0, REST_SECONDS, LONGEST_WAIT_SECONDS)))
        for _ in range(self.chance.choice((0, 0, 0, 1, 1, 2, 3))):
            await asyncio.sleep(0)

    def new_slot(self) -> Slot:
        """One more, as an inspection leaves it, or not looked at yet; ours to end, or somebody else's."""
        self.joined += 1
        slot = make_slots(self.joined + 1)[self.joined]
        mark_anew(slot)
        slot.managed = self.chance.random() < 0.5
        slot.sick = self.chance.choice((None, None, "not looked at yet"))
        return slot

    def looked_at(self, slot: Slot) -> None:
        """The process answers again, has its mark, and is well: as after an inspection."""
        if slot.mark not in rpc_of(slot).marks:
            mark_anew(slot)
        rpc_of(slot).silent = False
        self.pool.mark_well(slot)

    def check(self) -> None:
        assert_books_balance(self.pool)
        leased = {slot for lease in self.pool.leases for slot in lease.slots.values()}
        assert self.held <= leased, "somebody holds what is not leased to them"
        assert leased <= set(self.pool.slots), "a slot left while somebody held it"
        for slot in self.pool.slots:
            assert slot.fence >= self.fences.get(slot, 0), "a fence went back"
            self.fences[slot] = slot.fence
            assert not slot.draining or slot in self.draining
            if slot.draining:
                assert slot in leased or slot.resting_because is not None, "a slot nobody needs stays"

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
            await self.clock.advance(REST_SECONDS + LONGEST_WAIT_SECONDS)
            for slot in self.pool.slots:
                self.looked_at(slot)
        await self.clock.advance(REST_SECONDS)
        failures = [
            outcome
            for outcome in await asyncio.gather(*self.workers, return_exceptions=True)
            if outcome is not None and not isinstance(outcome, asyncio.CancelledError)
        ]
        assert failures == []
        self.check()
        assert not self.draining & set(self.pool.slots), "a slot that drains never left"
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


@pytest.fixture(scope="module")
def tried() -> Iterator[Counter[str]]:
    """What was tried in this module; said at the end (shown with `-s`)."""
    counted: Counter[str] = Counter()
    yield counted
    print(f"\n{counted.total()} cancellations, 0 slots lost: {dict(counted)}")  # noqa: T201


async def test_no_interleaving_of_leases_cancellations_and_failures_loses_a_slot(tried: Counter[str]) -> None:
    happened: Counter[str] = Counter()
    for seed in range(LIVES):
        try:
            happened += await Life(seed).run()
        except AssertionError as error:
            error.add_note(f"Life({seed})")
            raise

    for kind in ("finished", "refused", "abandoned", "suspected", "sick", "restarted", "silent", "joined", "drained"):
        assert happened[kind] > 500, f"too few lives tried what happens when one is {kind}"
    cancelled = Counter({kind: count for kind, count in happened.items() if kind.startswith("cancelled")})
    assert len(cancelled) == 2
    assert cancelled.total() >= LEAST_CANCELLATIONS
    tried.update(cancelled)


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
    await asyncio.wait([victim])
    while pool.sick_slots():  # those a holder was cut off from
        for slot in pool.sick_slots():
            pool.mark_well(slot)
        await asyncio.sleep(0)
    await asyncio.gather(first, *behind)

    assert victim.cancelled()
    assert_books_balance(pool)
    assert pool.stats().free == 3


# Set-ups


class InlineStore(SqlStore):
    """The real engine without threads, so that a turn of the event loop is always the same turn."""

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return self.read_now(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        done = self.write_now(work)
        await asyncio.sleep(0)  # where a cancellation strikes, as on the real one: after the commit
        return done


async def a_turn_a_call(_moment: Moment) -> Fault:
    """Every call takes a turn to arrive, and another to answer."""
    await asyncio.sleep(0)
    return Fault.NONE


class OwnBooks:
    """Every wallet found open is ours."""

    async def knows_wallet(self, _address: str) -> bool:
        return True

    async def recent_passwords(self, _role: Role) -> list[str]:
        return []


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    """Three fake processes, and a database."""
    opened = open_sqlcipher(tmp_path / "escrow.db", MASTER_KEY, NETWORK)
    store = InlineStore(opened._engine, opened._sealer, opened._begin, opened._writer)
    processes = [
        FakeWalletRpc(
            f"http://127.0.0.1:{index}",
            FakeDisk(),
            random.Random(index),
            network=NETWORK,
            version=LEAST_FOR_MAINNET,
            faults=a_turn_a_call,
        )
        for index in range(len(ROLES))
    ]
    slots = [Slot(index, role_of_slot(index), process) for index, process in enumerate(processes)]
    clock = VirtualClock()
    settings = load_settings(monero_network=NETWORK.value, data_dir=tmp_path)
    yield Context(settings, store, make_pool(slots, clock), None, clock)
    opened.close()


async def test_a_set_up_cancelled_in_any_turn_loses_no_slot(ctx: Context, tried: Counter[str]) -> None:
    await inspect_all(ctx.pool.slots, ctx.pool, NETWORK, OwnBooks())
    for turns in itertools.count():
        name = f"escrow-{turns}"
        await ctx.store.write(lambda tx, name=name: tx.escrows.add(escrow(name)))  # type: ignore[misc]
        task = asyncio.create_task(set_up(ctx, name))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await everything_comes_back(ctx, turns)
        if not task.cancelled():
            task.result()
            break
        tried["cancelled in a set-up"] += 1
    assert tried["cancelled in a set-up"] > 50
    await ctx.pool.aclose()


async def everything_comes_back(ctx: Context, turns: int) -> None:
    """What was given up on runs; rested and looked at, every process is free and has nothing open."""
    assert_books_balance(ctx.pool)
    for slot in ctx.pool.slots:
        cast("FakeWalletRpc", slot.rpc).run_late_calls()
    await cast("VirtualClock", ctx.clock).advance(QUARANTINE_SECONDS)
    await inspect_all(ctx.pool.sick_slots(), ctx.pool, NETWORK, OwnBooks())
    assert ctx.pool.stats().free == len(ROLES), f"cancelled in turn {turns}: {ctx.pool!r}"
    for slot in ctx.pool.slots:
        with pytest.raises(NoWalletOpenError):
            await slot.rpc.get_address()
