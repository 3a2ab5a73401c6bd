"""Several nodes in one event loop, each as `running_service` puts it together, around one database server.

Each has its own fake wallet-rpc processes on disks of their own, its own folder, clocks and connection to the daemon.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar
from unittest.mock import patch

from monero_escrow import membership, service
from monero_escrow.config import Settings
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.roles import role_of_slot
from monero_escrow.escrows import scan_chain
from monero_escrow.escrows.context import Context
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.fake.daemon import FakeDaemon
from simulation.claims_watch import ClaimsWatch
from simulation.server import NodeStore, SimulatedServer
from simulation.simulated_node import SimulatedBell, SimulatedNode
from simulation.surroundings import NETWORK, Surroundings, inline
from simulation.virtual_time import VirtualClock

T = TypeVar("T")

_KEY = bytes(range(32))
_PROCESSES_DIE_TOO = 0.4
_RUNS_LATE = 0.7


class Cluster(Surroundings):
    """One run's nodes. `calm` ends every trouble."""

    watch: ClaimsWatch

    def __init__(
        self,
        seed: int | str,
        folder: Path,
        *,
        nodes: int,
        slots: int,
        lease_seconds: float,
        look_every_commits: int = 1,
    ) -> None:
        self.clock = VirtualClock()
        self.struck: Counter[str] = Counter()
        self.nodes: list[SimulatedNode] = []
        super().__init__(
            seed, lambda monero: ClaimsWatch(monero.chain, lambda: self.nodes, every_commits=look_every_commits)
        )
        self.lease_seconds = lease_seconds
        self.server = SimulatedServer(folder, _KEY, NETWORK.value)
        settings = {
            "monero_network": NETWORK.value,
            "db_encryption_key": _KEY.hex(),
            "chain_poll_seconds": 20,
            "deposit_sweep_seconds": 3_600,
            "node_lease_seconds": lease_seconds,
            "late_coins": "ask",
        }
        for number in range(nodes):
            own = {**settings, "data_dir": folder / str(number), "stock_target": 2 if number == 0 else 0}
            self.nodes.append(SimulatedNode(self, number, seed, slots, own))
        self._keys = Random(f"keys {seed}")
        self._patches = ExitStack()

    def begin(self) -> None:
        by_name = {node.name: node for node in self.nodes}
        daemons: dict[str, FakeDaemon] = {node.daemon.url: node.daemon for node in self.nodes}

        def slots_of(settings: Settings, **_: object) -> list[Slot]:
            processes = by_name[settings.node_name].processes
            return [Slot(index, role_of_slot(index), process) for index, process in enumerate(processes)]

        def open_store(settings: Settings) -> NodeStore:
            return self.server.open(settings.node_name, by_name[settings.node_name].fate, self.watch)

        def bell_of(settings: Settings, *_: object) -> SimulatedBell:
            node = by_name[settings.node_name]
            node.bell = SimulatedBell(self, node.name)
            return node.bell

        for where, name, replacement in (
            (service, "open_store", open_store),
            (service, "slots_of", slots_of),
            (service, "DaemonClient", lambda url, **_: daemons[url]),
            (service, "Context", partial(Context, entropy=self._keys.randbytes)),
            (membership, "bell_of", bell_of),
            (scan_chain, "in_thread", inline),
            (asyncio, "to_thread", inline),
        ):
            self._patches.enter_context(patch.object(where, name, replacement))
        for node in self.nodes:
            self.also(self._run(node))

    async def __aexit__(self, *ended: object) -> None:
        try:
            await super().__aexit__(*ended)
        finally:
            self._patches.close()

    @property
    def calm(self) -> bool:
        """Whether nothing befalls anybody."""
        return all(node.fate.calm for node in self.nodes)

    @calm.setter
    def calm(self, calm: bool) -> None:
        for node in self.nodes:
            node.fate.calm = calm

    async def request(self, work: Callable[[Context], Awaitable[T]]) -> T | None:
        """Any node answers."""
        node = self.rng.choice(self.nodes)
        return None if node.conductor is None else await self._ask(node.conductor, work, node.requests)

    def struck_down(self, node: SimulatedNode, how: str) -> None:
        """This node does nothing from now on, by itself or at all."""
        if node.node is None or node.fate.dead or node.conductor is None:
            return
        self.struck[f"node {how}"] += 1
        store = node.conductor.ctx.store
        if isinstance(store, NodeStore) and not store.history.replaced:
            works = self.watch.struck_down(store, how, node.node.id)
            self.struck.update({f"{work} whose node was {how}": count for work, count in works.items()})
        self._see_who_is_left(but=node)

    def _see_who_is_left(self, but: SimulatedNode) -> None:
        if not any(node.well for node in self.nodes if node is not but):
            self.watch.nobody_is_left()

    def rebase(self) -> set[str]:
        """The server lost its last second; answers the acknowledged escrows that are gone."""
        return self.watch.rebase(self.server.onlooker())

    async def _run(self, node: SimulatedNode) -> None:
        """Start the node's service, let it die when its fate says so, and start it again."""
        while True:
            node.starts += 1
            node.fate.service_starts()
            running = asyncio.create_task(self._serve(node))
            try:
                crashed = asyncio.create_task(node.fate.crash_wanted.wait())
                await asyncio.wait([running, crashed], return_when=asyncio.FIRST_COMPLETED)
                crashed.cancel()
                killed = node.fate.dead
                ended_by_itself = running.done() and not node.fate.crash_wanted.is_set()
            finally:
                self._see_who_is_left(but=node)
                node.conductor = node.bell = None
                self.watch.service_ends(node.name)
                for task in (running, *node.requests):
                    task.cancel()
                node.fate.resume()
                ends = await asyncio.gather(running, *node.requests, return_exceptions=True)
            if ended_by_itself and not isinstance(ends[0], EscrowError):
                self.broken.append(f"{node.name} ended by itself: {ends[0]!r}")
                raise AssertionError(self.broken[-1])
            if ended_by_itself:
                self.struck[f"service ended: {type(ends[0]).__name__}"] += 1
            await self._after(node, killed=killed)

    async def _after(self, node: SimulatedNode, *, killed: bool) -> None:
        """Until it is started again: what a killed one had sent still arrives, unless its processes died with it."""
        if killed and self.rng.random() < _PROCESSES_DIE_TOO:
            self.struck["a killed node's processes died with it"] += 1
            for process in node.processes:
                process.kill()
        await asyncio.sleep(self.rng.uniform(0.5, 2 * self.lease_seconds))
        for process in node.processes:
            late = process.run_late_calls() if self.rng.random() < _RUNS_LATE else 0
            if killed and late:
                self.struck["a killed node's call still arrived"] += late
            process.service_died()
            if not process.running:
                process.start()

    async def _serve(self, node: SimulatedNode) -> None:
        async with service.running_service(node.settings, node.clock) as conductor:
            node.conductor = conductor
            self.watch.service_starts(conductor.ctx.pool, node.name)
            await asyncio.get_running_loop().create_future()
