"""`python -m soak.nodes [--nodes 3] [--takeovers 50] [--seed N]`: several nodes on one PostgreSQL, struck while orders
flow; then the calm, the books beside the chain, and the summary. Exit code 1 on any difference.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from monero_escrow.core.address import Network
from monero_escrow.monero.programs import find_programs
from monero_escrow.store.opening import open_postgresql
from soak.books import Findings, compare, compare_signatures
from soak.calm import storm_and_calm, tell_progress
from soak.nodes_storm import NodesStorm
from soak.nodes_summary import show
from soak.nodes_takeovers import Takeovers
from soak.nodes_world import NodesWorld, running_nodes
from soak.orders import Order, OrderFlow

_INTERRUPTED: Final = 130


def main() -> int:
    """The exit code."""
    options = argparse.ArgumentParser(prog="python -m soak.nodes", description=__doc__)
    options.add_argument("--nodes", type=int, default=3, help="how many nodes (default 3; at least 2)")
    options.add_argument("--takeovers", type=int, default=50, help="of set-ups and payouts together (default 50)")
    options.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)), help="picks orders and faults")
    options.add_argument("--orders", type=int, default=6, help="orders under way at once (default 6)")
    options.add_argument(
        "--once", action="store_true", help="a node killed, one paused, one cut off, one crash; no more"
    )
    options.add_argument("--relays", action="store_true", help="no network namespaces, also where root allows them")
    options.add_argument("--calm", type=float, default=600.0, help="seconds for all to settle after the storm")
    options.add_argument("--keep", action="store_true", help="keep the logs also when all is well")
    chosen = options.parse_args()
    if chosen.nodes < 2:
        options.error("With fewer than two nodes nobody takes anything over.")
    with suppress(KeyboardInterrupt):
        return asyncio.run(_ended_by_signal(_NodesSoak(chosen)))
    return _INTERRUPTED


async def _ended_by_signal(soak: _NodesSoak) -> int:
    """SIGTERM ends it as Ctrl-C does: with everything that runs, and every network, taken down."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await soak.run()
    except asyncio.CancelledError:
        return _INTERRUPTED


class _NodesSoak:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._began = time.monotonic()
        rng = random.Random(options.seed)
        self._storm_rng = random.Random(rng.random())
        self._orders_rng = random.Random(rng.random())
        self._flow: OrderFlow | None = None

    async def run(self) -> int:
        options = self._options
        self._say(f"{options.nodes} nodes, {options.takeovers} takeovers, seed {options.seed}")
        folder = Path(tempfile.mkdtemp(prefix="monero-escrow-soak-"))
        programs = await asyncio.to_thread(find_programs)
        well = False
        try:
            async with running_nodes(programs, folder, options.nodes, self._say, relays_alone=options.relays) as world:
                takeovers = Takeovers(
                    urlsplit(world.server.admin_url)._replace(path=urlsplit(world.books_url).path).geturl()
                )
                storm = NodesStorm(
                    world, takeovers, self._storm_rng, options.takeovers, once=options.once, say=self._say
                )
                try:
                    settled = await world.supervisor.while_kept(self._storm_and_calm(world, storm, takeovers))
                finally:
                    await takeovers.aclose()
                findings = await self._books(world, storm, takeovers)
            took = time.monotonic() - self._began
            show(world, storm, takeovers, self._orders(), findings, settled, took, options.seed)
            well = findings.all_well and settled is not None
        finally:
            if well and not options.keep:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                print(f"The logs are kept in {folder}")
        return 0 if well else 1

    async def _storm_and_calm(self, world: NodesWorld, storm: NodesStorm, takeovers: Takeovers) -> float | None:
        flow = self._flow = OrderFlow(world, self._orders_rng, self._options.orders)
        progress = asyncio.create_task(tell_progress(lambda: f"{takeovers.count()} takeovers", flow.orders, self._say))
        try:
            return await storm_and_calm(flow, storm.blow(), self._options.calm, self._say)
        finally:
            progress.cancel()

    async def _books(self, world: NodesWorld, storm: NodesStorm, takeovers: Takeovers) -> Findings:
        self._say("comparing the books with the chain")
        findings = await compare(world, self._orders())
        await world.end_nodes()
        key = bytes.fromhex(world.key_file.read_text())
        store = await asyncio.to_thread(open_postgresql, world.books_url, key, Network.REGTEST, migrates=False)
        try:
            await compare_signatures(findings, store, world.chain.daemon, self._orders())
        finally:
            store.close()
        findings.differences += [f"Nobody took over {what}." for what in takeovers.never]
        findings.differences += [*storm.never_ready, *world.died_by_themselves()]
        return findings

    def _orders(self) -> list[Order]:
        return [] if self._flow is None else self._flow.orders

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
