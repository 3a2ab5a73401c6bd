"""A mill of payouts: few escrows whose addresses are paid again and again, so that one payout follows another.

The order itself is paid out first; then whatever comes late is, round after round. Every decision is asked for several
times and at once, calls are lost or run late, processes and the service die, and blocks with payouts in them are
replaced and forgotten.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from unittest.mock import patch

from monero_escrow.core import address
from monero_escrow.core.curve import is_prime_order_point
from simulation import books
from simulation.mill import Mill
from simulation.people import new_trade
from simulation.run import keep_stray_error, log_for_problems
from simulation.storage import forget
from simulation.virtual_time import VirtualLoop
from simulation.weather import Climate, Weather
from simulation.world import World, repeatable

CLIMATE = Climate(
    of_call=0.006,
    of_daemon_call=0.01,
    of_transaction=0.004,
    of_held_call=0.3,
    most_calls_between_crashes=2_400,
    most_commits_between_crashes=800,
)
KINDS = (
    "double request",
    "decision taken",
    "call lost before it ran",
    "call lost after it ran",
    "call ran after it was given up on",
    "process killed after the call ran",
    "service killed after a call",
    "service killed after a commit",
    "reorganisation",
    "payout forgotten by the network",
    "a dead service's call ran amid the next one's work",
)
"""What must have struck payouts in a run that says anything."""

PAYOUTS_A_ROUND = 24
_SLOTS = 12
_RUNS_LATE = 0.7


cached_is_prime_order_point = lru_cache(maxsize=65_536)(is_prime_order_point)  # the same few keys, thousands of times


@dataclass(frozen=True, slots=True)
class Milled:
    """What one world came to."""

    seed: int
    payouts: int
    problems: tuple[str, ...]
    struck: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    signatures: int = 0


def mill(seed: int, rounds: int, folder: Path, *, quarantine_seconds: float = 960.0) -> Milled:
    """One world of escrows, each paid `rounds` times after its order. `folder` is removed again."""
    try:
        with (
            repeatable(seed),
            log_for_problems() as log,
            patch.object(address, "is_prime_order_point", cached_is_prime_order_point),
            asyncio.Runner(loop_factory=VirtualLoop) as runner,
        ):
            found = runner.run(_mill(seed, rounds, folder, quarantine_seconds))
    finally:
        forget(folder)
    return Milled(seed, found.payouts, (*log.faults, *found.problems), found.struck, found.crashes, found.signatures)


async def _mill(seed: int, rounds: int, folder: Path, quarantine_seconds: float) -> Milled:
    rng = Random(f"mill {seed}")
    weather: list[Weather] = []

    def make_weather(world: World) -> Weather:
        weather.append(Weather(Random(f"weather {seed}"), lambda: world.monero.daemon.url, CLIMATE))
        return weather[0]

    async with World(
        seed,
        folder,
        make_weather,
        slots=_SLOTS,
        quick=True,
        shared_disks=True,
        amid_work=CLIMATE.of_held_call,
        look_every_commits=40,
        quarantine_seconds=quarantine_seconds,
        late_coins="ask" if seed % 2 else "refund",
    ) as world:
        asyncio.get_running_loop().set_exception_handler(partial(keep_stray_error, world))
        world.also(_keep_processes(world, rng))
        works = Mill(
            world, weather[0], [new_trade(Random(f"{seed}/{number}"), number) for number in range(PAYOUTS_A_ROUND)], rng
        )
        problem = await works.run(rounds)
        wrong = [*world.ledger.alarms, *world.broken, *world.watch.problems]
        if problem is not None:
            wrong.append(problem)
        found = await works.views()
        wrong += books.Books(world).problems(works.trades, found)
        payouts = sum(len(view.payouts) for view in found)
        struck = weather[0].struck + works.asked
        return Milled(seed, payouts, tuple(wrong), struck, world.starts - 1, world.watch.looks["signature"])


async def _keep_processes(world: World, rng: Random) -> None:
    """Whatever died or lost a call is started anew; before that, the lost call may still run."""
    while True:
        await asyncio.sleep(rng.uniform(5, 60))
        for process in world.processes:
            if process.abandoned and rng.random() < _RUNS_LATE:
                process.run_late_calls()
            if process.abandoned:
                process.kill()
            if not process.running:
                process.start()
