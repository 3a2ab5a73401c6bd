"""The storm over several nodes: seeded faults that strike whoever is in the middle of a set-up or a payout.

Most come one at a time; some while another still lasts, a restart of PostgreSQL among them. One node at least is always
left alone: with none, nobody could take anything over.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from monero_escrow.demo.private_postgres import FAST, IMMEDIATE
from monero_escrow.monero.waiting import until
from soak.nodes_process import ServiceNode
from soak.nodes_takeovers import PAYOUT, SET_UP, Held, Takeovers
from soak.nodes_world import LEASE_SECONDS, NodesWorld

KILLED: Final = "killed"
PAUSED: Final = "paused"
PAUSED_ALL: Final = "paused with its wallets"
CUT_OFF: Final = "cut off"
NODE_FAULTS: Final = (KILLED, PAUSED, PAUSED_ALL, CUT_OFF)
RESTARTED: Final = "PostgreSQL restarted"
CRASHED: Final = "PostgreSQL crashed"
SERVER_FAULTS: Final = (RESTARTED, CRASHED)

_ONE_OF_EACH: Final = (KILLED, PAUSED_ALL, CUT_OFF, CRASHED)
_AT_THE_SERVER: Final = 0.2
_TOGETHER: Final = 0.4
_LEFT_ALONE: Final = 1
_LOOK_EVERY_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 15.0
_DEEPEST_SECONDS: Final = 2.0
_OVER_THE_LEASE_SECONDS: Final = (1.0, 5.0)
_READY_LIMIT_SECONDS: Final = 120.0


class NodesStorm:
    """Blows until so many takeovers of set-ups and payouts have been seen; or, `once`, each kind of fault once."""

    def __init__(
        self,
        world: NodesWorld,
        takeovers: Takeovers,
        rng: random.Random,
        wanted: int,
        *,
        once: bool,
        say: Callable[[str], None],
    ) -> None:
        self.struck: Counter[str] = Counter()
        self.struck_together = 0
        self.never_ready: list[str] = []
        self._world = world
        self._takeovers = takeovers
        self._rng = rng
        self._wanted = wanted
        self._once = once
        self._say = say
        self._down: set[str] = set()
        self._faults = 0
        """How many last at the moment."""
        self._begun = 0
        self._back = asyncio.Event()
        self._restarting = asyncio.Lock()

    async def blow(self) -> None:
        """Until it is enough; then every node is back, and every takeover seen."""
        async with asyncio.TaskGroup() as lasting:
            for kind in self._kinds():
                together = self._once or self._rng.random() < _TOGETHER
                if kind in SERVER_FAULTS:
                    await self._until_calm(0 if together else len(self._world.nodes))
                    lasting.create_task(self._restart(kind))
                    await asyncio.sleep(self._rng.uniform(0.5, 2.0))
                    continue
                await self._until_calm(_LEFT_ALONE + 1 if together else len(self._world.nodes))
                node = await self._at_work()
                self._down.add(node.name)
                lasting.create_task(self._strike(kind, node))
                if not together:
                    await self._until_something_is_finished()

    def _kinds(self) -> Iterator[str]:
        if self._once:
            yield from _ONE_OF_EACH
            return
        while self._takeovers.count() < self._wanted:
            if self._rng.random() < _AT_THE_SERVER:
                yield min(SERVER_FAULTS, key=self.struck.__getitem__)
            else:
                fewest = min(self.struck[kind] for kind in NODE_FAULTS)
                yield self._rng.choice([kind for kind in NODE_FAULTS if self.struck[kind] == fewest])

    async def _until_calm(self, nodes_up: int) -> None:
        """Until so many nodes are as they should be."""
        while len(self._world.nodes) - len(self._down) < nodes_up:
            self._back.clear()
            await self._back.wait()

    async def _until_something_is_finished(self) -> None:
        """Struck again and again, nobody would get anywhere, and late steps never be struck."""
        before = await self._takeovers.finished()

        async def more() -> bool:
            return await self._takeovers.finished() > before

        with suppress(TimeoutError):
            await until(more, limit_seconds=_PATIENCE_SECONDS, poll_seconds=_LOOK_EVERY_SECONDS)

    async def _at_work(self) -> ServiceNode:
        """A node in the middle of a step of the kind of work that was struck less often; after long waiting, of any."""
        less = min((SET_UP, PAYOUT), key=self._takeovers.count)
        up = {node.name: node for node in self._world.nodes if node.name not in self._down}
        began = time.monotonic()
        while (waited := time.monotonic() - began) < 4 * _PATIENCE_SECONDS:
            wanted = (less,) if waited < _PATIENCE_SECONDS else (SET_UP, PAYOUT)
            at_it = {claim.name for claim in await self._held_in_step(wanted)} & up.keys()
            if at_it:
                name = self._rng.choice(sorted(at_it))
                await asyncio.sleep(self._rng.uniform(0.0, _DEEPEST_SECONDS))
                if any(claim.name == name for claim in await self._held_in_step((SET_UP, PAYOUT))):
                    return up[name]
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
        return up[self._rng.choice(sorted(up))]

    async def _held_in_step(self, wanted: Collection[str]) -> list[Held]:
        return [claim for claim in await self._takeovers.held() if claim.in_step and claim.work in wanted]

    async def _strike(self, kind: str, node: ServiceNode) -> None:
        """The fault, its end, and the takeovers it leads to."""
        how: dict[str, Callable[[], Awaitable[Callable[[], None]]]] = {
            KILLED: partial(_kill, node),
            PAUSED: partial(node.pause, with_wallets=False),
            PAUSED_ALL: partial(node.pause, with_wallets=True),
            CUT_OFF: partial(_cut, node),
        }
        with self._fault(kind) as alone:
            since = time.monotonic()
            end = await how[kind]()
            try:
                held = await self._takeovers.held_by_struck(node.name)
                self._say(f"{node.name} is {kind}, while it works on {_listed(held)}")
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._takeovers.watch(held, kind, since, alone))
                    await asyncio.sleep(LEASE_SECONDS + self._rng.uniform(*_OVER_THE_LEASE_SECONDS))
                    end()
            finally:
                end()
            await self._until_ready(node)
        self._down.discard(node.name)
        self._back.set()

    async def _restart(self, kind: str) -> None:
        async with self._restarting:
            with self._fault(kind):
                self._say(kind)
                await self._world.server.restart(FAST if kind == RESTARTED else IMMEDIATE)

    @contextmanager
    def _fault(self, kind: str) -> Iterator[Callable[[], bool]]:
        """A fault lasts. What is given says whether it has been the only one all the while."""
        self.struck[kind] += 1
        self._begun += 1
        begun, others = self._begun, self._faults
        self.struck_together += others > 0
        self._faults += 1
        try:
            yield lambda: others == 0 and self._begun == begun
        finally:
            self._faults -= 1

    async def _until_ready(self, node: ServiceNode) -> None:
        deadline = time.monotonic() + _READY_LIMIT_SECONDS
        while not await node.ready():
            if time.monotonic() > deadline:
                self.never_ready.append(f"{node.name} was not ready {_READY_LIMIT_SECONDS:.0f} s after its fault.")
                return
            await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def _kill(node: ServiceNode) -> Callable[[], None]:
    await node.kill()
    return lambda: None  # it is started again by whoever keeps it


async def _cut(node: ServiceNode) -> Callable[[], None]:
    node.wire.cut()
    return node.wire.mend


def _listed(held: list[Held]) -> str:
    counts = Counter(claim.work for claim in held)
    return ", ".join(f"{count} {work}{'s' * (count > 1)}" for work, count in sorted(counts.items())) or "nothing"
