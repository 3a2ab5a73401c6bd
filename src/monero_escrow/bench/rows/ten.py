"""Ten set-ups at once on 30 real processes: does all of it succeed, and do the cores have nothing but wallet work?

Also writes down how long each call took while 30 processes wanted two cores: `fake-thousand` gives its stand-ins these
latencies. The long form is 100 at once on 300.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from monero_escrow.bench.figures import Aim, Chart, Figure, Findings, On, Series, Unit, p50_and_p99
from monero_escrow.bench.gauges import busy_seconds, cpu_seconds
from monero_escrow.bench.latencies import Latencies, write_latencies
from monero_escrow.bench.report import Form
from monero_escrow.bench.run import BenchFailedError, Run
from monero_escrow.bench.service_log import logged_calls
from monero_escrow.bench.stage import Service, offline_fleet, offline_service, timed
from monero_escrow.core.roles import TRIO

_LIMIT_SECONDS = 1_800.0


async def measure(run: Run) -> Findings:
    """All at once, over HTTP, until the last has its address."""
    at_once = run.pick(2, 10, 100)
    async with AsyncExitStack() as stack:
        run.teller.say(f"starting {at_once * len(TRIO)} wallet-rpc processes")
        fleet = await offline_fleet(stack, run.programs, run.folder, at_once * len(TRIO))
        service = await offline_service(stack, fleet, run.folder / "service", log_level="debug")
        wallets, ours = cpu_seconds(fleet.pids), cpu_seconds([service.process.pid])
        busy, since, begun = busy_seconds(), time.time(), time.perf_counter()
        ends = await _all_at_once(run, service, at_once)
        wall = time.perf_counter() - begun
        wallets, ours = cpu_seconds(fleet.pids) - wallets, cpu_seconds([service.process.pid]) - ours
        others = max(0.0, busy_seconds() - busy - wallets - ours)
        latencies = Latencies.of(logged_calls(service.log, since))
    seconds = [end for end in ends if isinstance(end, float)]
    if not seconds:
        raise BenchFailedError(f"None of {at_once} set-ups succeeded: {ends[0]}")
    if run.form is not Form.LONG:  # the others ask for those of 30 processes
        write_latencies(latencies, run.results)
    all_cores = len(os.sched_getaffinity(0)) * wall
    figures = (
        Figure(f"{at_once} at once: set-ups that failed", float(at_once - len(seconds)), Unit.COUNT, On.REAL, Aim(0)),
        Figure(
            "cores busy with wallet work",
            wallets / max(all_cores - others, wallets),
            Unit.SHARE,
            On.REAL,
            Aim(0.9, at_least=True),
            f"of the time other programs left, who took {others / all_cores:.0%}",
        ),
        Figure("the service's share of the CPU", ours / (ours + wallets), Unit.SHARE, On.REAL, Aim(0.05)),
        Figure("all of them, wall", wall, Unit.SECONDS, On.REAL),
        Figure("CPU a set-up, wallets", wallets / len(seconds), Unit.SECONDS, On.REAL),
        *p50_and_p99("one of them", seconds, Unit.SECONDS, On.REAL),
    )
    series = [Series("set-ups", Unit.SECONDS, tuple(sorted(seconds)))]
    series += [Series(method, Unit.SECONDS, values) for method, values in latencies.slowest(4)]
    failed = tuple(f"One failed: {end}" for end in ends if not isinstance(end, float))
    return Findings(figures, tuple(series), Chart.CURVES, failed)


async def _all_at_once(run: Run, service: Service, count: int) -> list[float | BaseException]:
    """Seconds of each, or what it was refused with."""
    done = 0

    async def one(work: Coroutine[Any, Any, object]) -> float:
        nonlocal done
        seconds = await timed(work)
        done += 1
        run.teller.say("setting up, all at once", done, count)
        return seconds

    run.teller.say("setting up, all at once", 0, count)
    async with asyncio.timeout(_LIMIT_SECONDS):
        return list(await asyncio.gather(*(one(service.init_escrow()) for _ in range(count)), return_exceptions=True))
