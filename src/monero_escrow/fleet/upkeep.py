"""Keep as many managed slots of each class in the pool as are wanted: start what is missing, end what has left.

A slot that drains, for whatever reason (its process died, a call to it was given up on, it is not wanted any more), is
replaced at once if its class is then short, and its process is ended when it has left the pool. A program that does
not come to run, or dies soon after its start, is tried again after a pause that grows, and reported; the other classes
go on. Whoever waits for a class is not turned away while a first replacement is on its way.

How many are wanted is decided elsewhere (`wanted`, through `want`). The state is per class: the wanted number, how many
starts are under way, and how the last ones failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import structlog

from monero_escrow.clock import Clock
from monero_escrow.core.pauses import pause_seconds
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.jitter import jittered
from monero_escrow.monero.processes import ProgramFailedError

log = structlog.get_logger(__name__)

EARLY_DEATH_SECONDS: Final = 5.0
"""A process that dies so soon after its start has failed to start."""
FORGIVEN_SECONDS: Final = 120.0
"""Failures are counted together as long as the next comes so soon after the pause."""


class Starter(Protocol):
    """What starts and ends processes: `LocalFleet`, or a test's."""

    on_death: DeathListener

    async def start_slot(self, role: Role) -> Slot: ...
    async def stop_slot(self, slot: Slot) -> None: ...
    def runs(self, slot: Slot) -> bool: ...


class DeathListener(Protocol):
    """Told of a slot whose process ended by itself."""

    def __call__(self, slot: Slot, /) -> None: ...


@dataclass(slots=True)
class _Class:
    """One role's slots: how many are wanted, and the starts. `not_before` is on the monotonic clock."""

    wanted: int = 0
    starting: int = 0
    failures: int = 0
    not_before: float = 0.0
    trouble: str | None = None

    @contextmanager
    def one_more_starting(self) -> Iterator[None]:
        """A start is under way."""
        self.starting += 1
        try:
            yield
        finally:
            self.starting -= 1


class Upkeep:
    """Run `run()` as one task; when it is cancelled nothing is started any more, and processes that run go on."""

    def __init__(self, local: Starter, pool: SlotPool, clock: Clock) -> None:
        self._local = local
        self._pool = pool
        self._clock = clock
        self._classes = {role: _Class() for role in ROLES}
        self._started: dict[Slot, float] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._promised = ExitStack()
        """Slots that are wanted before `run` has begun to start them: whoever comes that early waits for them."""
        self._ran = False
        local.on_death = self._died
        pool.on_drain = self._drains

    @property
    def wanted(self) -> Mapping[Role, int]:
        """How many slots each class should have."""
        return {role: of_role.wanted for role, of_role in self._classes.items()}

    @property
    def starting(self) -> Mapping[Role, int]:
        """How many slots of each class are on their way, those included that wait to be tried again."""
        return {role: of_role.starting for role, of_role in self._classes.items()}

    @property
    def trouble(self) -> Mapping[Role, str]:
        """Why a class has fewer slots than wanted, where the last start failed."""
        return {role: of_role.trouble for role, of_role in self._classes.items() if of_role.trouble is not None}

    def staying(self, role: Role) -> list[Slot]:
        """The managed slots of a class that are not on their way out."""
        return [slot for slot in self._pool.slots if slot.managed and slot.role is role and not slot.draining]

    def want(self, role: Role, slots: int) -> None:
        """From now on so many slots of the class: what is missing starts, what is too much drains, the idle first."""
        self._classes[role].wanted = slots
        if self._tasks is None and not self._ran and slots > len(self.staying(role)):
            self._promised.enter_context(self._pool.expecting(role))
        surplus = len(self.staying(role)) - slots
        if surplus > 0:
            leased = {slot for lease in self._pool.leases for slot in lease.slots.values()}
            idle_first = sorted(self.staying(role), key=lambda slot: (slot in leased, slot.sick is None, -slot.index))
            for slot in idle_first[:surplus]:
                self._pool.drain(slot)
        self._fill(role)

    def age_seconds(self, slot: Slot) -> float:
        """How long ago it joined; 0 for one that was not started here."""
        now = self._clock.monotonic()
        return now - self._started.get(slot, now)

    async def replace(self, slot: Slot) -> Slot | None:
        """Start another process of its class, and let this one leave as soon as that serves. Answers the other; None
        when this one left by itself meanwhile, or the other ended at once.

        Until then there is one process more than wanted, and never one fewer. Raises ProgramFailedError when none can
        be started: then all stays as it was.
        """
        fresh = await self._local.start_slot(slot.role)
        if slot not in self.staying(slot.role) or not self._local.runs(fresh):
            await self._local.stop_slot(fresh)
            return None
        self._joins(fresh)
        self._pool.drain(slot)
        return fresh

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                for role in ROLES:
                    self._fill(role)
                self._ran = True
                self._promised.close()
                await asyncio.get_running_loop().create_future()
            finally:
                self._tasks = None  # before the group waits for its tasks: it takes no more

    def _fill(self, role: Role) -> None:
        """Begin to start whatever the class lacks."""
        of_role = self._classes[role]
        while self._tasks is not None and len(self.staying(role)) + of_role.starting < of_role.wanted:
            expected, counted = ExitStack(), ExitStack()
            if of_role.trouble is None:
                expected.enter_context(self._pool.expecting(role))
            counted.enter_context(of_role.one_more_starting())
            task = self._tasks.create_task(self._bring(role, expected, counted), name=f"start a {role} slot")
            task.add_done_callback(partial(self._brought, role, expected, counted))

    def _brought(self, role: Role, expected: ExitStack, counted: ExitStack, _task: asyncio.Task[None]) -> None:
        """Also for a task that was cancelled before it had begun."""
        counted.close()
        expected.close()
        self._fill(role)

    async def _bring(self, role: Role, expected: ExitStack, counted: ExitStack) -> None:
        """Start one slot of the class, however often it takes, unless it is no longer wanted."""
        of_role = self._classes[role]
        while self._is_wanted(role):
            await self._pause(of_role)
            try:
                slot = await self._local.start_slot(role)
            except ProgramFailedError as error:
                self._failed(role, error.message, error.what_to_do)
                expected.close()
                continue
            if not self._is_wanted(role):
                counted.close()  # now: of several that come at once only the surplus is ended
                await self._local.stop_slot(slot)
                return
            if self._local.runs(slot):
                self._joins(slot)
                counted.close()  # now: starts that end in the same moment look at the number
                return
            await self._local.stop_slot(slot)  # it has ended meanwhile, which counts as a failed start

    def _is_wanted(self, role: Role) -> bool:
        """Whether the class needs all the slots that are on their way to it."""
        of_role = self._classes[role]
        return len(self.staying(role)) + of_role.starting <= of_role.wanted

    def _joins(self, slot: Slot) -> None:
        self._classes[slot.role].trouble = None
        self._started[slot] = self._clock.monotonic()
        self._pool.add(slot)
        log.info("slot_started", slot=slot.name)

    async def _pause(self, of_role: _Class) -> None:
        while (left := of_role.not_before - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)

    def _failed(self, role: Role, message: str, what_to_do: str) -> None:
        """A start failed. Starts that fail side by side are one failure: the class waits once for all of them."""
        of_role, now = self._classes[role], self._clock.monotonic()
        of_role.trouble = message
        if now < of_role.not_before:
            return
        if now > of_role.not_before + FORGIVEN_SECONDS:
            of_role.failures = 0
        pause = jittered(pause_seconds(of_role.failures))
        of_role.failures += 1
        of_role.not_before = now + pause
        log.error("slot_start_failed", role=role, reason=message, what_to_do=what_to_do, next_try_seconds=round(pause))

    def _died(self, slot: Slot) -> None:
        """Its process ended by itself."""
        now = self._clock.monotonic()
        if now - self._started.get(slot, now) < EARLY_DEATH_SECONDS:
            self._failed(slot.role, f"{slot.name} ended by itself soon after its start.", "Read its log.")
        slot.sick = "Its process ended by itself."
        self._pool.drain(slot)

    def _drains(self, slot: Slot) -> None:
        """Replace it if it is missed, and end its process when it has left. In an ending service both are left be."""
        if slot.managed and self._tasks is not None:
            self._fill(slot.role)
            self._tasks.create_task(self._see_off(slot), name=f"see off {slot.name}")

    async def _see_off(self, slot: Slot) -> None:
        await self._pool.until_gone(slot)
        await self._local.stop_slot(slot)
        self._started.pop(slot, None)
        log.info("slot_ended", slot=slot.name, reason=slot.sick or "not needed any more")
