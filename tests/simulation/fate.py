"""Whether the service lives, and where it acts: each of its acts passes here, and is where it may die.

What goes wrong, and when, is a subclass's word: `weather.py` draws it by lot, `boundaries.py` plans it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from enum import Enum

from monero_escrow.monero.fake.faults import Fault, Moment, Phase
from simulation.virtual_time import VirtualClock


class ServiceDiedError(BaseException):
    """The service was killed at this very place: nothing after it happens, not even its clean-up."""


class Trouble(Enum):
    """What the database does to one transaction. `BROKEN_AFTER`: it is durable, and its commit answers an error.

    The last two are a server's: the connection breaks while it commits, and nobody can say whether it did.
    """

    NONE = "none"
    BUSY = "database busy"
    FULL = "disk full"
    BROKEN_BEFORE = "I/O error before the commit was durable"
    BROKEN_AFTER = "I/O error after the commit was durable"
    UNKNOWN_BEFORE = "did it commit? it did not"
    UNKNOWN_AFTER = "did it commit? it did"


class Fate:
    """A service that nothing happens to. It acts at boundaries: before and after each call, and each commit."""

    def __init__(self) -> None:
        self.struck: Counter[str] = Counter()
        """How often each kind of trouble really struck."""
        self.boundaries: Counter[str] = Counter()
        self.haunted: set[str] = set()
        """Processes whose open wallet a dead service's call may have changed since it was opened."""
        self.dead = False
        self.crash_wanted = asyncio.Event()
        self._awake = asyncio.Event()
        self._awake.set()

    def service_starts(self) -> None:
        """A new service runs."""
        self.dead = False
        self.crash_wanted = asyncio.Event()

    def die(self) -> None:
        """The service is gone, at this place. Raises ServiceDiedError."""
        self.dead = True
        self.crash_wanted.set()
        raise ServiceDiedError

    def boundary(self, when: str, what: str) -> None:
        """The service is about to act (`when` is "before a call" or "… a commit"), or has just acted ("after …").

        Raises ServiceDiedError if it dies here, or is dead.
        """
        if self.dead:
            raise ServiceDiedError
        self.boundaries[when] += 1

    @property
    def paused(self) -> bool:
        """Whether the service hangs, as if somebody had sent it SIGSTOP."""
        return not self._awake.is_set()

    def pause(self) -> None:
        """It does nothing from now on; what it sent goes on."""
        self._awake.clear()

    def resume(self) -> None:
        """It goes on where it was, and knows of nothing."""
        self._awake.set()

    async def awake(self) -> None:
        """The service waits here while it hangs."""
        if self.paused:
            await self._awake.wait()

    def of_transaction(self, *, writes: bool) -> Trouble:
        """What the database does to a transaction."""
        del writes
        return Trouble.NONE

    async def __call__(self, moment: Moment) -> Fault:
        """The fault plan of every process and of the daemon."""
        arriving = moment.phase is Phase.ARRIVING
        await self.awake()
        self.boundary("before a call" if arriving else "after a call", moment.method)
        return await self.of_call(moment)

    async def of_call(self, moment: Moment) -> Fault:
        """What happens to a call there; may take its time."""
        del moment
        return Fault.NONE


class ServiceClock(VirtualClock):
    """The service's own clocks. The one on the wall may be wrong, and no sleep ends while the service hangs."""

    def __init__(self, fate: Fate) -> None:
        self.wrong_by_seconds = 0.0
        self._fate = fate

    def now(self) -> float:
        return super().now() + self.wrong_by_seconds

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        await self._fate.awake()
