"""What goes wrong in a simulation: faults of the calls, the processes, the daemon, the database and the service itself.

Everything is drawn from the seed and counted when it really strikes, so that a run can say what it has tried.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from monero_escrow.monero.fake.faults import Fault, Moment, Phase
from monero_escrow.store.store import DatabaseBusyError

KINDS = (
    "call lost before it ran",
    "call lost after it ran",
    "call ran after it was given up on",
    "process unreachable",
    "process killed before the call ran",
    "process killed after the call ran",
    "call slow",
    "daemon call lost",
    "daemon unreachable for one call",
    "daemon down for a while",
    "daemon behind for a while",
    "reorganisation",
    "payout forgotten by the network",
    "database busy",
    "service killed before a call",
    "service killed after a call",
    "service killed before a commit",
    "service killed after a commit",
    "service told to stop",
    "service killed while it recovered",
)
"""Every kind of trouble there is here; a full run must have seen each of them."""


_RECOVERING_BOUNDARIES = 60


class ServiceDiedError(BaseException):
    """The service was killed at this very place: nothing after it happens, not even its clean-up."""


@dataclass(frozen=True, slots=True)
class Climate:
    """How often what happens; probabilities a call, a transaction of the database, or a block."""

    of_call: float = 0.004
    of_daemon_call: float = 0.01
    of_database: float = 0.002
    of_block: float = 0.06
    of_payout_in_pool: float = 0.15
    most_calls_between_crashes: int = 1_200
    most_commits_between_crashes: int = 250


class Weather:
    """The fault plan of every process, and the moments at which the service dies."""

    def __init__(self, rng: Random, daemon_url: Callable[[], str], climate: Climate | None = None) -> None:
        self.struck: Counter[str] = Counter()
        self.calm = True
        self.dead = False
        self.crash_wanted = asyncio.Event()
        self.climate = climate or Climate()
        self._rng = rng
        self._daemon_url = daemon_url
        self.boundaries: Counter[str] = Counter()
        self._dies = ""
        self._boundaries_left = 0
        self._since_start = 0

    def service_starts(self) -> None:
        """A new service runs, and its end is drawn: one in three dies while it is still recovering."""
        self.dead = False
        self.crash_wanted.clear()
        self._since_start = 0
        self._dies = self._rng.choice(("before a call", "after a call", "before a commit", "after a commit"))
        climate, call = self.climate, self._dies.endswith("call")
        most = climate.most_calls_between_crashes if call else climate.most_commits_between_crashes
        soon = self._rng.random() < 0.33
        self._boundaries_left = self._rng.randint(1, (30 if call else 6) if soon else most)

    def boundary(self, where: str) -> None:
        """The service is about to act, or has just acted. Raises ServiceDiedError if it dies here, or is dead."""
        if self.dead:
            raise ServiceDiedError
        if self.calm:
            return
        self.boundaries[where] += 1
        self._since_start += 1
        self._boundaries_left -= where == self._dies
        if self._boundaries_left != 0 or self.crash_wanted.is_set():
            return
        self.crash_wanted.set()
        if self._rng.random() < 0.2:
            self.struck["service told to stop"] += 1
            return
        self.struck[f"service killed {where}"] += 1
        if self._since_start <= _RECOVERING_BOUNDARIES:
            self.struck["service killed while it recovered"] += 1
        self.dead = True
        raise ServiceDiedError

    def database(self) -> None:
        """Raises DatabaseBusyError when the transaction is not taken."""
        if not self.calm and self._rng.random() < self.climate.of_database:
            self.struck["database busy"] += 1
            raise DatabaseBusyError("The database did not take the transaction: database is locked.")

    async def __call__(self, moment: Moment) -> Fault:
        """The fault plan."""
        arriving = moment.phase is Phase.ARRIVING
        self.boundary("before a call" if arriving else "after a call")
        if arriving:
            await asyncio.sleep(self._rng.uniform(0.005, 0.4))
        if self.calm:
            return Fault.NONE
        return self._of_daemon(arriving) if moment.url == self._daemon_url() else await self._of_process(arriving)

    def _of_daemon(self, arriving: bool) -> Fault:
        if self._rng.random() >= self.climate.of_daemon_call:
            return Fault.NONE
        if arriving and self._rng.random() < 0.5:
            self.struck["daemon unreachable for one call"] += 1
            return Fault.UNREACHABLE
        self.struck["daemon call lost"] += 1
        return Fault.LOST

    async def _of_process(self, arriving: bool) -> Fault:
        if self._rng.random() >= self.climate.of_call:
            return Fault.NONE
        kinds: dict[str, Fault] = {
            "call lost before it ran": Fault.LOST,
            "call ran after it was given up on": Fault.LATE,
            "process unreachable": Fault.UNREACHABLE,
            "process killed before the call ran": Fault.KILL,
            "call slow": Fault.NONE,
        }
        if not arriving:
            kinds = {
                "call lost after it ran": Fault.LOST,
                "process killed after the call ran": Fault.KILL,
            }
        kind = self._rng.choice(list(kinds))
        if kind == "call slow" or kinds[kind] in (Fault.LOST, Fault.LATE):
            await asyncio.sleep(self._rng.uniform(5, 30))  # nobody gives up at once
        self.struck[kind] += 1
        return kinds[kind]
