"""A thousand set-ups at once on three thousand fake slots: what does one service process add to the wallets' own time?

Everything but the processes is real: conductor, pool, journal, sealing, a SQLCipher file with synchronous writes. Each
call to a stand-in takes as long as one that `ten` recorded while 30 processes wanted two cores. The stand-ins' own
work, curves and all, is done on the same event loop and counts against the service.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

from monero_escrow.bench.figures import Aim, Chart, Figure, Findings, On, Series, Unit, p50_and_p99
from monero_escrow.bench.gauges import cpu_seconds
from monero_escrow.bench.latencies import read_latencies
from monero_escrow.bench.report import Form
from monero_escrow.bench.run import Run
from monero_escrow.bench.stage import new_order_id, some_address
from monero_escrow.bench.stand_ins import FOR_QUICK, NETWORK, SlowCalls, own_seconds, slow_slots
from monero_escrow.clock import SystemClock
from monero_escrow.config import Settings
from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import PICONERO_PER_XMR
from monero_escrow.core.payout import Terms
from monero_escrow.core.roles import TRIO
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.init_escrow import Order, init_escrow
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.store.opening import open_sqlcipher

_LIMIT_SECONDS = 1_200.0
_HEARTBEAT_SECONDS = 0.02


async def measure(run: Run) -> Findings:
    """All requests at once, each until its address is there."""
    count = run.pick(20, 1_000)
    latencies = FOR_QUICK if run.form is Form.QUICK else read_latencies(run.results)
    async with AsyncExitStack() as stack:
        run.teller.say(f"making {count * len(TRIO)} fake slots")
        plans = [SlowCalls(latencies, seed) for seed in range(count * len(TRIO))]
        conductor = await _service(stack, run, plans)
        for plan in plans:
            plan.at_work = True
        lags: list[float] = []
        _beside(stack, _beat(lags))
        cpu, begun = cpu_seconds([os.getpid()]), time.perf_counter()
        ends = await _set_up_all(run, conductor, count)
        wall, cpu = time.perf_counter() - begun, cpu_seconds([os.getpid()]) - cpu
    owns = [own_seconds([plan.given for plan in plans[first : first + 3]]) for first in range(0, len(plans), 3)]
    seconds = [end for end in ends if end is not None]
    ratio = wall / max(owns)
    return Findings(
        figures=(
            Figure(
                f"{count} at once: set-ups without an address", float(ends.count(None)), Unit.COUNT, On.FAKE, Aim(0)
            ),
            Figure("wall ÷ the slowest set-up's own latency", ratio, Unit.SHARE, On.FAKE, Aim(1.15)),
            Figure("wall", wall, Unit.SECONDS, On.FAKE),
            Figure("the slowest set-up's own latency", max(owns), Unit.SECONDS, On.FAKE),
            Figure("the median set-up's own latency", statistics.median(owns), Unit.SECONDS, On.FAKE),
            *p50_and_p99("one of them", seconds or [0.0], Unit.SECONDS, On.FAKE),
            Figure("CPU of the process, stand-ins included", cpu, Unit.SECONDS, On.FAKE),
            Figure("longest time the event loop was held", max(lags, default=0.0), Unit.SECONDS, On.FAKE),
        ),
        series=(
            Series("with the service", Unit.SECONDS, tuple(seconds or [0.0])),
            Series("the wallets' own latency", Unit.SECONDS, tuple(owns)),
        ),
        chart=Chart.CURVES,
        notes=("Measured on the fake: its calls take the time recorded by `ten`, and its work is done on our loop.",),
    )


async def _service(stack: AsyncExitStack, run: Run, plans: Sequence[SlowCalls]) -> Conductor:
    """The conductor at work on slots that are inspected, with a store of its own."""
    settings = Settings(
        _env_file=None,
        monero_network=NETWORK,
        monero_daemon_url=None,
        data_dir=run.folder,
        lease_wait_seconds=_LIMIT_SECONDS,
    )
    slots = await slow_slots(plans)
    store = open_sqlcipher(settings.database_path, os.urandom(32), NETWORK)
    stack.callback(store.close)
    clock = SystemClock()
    pool = SlotPool(slots, clock, quarantine_seconds=settings.quarantine_seconds)
    stack.push_async_callback(pool.aclose)
    conductor = Conductor(Context(settings, store, pool, None, clock))
    _beside(stack, conductor.run())
    return conductor


async def _set_up_all(run: Run, conductor: Conductor, count: int) -> list[float | None]:
    """Seconds of each from the request to its address; None for one that got none."""
    done = 0

    async def one() -> float | None:
        nonlocal done
        begun = time.perf_counter()
        terms = Terms(PICONERO_PER_XMR, some_address(NETWORK), some_address(NETWORK))
        made, _ = await init_escrow(conductor.ctx, "bench", Order(new_order_id(), terms), "bench")
        await conductor.wait_while(made.id, State.SETTING_UP, _LIMIT_SECONDS)
        seconds = time.perf_counter() - begun
        now = await conductor.ctx.store.read(lambda tx: tx.escrows.get(made.id))
        done += 1
        run.teller.say("set-ups with an address", done, count)
        return None if now.deposit_address is None or now.failures else seconds

    run.teller.say("set-ups with an address", 0, count)
    return list(await asyncio.gather(*(one() for _ in range(count))))


def _beside(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Run it beside everything else, until the stack ends it."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(end)


async def _beat(lags: list[float]) -> None:
    """Find out how long others kept the loop: wake often, and see how much too late."""
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(_HEARTBEAT_SECONDS)
        lags.append(time.perf_counter() - begun - _HEARTBEAT_SECONDS)
