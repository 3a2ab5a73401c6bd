"""Set-ups in a row while processes are killed: how many failures does a caller see?

One caller, six real processes, `kill -9` of one of them, picked at random, again and again; what is killed is started
again in its place, as a managed fleet or an init system does. A failure is any answer that is no escrow, or none at
all. 202, "recorded, goes on", is no failure and counted apart. The long form is a thousand, with one kill a minute.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random

import httpx2

from monero_escrow.bench.figures import Aim, Chart, Figure, Findings, On, Series, Unit, p50_and_p99
from monero_escrow.bench.run import Run
from monero_escrow.bench.stage import Fleet, Service, new_order_id, offline_fleet, offline_service, order_terms
from monero_escrow.core.roles import TRIO
from monero_escrow.monero.supervision import Patience, Supervisor

_TRIOS_OF_SLOTS = 2
_MADE, _RECORDED = 201, 202
_REQUEST_WAIT_SECONDS = 120  # the setting's default: what callers have


@dataclass
class Answers:
    """What the caller was answered."""

    seconds: list[float] = field(default_factory=list)
    recorded: int = 0
    failures: list[str] = field(default_factory=list)


async def measure(run: Run) -> Findings:
    """One set-up after another until all are done."""
    count, every_seconds = run.pick(3, 50, 1_000), run.pick(15.0, 30.0, 60.0)
    async with AsyncExitStack() as stack:
        supervisor = Supervisor(lambda _child: None, Patience(most_deaths=10_000))
        stack.push_async_callback(supervisor.aclose)
        run.teller.say("starting wallet-rpc processes and the service")
        fleet = await offline_fleet(stack, run.programs, run.folder, _TRIOS_OF_SLOTS * len(TRIO), supervisor)
        service = await offline_service(
            stack, fleet, run.folder / "service", request_wait_seconds=_REQUEST_WAIT_SECONDS
        )
        kills: list[float] = []
        killer = asyncio.create_task(_kill_again_and_again(fleet, every_seconds, Random(60), kills))
        try:
            answers = await _in_a_row(run, service, count)
        finally:
            killer.cancel()
    share = len(answers.failures) / count
    return Findings(
        figures=(
            Figure(f"{count} in a row: failures a caller sees", share, Unit.SHARE, On.REAL, Aim(0.001)),
            Figure("processes killed", float(len(kills)), Unit.COUNT, On.REAL),
            Figure("answered 202, and went on", float(answers.recorded), Unit.COUNT, On.REAL),
            *p50_and_p99("a set-up", answers.seconds or [0.0], Unit.SECONDS, On.REAL),
        ),
        series=(Series("set-ups amid kills", Unit.SECONDS, tuple(answers.seconds or [0.0])),),
        chart=Chart.CURVES,
        notes=(
            f"One kill every {every_seconds:g} s. The aim needs a thousand set-ups and more to be told from none.",
            *(f"A failure: {failure}" for failure in answers.failures[:5]),
        ),
    )


async def _in_a_row(run: Run, service: Service, count: int) -> Answers:
    answers = Answers()
    for number in range(count):
        run.teller.say("setting up amid kills", number, count)
        begun = time.perf_counter()
        try:
            answer = await service.shop.post(
                f"/api/orders/{new_order_id()}/init-escrow", json=order_terms(service.network)
            )
        except httpx2.HTTPError as error:
            answers.failures.append(type(error).__name__)
            continue
        if answer.status_code == _MADE:
            answers.seconds.append(time.perf_counter() - begun)
        elif answer.status_code == _RECORDED:
            answers.recorded += 1
        else:
            answers.failures.append(f"{answer.status_code} {answer.text[:200]}")
    return answers


async def _kill_again_and_again(fleet: Fleet, every_seconds: float, rng: Random, kills: list[float]) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        await rng.choice(fleet.processes).kill()
        kills.append(time.time())
