"""What the pool's tests share: a clock that the test moves, and slots without processes."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence
from typing import cast

from monero_escrow.core.roles import TRIO, Role, role_of_slot
from monero_escrow.fleet.pool import Lease, SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.errors import CallAbandonedError
from monero_escrow.monero.ports import WalletRpc

QUARANTINE_SECONDS = 900.0
WAIT_SECONDS = 60.0
BUYER = frozenset({Role.BUYER})

PoolOf = Callable[[int], SlotPool]
"""Makes a pool of so many slots (the `pool_of` fixture)."""


class VirtualClock:
    """A `Clock` that stands still until `advance` is called."""

    def __init__(self) -> None:
        self._now = 1_000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = 0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._number += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._number, woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let this much time pass, waking each sleeper at its moment, and everybody act on it."""
        end = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._now, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
            await settle()
        self._now = end


async def settle() -> None:
    """Give every task its turns until each waits for something that only the test can make happen."""
    for _ in range(12):
        await asyncio.sleep(0)


class IdleRpc:
    """Stands in for a wallet-rpc process that is only asked for its marks.

    A test says when a call to it was given up on, whether it is `silent`, and when it was started anew.
    """

    def __init__(self, index: int) -> None:
        self.url = f"http://127.0.0.1:{18_082 + index}"
        self.abandoned = False
        self.abandoned_marks: frozenset[str] = frozenset()
        self.marks: frozenset[str] = frozenset()
        self.silent = False
        self.looks = 0

    def forget_abandoned(self) -> None:
        self.abandoned, self.abandoned_marks = False, frozenset()

    async def instance_marks(self) -> frozenset[str]:
        self.looks += 1
        await asyncio.sleep(0)
        if self.silent:
            raise CallAbandonedError(self.url, "set_log_categories", "no answer")
        return self.marks


def rpc_of(slot: Slot) -> IdleRpc:
    return cast("IdleRpc", slot.rpc)


def make_slots(count: int, *, marked: bool = False) -> list[Slot]:
    """Slots without processes; `marked` as an inspection leaves them."""
    slots = [Slot(index, role_of_slot(index), cast("WalletRpc", IdleRpc(index))) for index in range(count)]
    for slot in slots if marked else []:
        mark_anew(slot)
    return slots


def mark_anew(slot: Slot) -> None:
    """What an inspection does to a process without a mark."""
    slot.mark = f"escrow.{slot.index:06x}{slot.fence:06x}"
    rpc_of(slot).marks = frozenset({slot.mark})


def start_anew(slot: Slot) -> None:
    """The slot's process ends, and another is started in its place."""
    rpc_of(slot).marks = frozenset()
    rpc_of(slot).silent = False


def make_pool(
    slots: Sequence[Slot], clock: VirtualClock, *, quarantine_seconds: float = QUARANTINE_SECONDS
) -> SlotPool:
    return SlotPool(slots, clock, quarantine_seconds=quarantine_seconds)


def abandon_a_call(slot: Slot) -> None:
    """A call to the slot's process got no answer, and may still run."""
    rpc = rpc_of(slot)
    rpc.abandoned, rpc.abandoned_marks = True, rpc.marks


def assert_books_balance(pool: SlotPool) -> None:
    """Leased + free + sick = total, counted anew from the slots themselves, and nobody shares a slot."""
    leased = [slot for lease in pool.leases for slot in lease.slots.values()]
    assert len(leased) == len(set(leased)), "a slot is leased twice"
    idle = [slot for slot in pool.slots if slot not in leased]
    free = [slot for slot in idle if slot.sick is None and slot.resting_because is None]
    stats = pool.stats()
    assert (stats.total, stats.leased, stats.free) == (len(pool.slots), len(leased), len(free))
    assert stats.leased + stats.free + stats.sick == stats.total
    for role, count in stats.free_by_role.items():
        assert count == sum(slot.role is role for slot in free)


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


async def holding(pool: SlotPool, *wants: frozenset[Role]) -> list[Holder]:
    holders = [Holder(pool, roles) for roles in wants]
    await settle()
    return holders
