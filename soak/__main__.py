"""`python -m soak [--kills 300] [--seed N]`: the storm, the calm, the comparison, the summary. Exit code 1 on any
difference.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from monero_escrow.core.address import Network
from monero_escrow.monero.programs import find_programs
from monero_escrow.store.opening import open_sqlcipher
from soak.books import Findings, compare, compare_signatures
from soak.orders import Order, OrderFlow
from soak.storm import Pace, Storm
from soak.summary import show
from soak.world import World, running_world

_SAY_EVERY_SECONDS: Final = 5.0
_MANAGED_GAP_SECONDS: Final = 4.0
"""Calls to the service's own processes are not seen, so that kills come by the clock: nearly two such pauses apart."""


def main() -> int:
    """The exit code."""
    options = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    options.add_argument("--kills", type=int, default=300, help="how many kill -9 (default 300)")
    options.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)), help="picks orders and kills")
    options.add_argument(
        "--gap", type=float, default=10.0, help="least mean number of calls between two kills (default 10)"
    )
    options.add_argument("--slots", type=int, default=4, help="wallet-rpc processes a class (default 4)")
    options.add_argument("--orders", type=int, default=10, help="orders under way at once (default 10)")
    options.add_argument("--calm", type=float, default=600.0, help="seconds for all to settle after the storm")
    options.add_argument("--managed", action="store_true", help="the service runs its wallet-rpc processes itself")
    options.add_argument("--keep", action="store_true", help="keep the logs also when all is well")
    return asyncio.run(_Soak(options.parse_args()).run())


class _Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._began = time.monotonic()
        rng = random.Random(options.seed)
        pace = Pace(silence_seconds=_MANAGED_GAP_SECONDS) if options.managed else Pace(gap_calls=options.gap)
        self._storm = Storm(random.Random(rng.random()), options.kills, pace)
        self._orders_rng = random.Random(rng.random())
        self._flow: OrderFlow | None = None

    async def run(self) -> int:
        self._say(f"{self._options.kills} kills, seed {self._options.seed}")
        folder = Path(tempfile.mkdtemp(prefix="monero-escrow-soak-"))
        programs = await asyncio.to_thread(find_programs)
        slots, managed = self._options.slots, self._options.managed
        async with running_world(programs, folder, self._storm, slots, self._say, managed=managed) as world:
            settled_seconds = await world.supervisor.while_kept(self._storm_and_calm(world))
            findings = await self._books(world, folder)
        took = time.monotonic() - self._began
        show(self._storm, self._orders(), findings, settled_seconds, took, self._options.seed)
        if findings.all_well and not self._options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"The logs are kept in {folder}")
        return 0 if findings.all_well else 1

    async def _storm_and_calm(self, world: World) -> float | None:
        """Seconds from the last kill until everything had settled; None when it did not in time."""
        flow = self._flow = OrderFlow(world, self._orders_rng, self._options.orders)
        progress = asyncio.create_task(self._tell_progress(world))
        flowing = asyncio.create_task(flow.flow())
        storm = asyncio.create_task(self._storm.blow())
        try:
            await asyncio.wait([storm, flowing], return_when=asyncio.FIRST_COMPLETED)
            if flowing.done():
                flowing.result()
            await storm
            self._say("the storm is over: no further orders, no further faults")
            flow.close()
            calm_since = time.monotonic()
            await asyncio.wait([flowing], timeout=self._options.calm)
            if not flowing.done():
                return None
            flowing.result()
            return time.monotonic() - calm_since
        finally:
            for task in (storm, flowing, progress):
                task.cancel()
            await asyncio.wait([storm, flowing, progress])

    async def _books(self, world: World, folder: Path) -> Findings:
        self._say("comparing the books with the chain")
        findings = await compare(world, self._orders())
        await world.supervisor.end(world.service)
        key = bytes.fromhex(world.key_file.read_text())
        store = open_sqlcipher(folder / "data" / "escrow.db", key, Network.REGTEST, migrates=False)
        try:
            await compare_signatures(findings, store, world.chain.daemon, self._orders())
        finally:
            store.close()
        return findings

    async def _tell_progress(self, world: World) -> None:
        while True:
            await asyncio.sleep(_SAY_EVERY_SECONDS)
            now = Counter(order.now for order in self._orders() if not order.finished)
            under_way = ", ".join(f"{count} {what}" for what, count in sorted(now.items()))
            finished = sum(order.finished for order in self._orders())
            spoilt = self._storm.spoilt.total()
            self._say(
                f"{self._storm.strikes}/{self._storm.kills} kills, {spoilt} calls spoilt; "
                f"orders: {finished} finished, {under_way or 'none under way'}"
            )

    def _orders(self) -> list[Order]:
        return [] if self._flow is None else self._flow.orders

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
