"""Real faults in every run of the tests: the short form of `make soak`, as a person would call it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.chain, pytest.mark.timeout(600)]

_ROOT = Path(__file__).parents[2]
_LIMIT_SECONDS = 540.0
KILLS = 30


async def test_thirty_kills_lose_nothing_and_pay_nothing_twice(tmp_path: Path) -> None:
    """Once, on the newest Monero there is: what differs between versions, the conformance suite pins."""
    seed = os.environ.get("SOAK_SEED", "1")
    soak = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "soak", "--kills", str(KILLS), "--seed", seed, "--orders", "3", "--slots", "3"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        cwd=_ROOT,
    )
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            said, _ = await soak.communicate()
    finally:
        if soak.returncode is None:
            soak.kill()
            await soak.wait()
    output = said.decode()
    assert soak.returncode == 0, output
    verdict = re.search(r"lost (\d+), doubled (\d+), other differences (\d+); (\d+) kills and (\d+) spoilt", output)
    assert verdict is not None, output
    lost, doubled, differences, kills, spoilt = map(int, verdict.groups())
    assert (lost, doubled, differences) == (0, 0, 0)
    assert kills >= KILLS
    assert spoilt > 0
    together = re.search(r"together +(\d+) +(\d+) +(\d+)\n", output)
    assert together is not None, output
    assert all(int(struck) > 0 for struck in together.groups()), "service, wallet-rpc and monerod were each struck"
    assert os.listdir(tmp_path) == [], "nothing is left when all is well"
