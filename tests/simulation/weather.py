"""What goes wrong in a simulation, drawn by lot: faults of the calls, the processes, the daemon, the database and the
service itself. What befalls the surroundings (the chain, the clock, the disk for a while) is in `storms.py`.

Everything is drawn from the seed and counted when it really strikes, so that a run can say what it has tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from monero_escrow.monero.errors import NotMoneroError
from monero_escrow.monero.fake.faults import Fault, Moment, Phase
from simulation.fate import Fate, Trouble
from simulation.processes import AMID

KINDS = (
    "call lost before it ran",
    "call lost after it ran",
    "call ran after it was given up on",
    "call refused with HTTP 500",
    "call answered with HTTP 500 after it ran",
    "process unreachable",
    "process killed before the call ran",
    "process killed after the call ran",
    "call slow",
    "daemon call lost",
    "daemon unreachable for one call",
    "daemon answered with HTTP 500",
    "daemon down for a while",
    "daemon behind for a while",
    "reorganisation",
    "deep reorganisation",
    "counted deposit out of the chain and back",
    "counted deposit out of the chain for good",
    "payout forgotten by the network",
    *(trouble.value for trouble in (Trouble.BUSY, Trouble.FULL, Trouble.BROKEN_BEFORE, Trouble.BROKEN_AFTER)),
    "clock ahead",
    "clock behind",
    "service hung, and went on",
    "second copy refused",
    "second copy refused while the first hung",
    AMID,
    "service killed before a call",
    "service killed after a call",
    "service killed before a commit",
    "service killed after a commit",
    "service told to stop",
    "service killed while it recovered",
)
"""Every kind of trouble there is here; a full run must have seen each of them."""


_RECOVERING_BOUNDARIES = 60


@dataclass(frozen=True, slots=True)
class Climate:
    """How often what happens: probabilities a call, a transaction of the database, or a block; means in seconds."""

    of_call: float = 0.006
    of_daemon_call: float = 0.012
    of_transaction: float = 0.006
    of_block: float = 0.06
    of_deep_reorganisation: float = 0.03
    of_payout_in_pool: float = 0.15
    of_held_call: float = 0.3
    seconds_between_clock_troubles: float = 4_500
    seconds_between_full_disks: float = 4_000
    seconds_between_pauses: float = 5_000
    seconds_between_second_copies: float = 3_000
    most_calls_between_crashes: int = 1_200
    most_commits_between_crashes: int = 250


class Weather(Fate):
    """The fault plan of every process, what the database does, and the moments at which the service dies."""

    def __init__(self, rng: Random, daemon_url: Callable[[], str], climate: Climate | None = None) -> None:
        super().__init__()
        self.calm = True
        self.disk_full = False
        self.climate = climate or Climate()
        self._rng = rng
        self._daemon_url = daemon_url
        self._dies = ""
        self._boundaries_left = 0
        self._since_start = 0

    def service_starts(self) -> None:
        """A new service runs, and its end is drawn: one in three dies while it is still recovering."""
        super().service_starts()
        self._since_start = 0
        self._dies = self._rng.choice(("before a call", "after a call", "before a commit", "after a commit"))
        climate, call = self.climate, self._dies.endswith("call")
        most = climate.most_calls_between_crashes if call else climate.most_commits_between_crashes
        soon = self._rng.random() < 0.33
        self._boundaries_left = self._rng.randint(1, (30 if call else 6) if soon else most)

    def boundary(self, when: str, what: str) -> None:
        super().boundary(when, what)
        if self.calm:
            return
        self._since_start += 1
        self._boundaries_left -= when == self._dies
        if self._boundaries_left != 0 or self.crash_wanted.is_set():
            return
        if self._rng.random() < 0.2:
            self.crash_wanted.set()
            self.struck["service told to stop"] += 1
            return
        self.struck[f"service killed {when}"] += 1
        if self._since_start <= _RECOVERING_BOUNDARIES:
            self.struck["service killed while it recovered"] += 1
        self.die()

    def of_transaction(self, *, writes: bool) -> Trouble:
        if self.calm:
            return Trouble.NONE
        if self.disk_full and writes:
            return Trouble.FULL
        if self._rng.random() >= self.climate.of_transaction:
            return Trouble.NONE
        kinds = (Trouble.BUSY, Trouble.BROKEN_BEFORE, Trouble.BROKEN_AFTER) if writes else (Trouble.BUSY,)
        return self._rng.choice(kinds)

    async def of_call(self, moment: Moment) -> Fault:
        arriving = moment.phase is Phase.ARRIVING
        await asyncio.sleep(self._rng.uniform(0.002, 0.2))
        if self.calm:
            return Fault.NONE
        return self._of_daemon(moment, arriving) if moment.url == self._daemon_url() else await self._of_process(moment)

    def _of_daemon(self, moment: Moment, arriving: bool) -> Fault:
        if self._rng.random() >= self.climate.of_daemon_call:
            return Fault.NONE
        kinds = ("daemon unreachable for one call", "daemon call lost", "daemon answered with HTTP 500")
        kind = self._rng.choice(kinds if arriving else kinds[1:])
        self.struck[kind] += 1
        if kind == "daemon answered with HTTP 500":
            raise NotMoneroError(moment.url, moment.method, "HTTP status 500")
        return Fault.UNREACHABLE if kind == "daemon unreachable for one call" else Fault.LOST

    async def _of_process(self, moment: Moment) -> Fault:
        if self._rng.random() >= self.climate.of_call:
            return Fault.NONE
        kinds: dict[str, Fault] = {
            "call lost before it ran": Fault.LOST,
            "call ran after it was given up on": Fault.LATE,
            "process unreachable": Fault.UNREACHABLE,
            "process killed before the call ran": Fault.KILL,
            "call slow": Fault.NONE,
            "call refused with HTTP 500": Fault.NONE,
        }
        if moment.phase is Phase.ANSWERING:
            kinds = {
                "call lost after it ran": Fault.LOST,
                "process killed after the call ran": Fault.KILL,
                "call answered with HTTP 500 after it ran": Fault.NONE,
            }
        kind = self._rng.choice(list(kinds))
        if kind == "call slow" or kinds[kind] in (Fault.LOST, Fault.LATE):
            await asyncio.sleep(self._rng.uniform(5, 30))  # nobody gives up at once
        self.struck[kind] += 1
        if "HTTP 500" in kind:
            raise NotMoneroError(moment.url, moment.method, "HTTP status 500")
        return kinds[kind]
