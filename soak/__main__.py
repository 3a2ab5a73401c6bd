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
from pathlib import Path
from typing import Final

from monero_escrow.core.address import Network
from monero_escrow.monero.programs import find_programs
from monero_escrow.store.opening import open_sqlcipher
from soak.books import Findings, compare, compare_signatures
from soak.calm import storm_and_calm, tell_progress
from soak.orders import Order, OrderFlow
from soak.storm import Pace, Storm
from soak.summary import show
from soak.world import World, running_world

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
        well = findings.all_well and settled_seconds is not None
        if well and not self._options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"The logs are kept in {folder}")
        return 0 if well else 1

    async def _storm_and_calm(self, world: World) -> float | None:
        flow = self._flow = OrderFlow(world, self._orders_rng, self._options.orders)
        progress = asyncio.create_task(tell_progress(self._struck, flow.orders, self._say))
        try:
            return await storm_and_calm(flow, self._storm.blow(), self._options.calm, self._say)
        finally:
            progress.cancel()

    def _struck(self) -> str:
        return f"{self._storm.strikes}/{self._storm.kills} kills, {self._storm.spoilt.total()} calls spoilt"

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

    def _orders(self) -> list[Order]:
        return [] if self._flow is None else self._flow.orders

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
