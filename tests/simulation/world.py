"""The whole service on the fake, as `running_service` puts it together, and everything around it that lives and dies.

The service is the real one: database file, pool, inspection, conductor. Only its ports are others: time is virtual, the
processes and the daemon are the fake's, and the store works inline, so that one seed always gives the same run.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch

from monero_escrow import service
from monero_escrow.config import Settings, load_settings
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.roles import ROLES, role_of_slot
from monero_escrow.escrows import scan_chain
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.store.opening import open_sqlcipher
from simulation.fate import Fate, ServiceClock
from simulation.processes import SimulatedProcess
from simulation.storage import InlineStore, open_quickly
from simulation.surroundings import NETWORK, Surroundings, inline
from simulation.watch import Watch

T = TypeVar("T")

SWEEP_SECONDS = 3_600
"""Often enough that a run sees every escrow swept before it ends."""

_ONE_KEY = bytes(range(32))
_FIRST_PORT = 41_000


class World(Surroundings):
    """One run's world. Use `async with`; the service is a task of its own.

    `quick` opens the database without migrations, and lets the service start anew at once; with `shared_disks` all
    processes of a class have one wallet folder; `twice` is the store's.
    """

    def __init__(
        self,
        seed: int | str,
        folder: Path,
        make_fate: Callable[[World], Fate],
        *,
        slots: int = 9,
        quick: bool = False,
        shared_disks: bool = False,
        amid_work: float = 0.0,
        look_every_commits: int = 1,
        twice: bool = False,
        **settings: object,
    ) -> None:
        self.fate = make_fate(self)
        self.clock: ServiceClock = ServiceClock(self.fate)
        super().__init__(
            seed,
            lambda monero: Watch(monero.chain, every_commits=look_every_commits),
            daemon_faults=self.fate,
        )
        self._keys = Random(f"keys {seed}")
        self._quick = quick
        self._twice = twice
        self._places: dict[str, str] = {}
        self._disks = {role: FakeDisk() for role in ROLES} if shared_disks else {}
        self.processes = [self._process(seed, number, amid_work) for number in range(slots)]
        self.settings: Settings = load_settings(
            monero_network=NETWORK.value,
            monero_rpc_urls=",".join(process.url for process in self.processes),
            monero_daemon_url=self.monero.daemon.url,
            db_encryption_key=(_ONE_KEY if quick else Random(seed).randbytes(32)).hex(),
            data_dir=folder,
            chain_poll_seconds=20,
            deposit_sweep_seconds=SWEEP_SECONDS,
            **{"stock_target": 0, **settings},
        )
        self.conductor: Conductor | None = None
        self.starts = 0
        self.started = 0.0
        self._requests: set[asyncio.Task[Any]] = set()

    def _process(self, seed: int | str, number: int, amid_work: float) -> SimulatedProcess:
        process = SimulatedProcess(
            f"http://127.0.0.1:{_FIRST_PORT + number}",
            self.monero,
            self.ledger,
            self.fate,
            Random(f"process {seed}/{number}"),
            network=NETWORK,
            disk=self._disks[role_of_slot(number)] if self._disks else None,
            amid_work=amid_work,
        )
        process.listener = self.watch
        self._places[process.url] = role_of_slot(number).value
        return process

    def place_of(self, url: str) -> str:
        """Whom a call goes to: "buyer", "vendor", "arbiter" or "daemon"."""
        return self._places.get(url, "daemon")

    def begin(self) -> None:
        self.started = self.clock.now()
        self.also(self._run_service())

    async def request(self, work: Callable[[Context], Awaitable[T]]) -> T | None:
        return None if self.conductor is None else await self._ask(self.conductor, work, self._requests)

    # --- the service ---

    async def _run_service(self) -> None:
        """Start it, let it die when its fate says so, and start it again on what it left."""
        while True:
            self.starts += 1
            self.fate.service_starts()
            running = asyncio.create_task(self._serve())
            try:
                crashed = asyncio.create_task(self.fate.crash_wanted.wait())
                await asyncio.wait([running, crashed], return_when=asyncio.FIRST_COMPLETED)
                crashed.cancel()
                ended_by_itself = running.done() and not self.fate.crash_wanted.is_set()
            finally:
                self.conductor = None
                self.watch.service_ends()
                for task in (running, *self._requests):
                    task.cancel()
                ends = await asyncio.gather(running, *self._requests, return_exceptions=True)
            if ended_by_itself and not isinstance(ends[0], EscrowError):
                self.broken.append(f"The service ended by itself: {ends[0]!r}")
                raise AssertionError(self.broken[-1])
            self.fate.resume()
            for process in self.processes:
                process.service_died()
            await asyncio.sleep(self.rng.uniform(0.5, 5 if self._quick else 90))

    async def _serve(self) -> None:
        def slots_of(_settings: Settings, **_: object) -> list[Slot]:
            return [Slot(index, role_of_slot(index), process) for index, process in enumerate(self.processes)]

        with ExitStack() as stack:
            stack.enter_context(patch.object(service, "open_store", self._open_store))
            stack.enter_context(patch.object(service, "slots_of", slots_of))
            stack.enter_context(patch.object(scan_chain, "in_thread", inline))
            stack.enter_context(patch.object(service, "DaemonClient", lambda _url, **_: self.monero.daemon))
            stack.enter_context(patch.object(asyncio, "to_thread", inline))
            stack.enter_context(patch.object(service, "Context", partial(Context, entropy=self._keys.randbytes)))
            async with service.running_service(self.settings, self.clock) as conductor:
                self.conductor = conductor
                self.watch.service_starts(conductor.ctx.pool)
                await asyncio.get_running_loop().create_future()

    def second_copy(self) -> AbstractAsyncContextManager[Conductor]:
        """The service, started on the same database while another one runs."""
        return service.running_service(self.settings, self.clock)

    def _open_store(self, settings: Settings) -> InlineStore:
        path, key, network = settings.database_path, settings.master_key(), settings.monero_network
        if self._quick:
            return open_quickly(path, key, network, self.fate, self.watch)
        opened = open_sqlcipher(path, key, network)
        return InlineStore(opened._engine, opened._sealer, self.fate, self.watch, twice=self._twice)


@contextmanager
def repeatable(seed: int | str) -> Iterator[None]:
    """Identifiers are drawn from the seed, so that the escrow a look is due for is the same in every run."""
    rng = Random(f"identifiers {seed}")
    with (
        patch.object(secrets, "token_hex", lambda count=32: rng.randbytes(count).hex()),
        patch.object(secrets, "token_bytes", lambda count=32: rng.randbytes(count)),
        patch("os.urandom", rng.randbytes),
    ):
        yield
