"""What strikes nodes from outside while they work: killed, paused past their lease, cut off, drained; and the server.

One node at a time, and never the last that is well: takeovers are what is tried here. (Kills at a boundary of its own
acts come from `NodeWeather` besides, whenever its number is up.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from monero_escrow.escrows.context import Context
from monero_escrow.store.transaction import Transaction
from monero_escrow.store.work_table import SCAN
from simulation.cluster import Cluster
from simulation.simulated_node import SimulatedNode

KINDS = (
    "node killed",
    "node killed that scans the chain",
    "node paused",
    "node asleep with its clock",
    "node cut off",
    "node drained",
    "a killed node's processes died with it",
    "a killed node's call still arrived",
    "a paused node's call arrived after its lease",
    "clock on the wall an hour wrong",
    "failover that lost nothing",
    "failover that lost the last second",
    "database busy",
    "did it commit? it did",
    "did it commit? it did not",
    "ring lost",
    "service told to stop",
    "service ended: ServerReplacedError",
)
"""Everything that a long run must have seen."""

_HOUR = 3_600.0
_MOST_ASKED = 100
_WRONG_CLOCKS = (-_HOUR, -0.5, 0.5, _HOUR)


class Strikes:
    """Strikes while it is not calm. `run()` beside the nodes."""

    def __init__(self, cluster: Cluster, rng: Random, *, failovers: bool) -> None:
        self._cluster = cluster
        self._rng = rng
        self._failovers = failovers
        self.failing_over = False
        self.lost: set[str] = set()
        """Escrows that were acknowledged in a second that was lost: they are ordered again."""
        self._ways: dict[str, Callable[[SimulatedNode], Awaitable[None]]] = {
            "kill": self._kill,
            "pause": self._pause,
            "sleep": self._sleep,
            "cut": self._cut,
            "drain": self._drain,
        }

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._rng.uniform(0.2, 3))
            if self._cluster.calm:
                continue
            if self._failovers and self._rng.random() < 0.01:
                await self._fail_over()
                continue
            victim = self._victim()
            if victim is None or self._cluster.watch.waiting:
                continue
            way = self._rng.choices(list(self._ways), (3, 3, 1, 3, 1))[0]
            await self._ways[way](victim)

    def _victim(self) -> SimulatedNode | None:
        """The node that does most, or the one that scans, while another one is well."""
        well = [node for node in self._cluster.nodes if node.well]
        busiest = max(well, key=self._works, default=None)
        if busiest is None or len(well) < 2:
            return None
        if self._rng.random() < 0.1:
            return self._scanner()
        return busiest if self._works(busiest) else None

    def _works(self, node: SimulatedNode) -> int:
        """How many set-ups and payouts it has in hand."""
        if node.node is None:
            return 0
        works = self._cluster.watch.works_of(self._cluster.server.onlooker(), node.node.id)
        return sum(work != "look" for work in works.values())

    def _scanner(self) -> SimulatedNode | None:
        holder, _ = self._cluster.watch.holder_of(SCAN)
        return next((node for node in self._cluster.nodes if node.well and node.node and node.node.id == holder), None)

    def _over_the_lease(self) -> float:
        return self._cluster.lease_seconds + self._rng.uniform(0.5, 12)

    async def _kill(self, node: SimulatedNode) -> None:
        if node is self._scanner():
            self._cluster.struck["node killed that scans the chain"] += 1
        node.fate.kill()

    async def _pause(self, node: SimulatedNode) -> None:
        self._cluster.struck_down(node, "paused")
        node.fate.pause()
        await asyncio.sleep(self._over_the_lease())
        node.fate.resume()

    async def _sleep(self, node: SimulatedNode) -> None:
        """The whole machine hangs, and its clock with it: it comes back and trusts a lease that is over."""
        if node.node is None:
            return
        self._cluster.struck_down(node, "asleep with its clock")
        node.asleep_as = node.node.id
        node.fate.pause()
        seconds = self._over_the_lease()
        await asyncio.sleep(seconds)
        node.clock.stood_still_seconds += seconds
        node.fate.resume()

    async def _cut(self, node: SimulatedNode) -> None:
        self._cluster.struck_down(node, "cut off")
        node.fate.cut = True
        await asyncio.sleep(self._over_the_lease())
        node.fate.cut = False

    async def _drain(self, node: SimulatedNode) -> None:
        if await self._write(lambda tx: tx.nodes.drain(node.name)):
            self._cluster.struck["node drained"] += 1
            await asyncio.sleep(self._rng.uniform(5, 30))
            for _ in range(_MOST_ASKED):  # a person who was not answered asks again
                if await self._write(lambda tx: tx.nodes.drain(node.name, drains=False)):
                    break
                await asyncio.sleep(1)

    async def _write(self, work: Callable[[Transaction], None]) -> bool:
        """What an operator asks of some node."""

        async def ask(ctx: Context) -> bool:
            await ctx.store.write(work)
            return True

        return await self._cluster.request(ask) is not None

    async def clocks(self) -> None:
        """The clock on a node's wall is set wrong, and right again."""
        while True:
            await asyncio.sleep(self._rng.uniform(20, 120))
            if self._cluster.calm:
                continue
            node = self._rng.choice(self._cluster.nodes)
            node.clock.wrong_by_seconds = self._rng.choice(_WRONG_CLOCKS)
            self._cluster.struck["clock on the wall an hour wrong"] += abs(node.clock.wrong_by_seconds) == _HOUR
            await asyncio.sleep(self._rng.uniform(5, 120))
            node.clock.wrong_by_seconds = 0.0

    async def _fail_over(self) -> None:
        loses = self._rng.random() < 0.6
        self._cluster.struck[f"failover that lost {'the last second' if loses else 'nothing'}"] += 1
        self.failing_over = True
        try:
            look, away_seconds = self._cluster.watch.look_at_database, self._rng.uniform(1, 5)
            await self._cluster.server.fail_over(look, loses=loses, away_seconds=away_seconds)
            self.lost |= self._cluster.rebase()
            while not any(node.well for node in self._cluster.nodes):  # noqa: ASYNC110  each of them may be the first
                await asyncio.sleep(1)
        finally:
            self.failing_over = False
