"""Lease and release: what the pool's books cost, what asking the process adds, and what a durable step adds.

Four things, each alone: the books in memory; the books and the question whether the process is still the one that was
inspected (to one in memory, which answers at once; a real one takes a round trip more, see `failover`); the same with
the journal's row made durable while the lease is held, as every step does; and 32 tasks on 16 slots.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from monero_escrow.bench.figures import Aim, Chart, Figure, Findings, On, Series, Unit, p50_and_p99
from monero_escrow.bench.run import Run
from monero_escrow.clock import SystemClock
from monero_escrow.core.address import Network
from monero_escrow.core.roles import TRIO, Role, role_of_slot
from monero_escrow.escrows.context import new_id
from monero_escrow.escrows.journal import Step
from monero_escrow.fleet.instance import identify
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.versions import MoneroVersion
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.store import SqlStore
from monero_escrow.store.trail_tables import OK

_VERSION = MoneroVersion(0, 18, 5, 3)
_SLOTS = 16
_TASKS = 32
_LEASES_A_TASK = 20
_PAGE_BYTES = 4096
_WAIT_SECONDS = 60.0
_ONE: frozenset[Role] = frozenset({Role.BUYER})

_BOOKS, _ASKED, _TRIO = "one slot, the books alone", "one slot, its process asked", "a trio, its processes asked"
_CROWD, _DURABLE = "32 tasks on 16 slots, the books alone", "one slot, with a durable row"
_DISK = "this disk: a page written and synchronised"


async def measure(run: Run) -> Findings:
    """All of them on one event loop, none beside another."""
    times, slow_times = run.pick(200, 20_000), run.pick(20, 2_000)
    run.teller.say("leasing in memory")
    books = await _uncontended(_pool(), _ONE, times)
    asked = await _uncontended(await _identified(_pool()), _ONE, times)
    trio = await _uncontended(await _identified(_pool()), TRIO, times)
    crowd = await _crowd(_pool(), run.pick(3, 50))
    run.teller.say("leasing with a durable row")
    durable = await _durable(run, slow_times)
    writes = await asyncio.to_thread(_synchronous_writes, run.folder, slow_times)
    in_memory, on_disk = Aim(20e-6), Aim(1e-3)
    everything = {_BOOKS: books, _ASKED: asked, _TRIO: trio, _CROWD: crowd, _DURABLE: durable, _DISK: writes}
    aims = {_BOOKS: in_memory, _CROWD: in_memory, _DURABLE: on_disk}
    figures: list[Figure] = []
    for name, values in everything.items():
        figures += p50_and_p99(name, values, Unit.SECONDS, On.MEMORY, (aims.get(name), None))
    return Findings(
        figures=tuple(figures),
        series=tuple(Series(name, Unit.SECONDS, tuple(values)) for name, values in everything.items()),
        chart=Chart.CURVES,
        notes=(
            "Leases are in memory: what is durable is the journal's row, written before the step runs and ended after.",
            f"{_CROWD}: time of the event loop a lease, not what one task waits; half of them always wait.",
            "The durable row is one transaction of SQLCipher that waits for the disk: beside it what the disk takes.",
        ),
    )


def _pool() -> SlotPool:
    rng = Random(16)
    slots = [
        Slot(
            index,
            role_of_slot(index),
            FakeWalletRpc(
                f"http://127.0.0.1:{40_000 + index}", FakeDisk(), rng, network=Network.TESTNET, version=_VERSION
            ),
        )
        for index in range(_SLOTS)
    ]
    return SlotPool(slots, SystemClock(), quarantine_seconds=_WAIT_SECONDS)


async def _identified(pool: SlotPool) -> SlotPool:
    """As after an inspection: every process is known again by its mark, and asked for it at each lease."""
    for slot in pool.slots:
        await identify(slot)
    return pool


async def _uncontended(pool: SlotPool, roles: frozenset[Role], times: int) -> list[float]:
    """Seconds of each lease and its release, with nobody else there."""
    return await _timed(times, lambda: _lease(pool, roles))


async def _lease(pool: SlotPool, roles: frozenset[Role]) -> None:
    async with pool.lease(roles, "bench", wait_seconds=_WAIT_SECONDS):
        pass


async def _timed(times: int, work: Callable[[], Awaitable[None]]) -> list[float]:
    values = []
    for _ in range(times):
        begun = time.perf_counter()
        await work()
        values.append(time.perf_counter() - begun)
    return values


async def _crowd(pool: SlotPool, times: int) -> list[float]:
    """Seconds of the event loop a lease takes: of so many runs of 32 tasks, each divided by its leases."""

    async def member(role: Role) -> None:
        for _ in range(_LEASES_A_TASK):
            async with pool.lease(frozenset({role}), "bench", wait_seconds=_WAIT_SECONDS):
                await asyncio.sleep(0)  # the holder does something, and the others find the slot taken

    async def crowd() -> None:
        await asyncio.gather(*(member(role_of_slot(number)) for number in range(_TASKS)))

    return [seconds / (_TASKS * _LEASES_A_TASK) for seconds in await _timed(times, crowd)]


def _synchronous_writes(folder: Path, times: int) -> list[float]:
    """Seconds of each write of a page that is on the disk when it is over: no durable row can be faster."""
    values = []
    with (folder / "page").open("wb", buffering=0) as file:
        for _ in range(times):
            begun = time.perf_counter()
            file.write(bytes(_PAGE_BYTES))
            os.fsync(file.fileno())
            values.append(time.perf_counter() - begun)
    return values


async def _durable(run: Run, times: int) -> list[float]:
    """Lease, write the intended step, release: what is held when the row is on the disk can be taken up again."""
    pool = await _identified(_pool())
    store = open_sqlcipher(run.folder / "lease.db", os.urandom(32), Network.TESTNET)
    try:
        return await _timed(times, lambda: _lease_with_row(pool, store))
    finally:
        store.close()


async def _lease_with_row(pool: SlotPool, store: SqlStore) -> None:
    async with pool.lease(_ONE, "bench", wait_seconds=_WAIT_SECONDS) as lease:
        slot, now = lease.slot(Role.BUYER).name, time.time()
        await store.write(
            lambda tx: tx.journal.end(
                tx.journal.intend(
                    escrow_id=None, subject_id=new_id(), name=Step.GATE, role=Role.BUYER, slot=slot, now=now
                ),
                OK,
                now,
            )
        )
