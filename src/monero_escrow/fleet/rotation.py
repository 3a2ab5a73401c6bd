"""Fresh credentials for processes that run for long: each is replaced by another when it has come to the age.

Login and keys are made for a process at its start, and end with it. So they are changed as a process is: another is
started, joins, and the one before drains. The class never has fewer, no lease is broken, and one that cannot be
replaced goes on as it is. `core/rotation.py` decides which is next, `upkeep.py` carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import structlog

from monero_escrow.clock import Clock
from monero_escrow.core.roles import Role
from monero_escrow.core.rotation import Standing, next_to_rotate
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.jitter import jittered
from monero_escrow.monero.processes import ProgramFailedError

log = structlog.get_logger(__name__)

LONGEST_LOOK_SECONDS: Final = 60.0
"""So often at most one is replaced: starting a process takes a core's whole attention for a moment."""
_LEAST_LOOK_SECONDS: Final = 1.0
_LOOKS_AN_AGE: Final = 10


class Replacer(Protocol):
    """What carries it out: `upkeep.py`."""

    @property
    def starting(self) -> Mapping[Role, int]: ...
    def age_seconds(self, slot: Slot) -> float: ...
    async def replace(self, slot: Slot) -> Slot | None: ...


class Rotation:
    """Run `run()` as one task, beside that of the upkeep. `every_seconds`: the age; 0: none is replaced."""

    def __init__(self, pool: SlotPool, upkeep: Replacer, clock: Clock, every_seconds: float) -> None:
        self.every_seconds = every_seconds
        self._pool = pool
        self._upkeep = upkeep
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pause = self.every_seconds / _LOOKS_AN_AGE or LONGEST_LOOK_SECONDS
            await self._clock.sleep(jittered(max(_LEAST_LOOK_SECONDS, min(pause, LONGEST_LOOK_SECONDS))))
            await self.look()

    async def look(self) -> None:
        """Look once, and replace the one that is next, if any is."""
        leased = {slot for lease in self._pool.leases for slot in lease.slots.values()}
        processes = {
            slot: Standing(self._upkeep.age_seconds(slot), slot in leased, slot.draining)
            for slot in self._pool.slots
            if slot.managed
        }
        starting = sum(self._upkeep.starting.values())
        slot = next_to_rotate(processes, every_seconds=self.every_seconds, starting=starting)
        if slot is None:
            return
        try:
            fresh = await self._upkeep.replace(slot)
        except ProgramFailedError as error:
            log.warning("slot_not_rotated", slot=slot.name, reason=error.message, what_to_do=error.what_to_do)
            return
        if fresh is not None:
            log.info("slot_rotated", slot=slot.name, by=fresh.name, hours=round(processes[slot].age_seconds / 3600, 1))
