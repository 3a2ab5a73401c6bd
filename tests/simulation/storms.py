"""What befalls the surroundings of the service: blocks come and are replaced, the daemon, the clock and the disk fail
for a while, the service hangs, somebody starts it twice, processes die and are started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import TYPE_CHECKING, Any

from monero_escrow.service import AlreadyRunningError
from simulation.fate import ServiceDiedError
from simulation.reorganisations import Reorganisations
from simulation.weather import Weather

if TYPE_CHECKING:
    from simulation.world import World

BLOCK_SECONDS = 120.0
_GLANCE_SECONDS = 10.0
_WRONG_CLOCK_SECONDS = (600.0, 4 * 3_600.0)


class Storms:
    """Everything here runs as tasks of its own, and stops when the weather is calm."""

    def __init__(self, world: World, weather: Weather, rng: Random) -> None:
        self._world = world
        self._weather = weather
        self._rng = rng
        self._reorganisations = Reorganisations(world, weather, rng)

    @property
    def mending(self) -> int:
        """How many transactions are still missing that somebody will send."""
        return self._reorganisations.mending

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """To be run side by side."""
        return [self._mine(), self._clock(), self._disk(), self._hang(), self._second_copies(), self.processes()]

    # --- the chain ---

    async def _mine(self) -> None:
        """A block about every two minutes; now and then some are replaced, or the daemon is away or behind."""
        world = self._world
        while True:
            await asyncio.sleep(min(self._rng.expovariate(1 / BLOCK_SECONDS), 10 * BLOCK_SECONDS))
            await world.monero.mine(1)
            if self._weather.calm:
                continue
            climate, chances = self._weather.climate, self._rng
            depth = chances.choice((3, 3, 12, 25))
            if chances.random() < climate.of_payout_in_pool * 3 / depth:
                await self._reorganisations.forget_payouts(depth)
            if chances.random() < climate.of_deep_reorganisation:
                await self._reorganisations.deep()
            if chances.random() < climate.of_block:
                await self._trouble()

    async def _trouble(self) -> None:
        trouble = self._rng.choice(("reorganisation", "daemon down for a while", "daemon behind for a while"))
        if trouble == "reorganisation":
            await self._reorganisations.shallow()
            return
        self._weather.struck[trouble] += 1
        daemon = self._world.monero.daemon
        daemon.reachable = trouble != "daemon down for a while"
        daemon.synchronized = trouble != "daemon behind for a while"
        await asyncio.sleep(self._rng.uniform(30, 600))
        daemon.reachable = daemon.synchronized = True

    # --- the machine ---

    async def _clock(self) -> None:
        """The clock on the wall is hours off for a while, and set right again."""
        clock = self._world.clock
        while await self._next(self._weather.climate.seconds_between_clock_troubles):
            ahead = self._rng.random() < 0.5
            wrong_by = self._rng.uniform(*_WRONG_CLOCK_SECONDS)
            self._weather.struck["clock ahead" if ahead else "clock behind"] += 1
            clock.wrong_by_seconds = wrong_by if ahead else -wrong_by
            await self._last(self._rng.uniform(300, 5_000))
            clock.wrong_by_seconds = 0.0

    async def _disk(self) -> None:
        while await self._next(self._weather.climate.seconds_between_full_disks):
            self._weather.disk_full = True
            await self._last(self._rng.uniform(30, 900))
            self._weather.disk_full = False

    async def _hang(self) -> None:
        """The service hangs in the middle of whatever it does, often past every time limit, and goes on."""
        while await self._next(self._weather.climate.seconds_between_pauses):
            if self._world.conductor is None or self._weather.dead:
                continue
            self._weather.pause()
            await self._last(self._rng.choice((self._rng.uniform(20, 600), self._rng.uniform(600, 7_000))))
            if self._world.conductor is not None:
                await self._start_second_copy("second copy refused while the first hung")
            self._weather.resume()
            self._weather.struck["service hung, and went on"] += 1

    async def _second_copies(self) -> None:
        while await self._next(self._weather.climate.seconds_between_second_copies):
            if self._world.conductor is not None and not self._weather.dead and not self._weather.paused:
                await self._start_second_copy("second copy refused")

    async def _start_second_copy(self, kind: str) -> None:
        """Somebody starts the service once more on the same database."""
        try:
            async with self._world.second_copy():
                self._world.broken.append("A second copy of the service ran on one database.")
        except AlreadyRunningError:
            self._weather.struck[kind] += 1
        except ServiceDiedError:
            self._world.broken.append("A second copy of the service got as far as to act.")

    async def processes(self) -> None:
        """Whatever died is started again; what was given up on takes effect, sooner than a quarantine ends."""
        while True:
            await asyncio.sleep(self._rng.uniform(5, 400))
            for process in self._world.processes:
                process.run_late_calls()
                if not process.running:
                    process.start()

    async def _next(self, mean_seconds: float) -> bool:
        """Wait for the next time; False, for good, when it has become calm."""
        await asyncio.sleep(self._rng.expovariate(1 / mean_seconds))
        return not self._weather.calm

    async def _last(self, seconds: float) -> None:
        """Let so much time pass, or less if it becomes calm."""
        end = asyncio.get_running_loop().time() + seconds
        while not self._weather.calm and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110  both may change
            await asyncio.sleep(10)  # not on the service's clock, which may be the one that hangs
