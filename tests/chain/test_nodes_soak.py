"""Real nodes under real faults in every run of the tests: the short form of `make soak-nodes`."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.chain, pytest.mark.newest_monero, pytest.mark.timeout(420)]

_ROOT = Path(__file__).parents[2]
_LIMIT_SECONDS = 400.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for all that it makes, into which PostgreSQL's own user can reach: pytest's are for us alone."""
    with tempfile.TemporaryDirectory(prefix="nodes-soak-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


async def test_a_killed_a_paused_and_a_cut_off_node_lose_nothing_and_pay_nothing_twice(folder: Path) -> None:
    seed = os.environ.get("SOAK_SEED", "1")
    soak = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "soak.nodes", "--once", "--orders", "3", "--seed", seed),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(folder)},
        cwd=_ROOT,
    )
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            said, _ = await soak.communicate()
    finally:
        if soak.returncode is None:
            soak.send_signal(signal.SIGTERM)  # it takes its networks down
            await soak.wait()
    output = said.decode()
    assert soak.returncode == 0, output
    verdict = re.search(r"lost (\d+), doubled (\d+), other differences (\d+); (\d+) takeovers and (\d+) faults", output)
    assert verdict is not None, output
    lost, doubled, differences, takeovers, faults = map(int, verdict.groups())
    assert (lost, doubled, differences) == (0, 0, 0)
    assert faults == 4
    assert takeovers > 0, "somebody was struck at work, and somebody else went on with it"
    assert os.listdir(folder) == [], "nothing is left when all is well"
    assert f"mesoak{soak.pid}" not in _links(), "no network is left"


def _links() -> str:
    try:
        return subprocess.run(["ip", "link", "show"], check=False, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return ""
