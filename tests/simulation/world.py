"""The whole service on the fake, as `running_service` puts it together, and everything around it that lives and dies.

The service is the real one: database file, pool, inspection, conductor. Only its ports are others: time is virtual, the
processes and the daemon are the fake's, and the store works inline, so that one seed always gives the same run.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch

from monero_escrow import service
from monero_escrow.config import Settings, load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.roles import role_of_slot
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.fake.alarms import NonceLedger
from monero_escrow.monero.fake.chain import Transaction as ChainTransaction
from monero_escrow.monero.fake.keys import read_address
from monero_escrow.monero.fake.private_chain import FakePrivateChain
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.versions import MoneroVersion
from monero_escrow.store.store import SqlStore, Transaction, open_sqlcipher
from simulation.virtual_time import VirtualClock
from simulation.weather import Climate, ServiceDiedError, Weather
from unit.slots import assert_books_balance

T = TypeVar("T")

SLOTS = 9
BLOCK_SECONDS = 120.0
_VERSION = MoneroVersion.parse("0.18.5.3")


class WatchfulLedger(NonceLedger):
    """Remembers that it sounded the alarm: whoever asked might swallow the error."""

    def __init__(self) -> None:
        super().__init__()
        self.alarms: list[str] = []
        self.nonces_used = 0

    def signed(self, nonce: str, transaction: str) -> None:
        self.nonces_used += 1
        try:
            super().signed(nonce, transaction)
        except AssertionError as error:
            self.alarms.append(str(error))
            raise


class InlineStore(SqlStore):
    """The real engine on its real file, without threads; the service can die before and after each commit."""

    weather: Weather

    async def read(self, work: Callable[[Transaction], T]) -> T:
        if self.weather.dead:
            raise ServiceDiedError
        self.weather.database()
        return self._transact(work, False)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        self.weather.boundary("before a commit")
        self.weather.database()
        result = self._transact(work, True)
        self.weather.boundary("after a commit")
        await asyncio.sleep(0)  # where a cancellation strikes, as on the real one: after the commit
        return result


class World:
    """One seed's world. Use `async with`; `run_service` is its own task, as are chain and keeper."""

    def __init__(self, seed: int, folder: Path, climate: Climate | None = None) -> None:
        self.rng = Random(f"world {seed}")
        self._keys = Random(f"keys {seed}")
        self.clock = VirtualClock()
        self.ledger = WatchfulLedger()
        self.weather = Weather(Random(f"weather {seed}"), lambda: self.monero.daemon.url, climate)
        self.monero = FakePrivateChain(
            Random(f"chain {seed}"),
            _VERSION,
            network=Network.STAGENET,
            ledger=self.ledger,
            faults=self.weather,
            now=self.clock.now,
        )
        self.processes: list[FakeWalletRpc] = [self.monero.wallet_rpc() for _ in range(SLOTS)]
        self.settings: Settings = load_settings(
            monero_network="stagenet",
            monero_rpc_urls=",".join(process.url for process in self.processes),
            monero_daemon_url=self.monero.daemon.url,
            db_encryption_key=Random(seed).randbytes(32).hex(),
            data_dir=folder,
            chain_poll_seconds=20,
            deposit_poll_seconds=600,
        )
        self.conductor: Conductor | None = None
        self.starts = 0
        self.broken: list[str] = []
        """What must never happen and was seen on the way."""
        self._requests: set[asyncio.Task[Any]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> World:
        await self.monero.mine_until_spendable()
        for work in (self._run_service(), self._mine(), self._keep_processes(), self._look_at_books()):
            self._tasks.append(asyncio.create_task(work))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError):
                raise ended

    def check_tasks(self) -> None:
        """Raise what ended one of the world's own tasks."""
        for task in self._tasks:
            if task.done():
                task.result()

    # --- what a caller of the service sees ---

    async def request(self, work: Callable[[Context], Awaitable[T]]) -> T | None:
        """A request to the service: its answer, or None if it refused, was down, or died before it answered."""
        conductor = self.conductor
        if conductor is None:
            return None

        async def run() -> T:
            return await work(conductor.ctx)

        task = asyncio.create_task(run())
        self._requests.add(task)
        await asyncio.wait([task])
        self._requests.discard(task)
        if task.cancelled():
            return None
        error = task.exception()
        if isinstance(error, EscrowError | ServiceDiedError):
            return None
        return task.result()

    # --- the service ---

    async def _run_service(self) -> None:
        """Start it, let it die when the weather says so, and start it again on what it left."""
        while True:
            for process in self.processes:
                process.run_late_calls()  # one thread: what the last service sent runs before what this one sends
                process.forget_abandoned()
            self.starts += 1
            self.weather.service_starts()
            running = asyncio.create_task(self._serve())
            try:
                crashed = asyncio.create_task(self.weather.crash_wanted.wait())
                await asyncio.wait([running, crashed], return_when=asyncio.FIRST_COMPLETED)
                crashed.cancel()
                ended_by_itself = running.done() and not self.weather.crash_wanted.is_set()
            finally:
                self.conductor = None
                for task in (running, *self._requests):
                    task.cancel()
                ends = await asyncio.gather(running, *self._requests, return_exceptions=True)
            if ended_by_itself:
                self.broken.append(f"The service ended by itself: {ends[0]!r}")
                raise AssertionError(self.broken[-1])
            await self.clock.sleep(self.rng.uniform(0.5, 90))

    async def _serve(self) -> None:
        def slots_of(_settings: Settings) -> list[Slot]:
            return [Slot(index, role_of_slot(index), process) for index, process in enumerate(self.processes)]

        with ExitStack() as stack:
            stack.enter_context(patch.object(service, "open_store", self._open_store))
            stack.enter_context(patch.object(service, "slots_of", slots_of))
            stack.enter_context(patch.object(service, "DaemonClient", lambda _url: self.monero.daemon))
            stack.enter_context(patch.object(service, "Context", partial(Context, entropy=self._keys.randbytes)))
            async with service.running_service(self.settings, self.clock) as conductor:
                self.conductor = conductor
                await asyncio.get_running_loop().create_future()

    def _open_store(self, settings: Settings) -> SqlStore:
        opened = open_sqlcipher(settings.database_path, settings.master_key(), settings.monero_network)
        store = InlineStore(opened._engine, opened._sealer)
        store.weather = self.weather
        return store

    # --- what goes on around it ---

    async def _mine(self) -> None:
        """A block about every two minutes; now and then some are replaced, or the daemon is away or behind."""
        while True:
            await self.clock.sleep(min(self.rng.expovariate(1 / BLOCK_SECONDS), 10 * BLOCK_SECONDS))
            await self.monero.mine(1)
            if self.weather.calm:
                continue
            await self._forget_payouts()
            if self.rng.random() >= self.weather.climate.of_block:
                continue
            trouble = self.rng.choice(("reorganisation", "daemon down for a while", "daemon behind for a while"))
            self.weather.struck[trouble] += 1
            if trouble == "reorganisation":
                await self.monero.reorganise(self.rng.randint(1, 3))
                continue
            daemon = self.monero.daemon
            daemon.reachable = trouble != "daemon down for a while"
            daemon.synchronized = trouble != "daemon behind for a while"
            await self.clock.sleep(self.rng.uniform(30, 600))
            daemon.reachable = daemon.synchronized = True

    async def _forget_payouts(self) -> None:
        """A fork without a payout that was mined of late, and no node that kept it."""
        chain, miner = self.monero.chain, read_address(self.monero.miner.address, Network.STAGENET)
        mined = [tx for block in chain.blocks_from(chain.height - 3) for tx in block.transactions]
        payouts = [tx.txid for tx in mined if not tx.is_coinbase and not self._spends_of(tx, miner.public_spend_key)]
        if not payouts or self.rng.random() >= self.weather.climate.of_payout_in_pool:
            return
        self.weather.struck["payout forgotten by the network"] += 1
        chain.pop(3)
        for txid in payouts:
            chain.pool.pop(txid, None)
        await self.monero.mine(4)

    def _spends_of(self, transaction: ChainTransaction, spend_key: bytes) -> bool:
        places = [self.monero.chain.place(spent) for spent in transaction.spends]
        return any(place is not None and place.output.destination == spend_key.hex() for place in places)

    async def _keep_processes(self) -> None:
        """Whatever died is started again; what was given up on takes effect, sooner than a quarantine ends."""
        while True:
            await self.clock.sleep(self.rng.uniform(5, 400))
            for process in self.processes:
                process.run_late_calls()
                if not process.running:
                    process.start()

    async def _look_at_books(self) -> None:
        while True:
            await self.clock.sleep(17)
            if self.conductor is not None and not self.weather.dead:
                assert_books_balance(self.conductor.ctx.pool)


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Identifiers are drawn from the seed, so that the escrow a look is due for is the same in every run."""
    rng = Random(f"identifiers {seed}")
    with (
        patch.object(secrets, "token_hex", lambda count=32: rng.randbytes(count).hex()),
        patch.object(secrets, "token_bytes", lambda count=32: rng.randbytes(count)),
        patch("os.urandom", rng.randbytes),
    ):
        yield
