"""What is around the services of a simulation, one or several: the chain, who pays on it, and who looks on."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, Self, TypeVar

from monero_escrow.core.address import Network
from monero_escrow.core.errors import EscrowError
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.monero.fake.faults import FaultPlan, no_faults
from monero_escrow.monero.fake.private_chain import FakePrivateChain
from monero_escrow.monero.versions import MoneroVersion
from simulation.fate import ServiceDiedError
from simulation.payments import Payments
from simulation.processes import WatchfulLedger
from simulation.virtual_time import VirtualClock
from simulation.watch import Watch

T = TypeVar("T")

VERSION = MoneroVersion.parse("0.18.5.3")
NETWORK = Network.STAGENET


class Surroundings(ABC):
    """One run's. Use `async with`; the services are tasks of its own."""

    clock: VirtualClock
    """The true time, or that of the only service."""

    def __init__(
        self,
        seed: int | str,
        make_watch: Callable[[FakePrivateChain], Watch],
        *,
        daemon_faults: FaultPlan = no_faults,
    ) -> None:
        self.rng = Random(f"world {seed}")
        self.ledger = WatchfulLedger()
        self.monero = FakePrivateChain(
            Random(f"chain {seed}"),
            VERSION,
            network=NETWORK,
            ledger=self.ledger,
            faults=daemon_faults,
            now=VirtualClock().now,
        )
        self.watch = make_watch(self.monero)
        self.payments = Payments(self)
        self.broken: list[str] = []
        """What must never happen and was seen on the way."""
        self.said: list[str] = []
        """What callers were told went wrong."""
        self._tasks: list[asyncio.Task[None]] = []

    @abstractmethod
    def begin(self) -> None:
        """The chain is there: start the services."""

    @abstractmethod
    async def request(self, work: Callable[[Context], Awaitable[T]]) -> T | None:
        """A request to a service: its answer, or None if it refused, was down, or died before it answered."""

    async def _ask(
        self,
        conductor: Conductor,
        work: Callable[[Context], Awaitable[T]],
        under_way: set[asyncio.Task[Any]],
    ) -> T | None:
        """Ask this one, as a task that dies with it."""

        async def run() -> T:
            return await work(conductor.ctx)

        task = asyncio.create_task(run())
        under_way.add(task)
        await asyncio.wait([task])
        under_way.discard(task)
        if task.cancelled():
            return None
        error = task.exception()
        if isinstance(error, EscrowError):
            self.said += [str(error), error.public_message, error.what_to_do]
        if isinstance(error, EscrowError | ServiceDiedError):
            return None
        return task.result()

    async def __aenter__(self) -> Self:
        await self.monero.mine_until_spendable()
        self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError):
                raise ended

    def also(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this beside the services, until the end."""
        self._tasks.append(asyncio.create_task(work))

    def check_tasks(self) -> None:
        """Raise what ended one of the tasks."""
        for task in self._tasks:
            if task.done():
                task.result()


async def inline(work: Callable[..., T], *arguments: object) -> T:
    """In virtual time nothing happens beside the loop."""
    return work(*arguments)
