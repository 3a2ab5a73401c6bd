"""Run the demo again and again, each time with one kill -9 at a random moment: it must end as if nothing had been.

    python -m soak.demo_kills [NUMBER] [SEED]

Exit code 1 when any run did not. The same seed picks the same kinds and parts of the demo's length again; the
machine's own timing decides what they hit.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from soak.running_demo import LINE_LIMIT_SECONDS, Demo, running_demo

_EXPECTED_SECONDS: Final = 36.0
_RECEIVERS: Final = 6
_KINDS: Final = (
    *("monerod", "monerod", "the service", "the service", "the buyer's wallet", "the vendor's wallet"),
    *("a buyer slot", "a vendor slot", "an arbiter slot"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What one run was given, and how it ended. `struck` is False when it was over, or not begun, at the moment."""

    kind: str
    moment_seconds: float
    struck: bool
    seconds: float
    last_step: str
    wrong: str | None


async def run_once(kind: str, moment_seconds: float) -> Run:
    """One demo, one kill."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="demo-kills-") as home:
        async with running_demo(Path(home)) as demo:
            ending = asyncio.create_task(demo.exit_code(LINE_LIMIT_SECONDS * 2))
            await asyncio.wait([ending], timeout=moment_seconds)
            while not (struck := demo.kill(kind)) and not ending.done():  # it may just be starting
                await asyncio.wait([ending], timeout=0.05)
            last_step = demo.lines[-1] if demo.lines else ""
            code = await ending
        return Run(kind, moment_seconds, struck, time.monotonic() - started, last_step, _wrong(demo, code))


def _wrong(demo: Demo, code: int) -> str | None:
    if code != 0:
        return f"exit code {code}:\n{demo.output}"
    if demo.equal_rows() != ["✓"] * _RECEIVERS:
        return f"not as planned:\n{demo.output}"
    if demo.processes():
        return f"left running: {demo.processes()}"
    return None


async def main(runs: int, seed: int) -> int:
    """All runs, a line each; the exit code."""
    rng = random.Random(seed)
    struck: Counter[str] = Counter()
    failed, expected_seconds = 0, _EXPECTED_SECONDS
    for number in range(1, runs + 1):
        run = await run_once(rng.choice(_KINDS), rng.random() * expected_seconds)
        expected_seconds = 0.9 * run.seconds  # on a busy machine it takes longer, and every moment is to be met
        struck[run.kind] += run.struck
        failed += run.wrong is not None
        verdict = "as planned" if run.wrong is None else "FAILED"
        when = f"{run.moment_seconds:5.1f} s" if run.struck else "  never"
        print(f"{number:3}/{runs}  {run.kind:20} killed at {when}: {verdict} after {run.seconds:.1f} s")
        print(f"         it was at: {run.last_step}", flush=True)
        if run.wrong:
            print(run.wrong, flush=True)
    print(f"{runs} demos, {struck.total()} kills, {failed} not as planned; seed {seed}")
    for kind, count in sorted(struck.items()):
        print(f"  {kind}: {count}")
    return 1 if failed else 0


if __name__ == "__main__":
    number, seed = (*map(int, sys.argv[1:3]), *(20, int.from_bytes(os.urandom(4)))[len(sys.argv) - 1 :])
    sys.exit(asyncio.run(main(number, seed)))
