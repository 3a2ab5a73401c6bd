"""One of several simulated nodes: what befalls it, its clocks, its processes, and its bell."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from monero_escrow.config import Settings, load_settings
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.monero.fake.daemon import FakeDaemon
from monero_escrow.monero.fake.faults import Fault, Moment
from monero_escrow.nodes.claims import SharedClaims
from monero_escrow.nodes.node import Node
from simulation.fate import Fate, ServiceClock, Trouble
from simulation.processes import SimulatedProcess
from simulation.surroundings import NETWORK, VERSION
from simulation.virtual_time import VirtualClock
from simulation.weather import Climate, Weather

if TYPE_CHECKING:
    from simulation.cluster import Cluster

_FIRST_PORT = 42_000
_PORTS_A_NODE = 100
CLIMATE = Climate(
    of_call=0.001,
    of_daemon_call=0.002,
    of_transaction=0.004,
    of_held_call=0.5,
    most_calls_between_crashes=1_500,
    most_commits_between_crashes=600,
)
_OF_SERVER = (Trouble.BUSY, Trouble.UNKNOWN_BEFORE, Trouble.UNKNOWN_AFTER)


class NodeWeather(Weather):
    """What befalls one node: all that befalls a single service, and that the network parts it from the database."""

    def __init__(self, rng: Random, daemon_url: str, struck: Counter[str]) -> None:
        super().__init__(rng, lambda: daemon_url, CLIMATE)
        self.struck = struck
        self.cut = False
        self.on_death: Callable[[], None] = lambda: None
        self.lease_is_over: Callable[[], bool] = lambda: False

    def die(self) -> None:
        self.on_death()
        super().die()

    def kill(self) -> None:
        """From outside, wherever it is."""
        self.on_death()
        self.dead = True
        self.crash_wanted.set()

    def of_transaction(self, *, writes: bool) -> Trouble:
        if self.cut:
            return Trouble.BUSY
        trouble = super().of_transaction(writes=writes)
        return trouble if trouble is Trouble.NONE or not writes else self._rng.choice(_OF_SERVER)

    async def of_call(self, moment: Moment) -> Fault:
        fault = await super().of_call(moment)
        if self.paused:
            await self.awake()
            if self.lease_is_over():
                self.struck["a paused node's call arrived after its lease"] += 1
        return fault


class NodeClock(ServiceClock):
    """A machine's clocks: the one on the wall may be wrong, the other slow, or stand still while the machine sleeps."""

    def __init__(self, fate: Fate, rate: float) -> None:
        super().__init__(fate)
        self.rate = rate
        self.stood_still_seconds = 0.0

    def monotonic(self) -> float:
        return (VirtualClock.monotonic(self) - self.stood_still_seconds) * self.rate

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self.rate)


class SimulatedBell:
    """Rings at the other nodes that are there, a moment later; some rings are lost."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = name
        self._heard: Callable[[str], None] = lambda _escrow_id: None

    def ring(self, escrow_id: str) -> None:
        for node in self._cluster.nodes:
            if node.name != self._name and node.bell is not None and not node.fate.cut:
                if self._cluster.rng.random() < 0.1:
                    self._cluster.struck["ring lost"] += 1
                else:
                    asyncio.get_running_loop().call_later(0.01, node.bell._heard, escrow_id)

    async def run(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        await asyncio.get_running_loop().create_future()


class SimulatedNode:
    """One machine: its service comes and goes, its processes' disks stay."""

    def __init__(self, cluster: Cluster, number: int, seed: int | str, slots: int, settings: dict[str, Any]) -> None:
        self.name = f"node-{number}"
        rng = Random(f"{self.name} {seed}")
        port = _FIRST_PORT + number * _PORTS_A_NODE
        url = f"http://127.0.0.1:{port}"
        self.fate = NodeWeather(rng, url, cluster.struck)
        self.fate.on_death = lambda: cluster.struck_down(self, "killed")
        self.fate.lease_is_over = lambda: not self.trusted
        self.clock = NodeClock(self.fate, rng.choice((1.0, 0.95, 0.9)))
        self.daemon = FakeDaemon(url, cluster.monero.chain, VERSION, faults=self.fate)
        self.processes = [
            SimulatedProcess(
                f"http://127.0.0.1:{port + 1 + index}",
                cluster.monero,
                cluster.ledger,
                self.fate,
                Random(f"process {seed}/{self.name}/{index}"),
                network=NETWORK,
                amid_work=CLIMATE.of_held_call,
            )
            for index in range(slots)
        ]
        for process in self.processes:
            process.listener = cluster.watch
        self.settings: Settings = load_settings(
            node_name=self.name,
            monero_rpc_urls=",".join(process.url for process in self.processes),
            monero_daemon_url=url,
            **settings,
        )
        self.conductor: Conductor | None = None
        self.bell: SimulatedBell | None = None
        self.requests: set[asyncio.Task[Any]] = set()
        self.asleep_as = ""
        """The node's id when its machine slept with its clock: it may trust a lease that is over."""
        self.starts = 0

    @property
    def claims(self) -> SharedClaims | None:
        """Of the service that runs."""
        claims = None if self.conductor is None else self.conductor.claims
        return claims if isinstance(claims, SharedClaims) else None

    @property
    def node(self) -> Node | None:
        """Of the service that runs."""
        return None if self.claims is None else self.claims._node

    @property
    def trusted(self) -> bool:
        """Whether the service runs, and trusts its lease."""
        return self.node is not None and self.node.trusted

    @property
    def well(self) -> bool:
        """Whether it can take work over."""
        fate = self.fate
        return self.trusted and not (fate.dead or fate.paused or fate.cut or self.node is None or self.node.draining)
