"""A fleet in arithmetic: orders that come, set-ups that share the cores, trios that take time to start.

A set-up at work alone keeps two cores busy for `SET_UP_SECONDS` (docs/benchmarks.md); more of them than the cores
carry take turns. The decision is the real one, once a second; everything around it is this model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from monero_escrow.core.growth import ClassLoad, ClassState, Decision, GrowthLimits, Memory, decide
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.core.usage import Usage

SET_UP_SECONDS = 4.0
CORES_A_SET_UP = 2.0
START_SECONDS = 2.0
MIB = 1 << 20
SLOT_BYTES = 40 * MIB
TICK_SECONDS = 0.5

LIMITS = GrowthLimits(
    min_trios=1, max_trios=50, memory_max_bytes=64 << 30, quiet_seconds=600, cores=2, start_seconds=START_SECONDS
)


@dataclass
class Trios:
    """A fleet of whole trios (the three classes always want the same here), and the orders it serves."""

    limits: GrowthLimits = LIMITS
    service_seconds: float = SET_UP_SECONDS
    shares_cores: bool = True
    now: float = 0.0
    size: int = field(init=False)
    starting: list[float] = field(default_factory=list)
    queue: deque[float] = field(default_factory=deque)
    left_seconds: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    sizes: list[tuple[float, int]] = field(default_factory=list)
    started: int = 0
    ended: int = 0
    _usage: Usage = field(default_factory=Usage)
    _ended_before: int = 0

    def __post_init__(self) -> None:
        self.size = self.limits.min_trios

    @property
    def load(self) -> ClassLoad:
        waited = self.now - self.queue[0] if self.queue else 0.0
        return ClassLoad(self.size, len(self.left_seconds), self.size, len(self.queue), waited)

    def run(self, arrivals: Iterable[float], until: float) -> None:
        """Let orders come at these times, in order, and time pass to `until`."""
        coming = deque(arrivals)
        while self.now < until:
            while coming and coming[0] <= self.now:
                self.queue.append(coming.popleft())
            self._tick()
            if self.now % 1.0 == 0:
                self._look()
            self.now += TICK_SECONDS

    def _tick(self) -> None:
        self.size += sum(at <= self.now for at in self.starting)
        self.starting = [at for at in self.starting if at > self.now]
        share = self.limits.cores / (CORES_A_SET_UP * len(self.left_seconds)) if self.left_seconds else 1.0
        done = TICK_SECONDS * (min(1.0, share) if self.shares_cores else 1.0)
        self.left_seconds = [left - done for left in self.left_seconds]
        self.ended += sum(left <= 0 for left in self.left_seconds)
        self.left_seconds = [left for left in self.left_seconds if left > 0]
        while self.queue and len(self.left_seconds) < self.size:
            self.waits.append(self.now - self.queue.popleft())
            self.left_seconds.append(self.service_seconds)

    def _look(self) -> None:
        self._usage.look(self.now, self.load, self.ended - self._ended_before)
        self._ended_before = self.ended
        decision = self.decision()
        grow, shrink = decision.grow.count(Role.BUYER), decision.shrink.count(Role.BUYER)
        self.starting += [self.now + START_SECONDS] * grow
        self.started += grow
        if shrink and len(self.left_seconds) < self.size:
            self.size -= 1
        if grow or shrink:
            self.sizes.append((self.now, self.size + len(self.starting)))

    def decision(self) -> Decision:
        state = ClassState(
            self.load,
            managed=self.size,
            starting=len(self.starting),
            utilisation=self._usage.utilisation,
            turnover_per_second=self._usage.turnover_per_second,
            quiet_seconds=self._usage.quiet_seconds(self.size),
        )
        used = len(ROLES) * (self.size + len(self.starting)) * SLOT_BYTES
        return decide(dict.fromkeys(ROLES, state), self.limits, Memory(used, SLOT_BYTES))


def served_after(limits: GrowthLimits, orders: int) -> tuple[int, float]:
    """So many orders at once: how many trios were started for them, and when the last order was done (seconds)."""
    fleet = Trios(limits)
    step = 1.0
    fleet.run([0.0] * orders, step)
    while fleet.ended < orders:
        fleet.run([], fleet.now + step)
    return fleet.started, fleet.now


def with_trios_from_the_start(limits: GrowthLimits, trios: int) -> GrowthLimits:
    """A fleet that never changes."""
    return replace(limits, min_trios=trios, max_trios=trios)
