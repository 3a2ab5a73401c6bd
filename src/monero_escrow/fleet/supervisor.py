"""The supervisor of the local fleet: every second or so it looks how the classes are used, and says how many it wants.

The decision is `core/growth.py`'s; starting, replacing and ending is `upkeep.py`'s, which drains before it ends
anything: no leased slot is taken from whoever holds it. What was done and why is logged and kept for the API.

Work that is only done while slots are idle (`idle_work`: the stock) neither makes a fleet larger nor keeps it large.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from monero_escrow.clock import Clock
from monero_escrow.config import Settings
from monero_escrow.core.growth import ClassLoad, ClassState, Decision, GrowthLimits, Memory, decide
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.core.usage import Usage
from monero_escrow.fleet.memory import SLOT_BYTES, fleet_memory_bytes
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.jitter import jittered

log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 1.0
_STEPS_REMEMBERED: Final = 50


class Keeper(Protocol):
    """What carries a decision out: `upkeep.py`."""

    @property
    def starting(self) -> Mapping[Role, int]: ...
    def staying(self, role: Role) -> list[Slot]: ...
    def want(self, role: Role, slots: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """Something the supervisor did, or began not to be able to do. `at` is seconds since the epoch."""

    at: float
    decision: Decision


def limits_of(settings: Settings) -> GrowthLimits:
    """The bounds that the settings and this machine give; without a fleet of our own, no trio at all."""
    return GrowthLimits(
        min_trios=settings.fleet_min_trios if settings.runs_own_fleet else 0,
        max_trios=settings.fleet_max_trios if settings.runs_own_fleet else 0,
        memory_max_bytes=fleet_memory_bytes(settings),
        quiet_seconds=settings.fleet_quiet_seconds,
        cores=len(os.sched_getaffinity(0)),
    )


class FleetSupervisor:
    """Run `run()` as one task, beside that of the keeper. `memory_bytes` tells what each running process uses."""

    def __init__(
        self,
        pool: SlotPool,
        keeper: Keeper,
        memory_bytes: Callable[[], Mapping[Slot, int]],
        clock: Clock,
        limits: GrowthLimits,
        *,
        idle_work: frozenset[str] = frozenset(),
    ) -> None:
        self._pool = pool
        self._keeper = keeper
        self._memory_bytes = memory_bytes
        self._clock = clock
        self._limits = limits
        self._idle_work = idle_work
        self._usage = {role: Usage() for role in ROLES}
        self._fences: dict[Slot, int] = {}
        self._steps: deque[Step] = deque(maxlen=_STEPS_REMEMBERED)
        self._denied: tuple[Role, ...] = ()

    @property
    def limits(self) -> GrowthLimits:
        """What bounds the fleet now."""
        return self._limits

    def set_limits(self, limits: GrowthLimits) -> None:
        """Other bounds from now on: what is missing by them is started at once, and what is too much drains."""
        self._limits = limits
        for role in ROLES:
            there = len(self._keeper.staying(role)) + self._keeper.starting[role]
            self._keeper.want(role, min(max(there, limits.min_trios), limits.max_trios))

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was done lately and why, the latest last."""
        return tuple(self._steps)

    @property
    def usage(self) -> Mapping[Role, Usage]:
        """How each class was used lately."""
        return self._usage

    async def run(self) -> None:
        """Until cancelled; the fleet stays as it is then."""
        while True:
            self.look()
            await self._clock.sleep(jittered(_LOOK_SECONDS))

    def look(self) -> Decision:
        """Look once, and do what is decided."""
        memory = self._memory_bytes()
        classes = self._classes(memory)
        decision = decide(classes, self._limits, _measured(memory))
        for role in ROLES:
            change = decision.grow.count(role) - decision.shrink.count(role)
            if change:
                self._keeper.want(role, classes[role].coming + change)
        self._tell(decision)
        return decision

    def _classes(self, memory: Mapping[Slot, int]) -> Mapping[Role, ClassState]:
        now, ended, loads = self._clock.monotonic(), self._leases_ended(), self._loads()
        starting = self._keeper.starting
        states = {}
        for role, load in loads.items():
            usage = self._usage[role]
            usage.look(now, load, ended[role])
            states[role] = ClassState(
                load,
                managed=len(self._keeper.staying(role)),
                starting=starting[role],
                utilisation=usage.utilisation,
                turnover_per_second=usage.turnover_per_second,
                quiet_seconds=usage.quiet_seconds(load.usable),
                draining=sum(slot.role is role and slot.draining for slot in memory),
            )
        return states

    def _loads(self) -> Mapping[Role, ClassLoad]:
        """The pool's, with slots at work for nobody counted as idle: they are back before anything else begins."""
        loads = dict(self._pool.load())
        for lease in self._pool.leases:
            if lease.work in self._idle_work:
                for role, slot in lease.slots.items():
                    if not slot.draining:
                        loads[role] = replace(loads[role], leased=loads[role].leased - 1)
        return loads

    def _leases_ended(self) -> Mapping[Role, int]:
        """How many leases have ended since the last look: a fence goes up when a slot is leased and when it is back."""
        ended = dict.fromkeys(ROLES, 0)
        fences = {slot: slot.fence for slot in self._pool.slots}
        for slot, fence in fences.items():
            ended[slot.role] += fence // 2 - self._fences.get(slot, 0) // 2
        self._fences = fences
        return ended

    def _tell(self, decision: Decision) -> None:
        """Log and keep what is new: steps, and that a class cannot grow when that begins."""
        if decision.grow or decision.shrink:
            log.info("fleet_resized", reason=decision.reason, more=len(decision.grow), fewer=len(decision.shrink))
        elif decision.denied and decision.denied != self._denied:
            log.warning("fleet_cannot_grow", reason=decision.reason)
        elif decision.denied == self._denied:
            return
        if decision.reason:
            self._steps.append(Step(self._clock.now(), decision))
        self._denied = decision.denied


def _measured(memory: Mapping[Slot, int]) -> Memory:
    """What is used, and the mean of it for one more."""
    used = sum(memory.values())
    draining = sum(size for slot, size in memory.items() if slot.draining)
    return Memory(used, max(SLOT_BYTES, used // len(memory)) if memory else SLOT_BYTES, draining)
