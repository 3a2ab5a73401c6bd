"""init-escrow from stock, over HTTP: finished trios wait, and an order takes one.

Real wallets, made by the service while its slots are idle; then one caller after another asks for an escrow. Filling
the stock takes what cold set-ups take, and is shown beside it. As in real life, the stock is being refilled meanwhile.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

from monero_escrow.bench.figures import Aim, Chart, Figure, Findings, On, Series, Unit, p50_and_p99
from monero_escrow.bench.planted import trios_in_stock
from monero_escrow.bench.run import Run
from monero_escrow.bench.stage import offline_fleet, offline_service, timed
from monero_escrow.core.roles import TRIO

_A_TRIO_LIMIT_SECONDS = 60.0
_TRIOS_OF_SLOTS = 2


async def measure(run: Run) -> Findings:
    """Fill the stock, then empty it, call by call."""
    calls = run.pick(2, 50, 200)
    async with AsyncExitStack() as stack:
        run.teller.say("starting wallet-rpc processes and the service")
        fleet = await offline_fleet(stack, run.programs, run.folder, _TRIOS_OF_SLOTS * len(TRIO))
        begun = time.perf_counter()
        service = await offline_service(stack, fleet, run.folder / "service", stock_target=calls)
        store = service.open_store()
        stack.callback(store.close)

        async def full() -> bool:
            ready = await trios_in_stock(store)
            run.teller.say("filling the stock", ready, calls)
            return ready >= calls

        await run.until(full, "the stock to fill", limit_seconds=calls * _A_TRIO_LIMIT_SECONDS, poll_seconds=0.5)
        filled = time.perf_counter() - begun
        seconds = []
        for number in range(calls):
            run.teller.say("asking for escrows", number, calls)
            seconds.append(await timed(service.init_escrow()))
    p50, p99 = p50_and_p99("init-escrow from stock", seconds, Unit.SECONDS, On.REAL, (Aim(0.015), Aim(0.060)))
    return Findings(
        figures=(
            p50,
            p99,
            Figure("a trio of the stock, made by idle slots", filled / calls, Unit.SECONDS, On.REAL),
        ),
        series=(Series("init-escrow from stock", Unit.SECONDS, tuple(seconds)),),
        chart=Chart.CURVES,
        notes=(f"{calls} calls one after another, over loopback, by one caller who keeps the connection.",),
    )
