"""One node on fake slots, as a process of its own: `python -m monero_escrow.bench.fake_node`, for the row `nodes`.

Everything but the wallets is real. What it is to do comes as JSON on standard input; it says "ready", then works until
its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from monero_escrow.bench.latencies import Latencies
from monero_escrow.bench.stand_ins import NETWORK, SlowCalls, slow_slots
from monero_escrow.clock import SystemClock
from monero_escrow.config import Settings
from monero_escrow.core.roles import TRIO
from monero_escrow.escrows.context import Context
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.membership import joined_node
from monero_escrow.store.opening import open_postgresql
from monero_escrow.telemetry.logging import configure_logging

_LEASE_WAIT_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Task:
    """What a node is told."""

    name: str
    database_url: str
    master_key: str
    folder: str
    trios: int
    seed: int
    latencies: dict[str, list[float]]

    def as_json(self) -> bytes:
        """One line."""
        return json.dumps(asdict(self)).encode() + b"\n"


async def work(task: Task) -> None:
    """Be that node until cancelled."""
    settings = Settings(
        _env_file=None,
        monero_network=NETWORK,
        data_dir=Path(task.folder),
        database_url=task.database_url,
        node_name=task.name,
        stock_target=0,
        lease_wait_seconds=_LEASE_WAIT_SECONDS,
    )
    latencies = Latencies({method: tuple(seconds) for method, seconds in task.latencies.items()})
    plans = [SlowCalls(latencies, task.seed + number) for number in range(task.trios * len(TRIO))]
    store = open_postgresql(task.database_url, bytes.fromhex(task.master_key), NETWORK)
    try:
        async with joined_node(settings, store, SystemClock()) as member:
            clock = member.node.clock
            pool = SlotPool(await slow_slots(plans), clock, quarantine_seconds=settings.quarantine_seconds)
            conductor = member.conductor(Context(settings, store, pool, None, clock))
            for plan in plans:
                plan.at_work = True
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            async with asyncio.TaskGroup() as jobs:
                for job in (conductor.run(), *member.jobs(conductor)):
                    jobs.create_task(job)
    finally:
        store.close()


async def _main() -> None:
    configure_logging("error", "text")
    task = Task(**json.loads(sys.stdin.readline()))
    working = asyncio.create_task(work(task))
    told_to_end = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait([working, told_to_end], return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
    working.cancel()
    await asyncio.wait([working])


if __name__ == "__main__":
    asyncio.run(_main())
