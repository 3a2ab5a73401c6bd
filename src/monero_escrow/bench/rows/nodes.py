"""Set-ups an hour with one, two and four nodes on one PostgreSQL: do two nodes do twice as much as one?

Each node is a process of its own with thirty fake trios, whose calls take as long as `ten` recorded: a machine has not
the cores for so many real ones. Services, PostgreSQL and orders are real. Every node gets three rounds of work; the
orders are recorded by somebody else, as they would be through another node's API.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from monero_escrow.bench.fake_node import Task
from monero_escrow.bench.figures import Aim, Figure, Findings, On, Unit
from monero_escrow.bench.gauges import busy_seconds
from monero_escrow.bench.latencies import read_latencies
from monero_escrow.bench.report import Form
from monero_escrow.bench.run import BenchFailedError, Run
from monero_escrow.bench.stage import SHOP, new_order_id, some_address
from monero_escrow.bench.stand_ins import FOR_QUICK, NETWORK
from monero_escrow.clock import SystemClock
from monero_escrow.config import Settings
from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import PICONERO_PER_XMR
from monero_escrow.core.payout import Terms
from monero_escrow.demo.private_postgres import PrivatePostgres
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.init_escrow import Order, init_escrows
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.store.opening import open_postgresql
from monero_escrow.store.store import SqlStore

_NODES: Final = (1, 2, 4)
_ROUNDS: Final = 3
_A_BATCH: Final = 30
_LIMIT_SECONDS: Final = 1_200.0


async def measure(run: Run) -> Findings:
    """The same work a node, with more and more of them."""
    trios = run.pick(3, 30)
    rates: dict[int, float] = {}
    cores: dict[int, float] = {}
    async with PrivatePostgres() as server:
        for nodes in _NODES:
            url = await server.new_database(f"nodes{nodes}")
            rates[nodes], cores[nodes] = await _rate(run, url, nodes, trios)
    figures = []
    for nodes in _NODES:
        name = f"{nodes} node{'s' if nodes > 1 else ''} of {trios} trios"
        figures.append(Figure(f"{name}: set-ups an hour", rates[nodes], Unit.COUNT, On.FAKE))
        figures.append(Figure(f"{name}: all cores busy", cores[nodes], Unit.SHARE, On.FAKE, Aim(0.7)))
        if nodes > 1:
            aim = Aim(0.9 * nodes, at_least=True)
            figures.append(
                Figure(f"{nodes} nodes ÷ 1 node, set-ups an hour", rates[nodes] / rates[1], Unit.TIMES, On.FAKE, aim)
            )
    return Findings(
        tuple(figures),
        notes=(
            f"{_ROUNDS} rounds of set-ups a node, from the first order to the last address; PostgreSQL is real.",
            "The stand-ins' calls take the time recorded by `ten`, and their work counts as the services'.",
        ),
    )


async def _rate(run: Run, url: str, nodes: int, trios: int) -> tuple[float, float]:
    """Set-ups an hour, and the share of all cores that was busy meanwhile, whoever used it."""
    key, orders = secrets.token_bytes(32), nodes * trios * _ROUNDS
    latencies = FOR_QUICK if run.form is Form.QUICK else read_latencies(run.results)
    store = open_postgresql(url, key, NETWORK)
    try:
        async with AsyncExitStack() as stack:
            for number in range(1, nodes + 1):
                task = Task(
                    name=f"node-{number}",
                    database_url=url,
                    master_key=key.hex(),
                    folder=str(run.folder / f"{nodes}-{number}"),
                    trios=trios,
                    seed=1_000 * number,
                    latencies={method: list(values) for method, values in latencies.by_method.items()},
                )
                await stack.enter_async_context(_node(task))
            begun, busy = time.perf_counter(), busy_seconds()
            await _order(store, orders)

            async def all_have_addresses() -> bool:
                counts = await store.read(lambda tx: tx.escrows.counts())
                done = counts.get(State.AWAITING_DEPOSIT, 0)
                run.teller.say(f"{nodes} of {_NODES[-1]} nodes: set-ups with an address", done, orders)
                return done == orders

            await run.until(
                all_have_addresses, "every order has an address", limit_seconds=_LIMIT_SECONDS, poll_seconds=0.5
            )
            wall = time.perf_counter() - begun
            share = (busy_seconds() - busy) / (wall * (os.cpu_count() or 1))
    finally:
        store.close()
    return orders / wall * 3_600, share


async def _order(store: SqlStore, count: int) -> None:
    """As another node's API would record them."""
    clock = SystemClock()
    pool = SlotPool([], clock, quarantine_seconds=0)
    ctx = Context(Settings(_env_file=None, monero_network=NETWORK), store, pool, None, clock)
    terms = Terms(PICONERO_PER_XMR, some_address(NETWORK), some_address(NETWORK))
    for first in range(0, count, _A_BATCH):
        orders = [Order(new_order_id(), terms) for _ in range(min(_A_BATCH, count - first))]
        await init_escrows(ctx, SHOP, orders, "bench")


@asynccontextmanager
async def _node(task: Task) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *_command(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018  both are pipes
    try:
        process.stdin.write(task.as_json())
        await process.stdin.drain()
        if (await process.stdout.readline()).strip() != b"ready":
            raise BenchFailedError(f"{task.name} ended before it was ready.")
        yield
    finally:
        process.stdin.close()
        await process.wait()


def _command() -> Sequence[str]:
    return (sys.executable, "-m", "monero_escrow.bench.fake_node")
