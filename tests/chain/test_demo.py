"""The demo as its user meets it: the real command and real Monero programs; its output, its exit code, nothing left."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

pytestmark = [pytest.mark.chain, pytest.mark.timeout(420)]

_LINE_LIMIT_SECONDS = 240.0
_END_LIMIT_SECONDS = 60.0


class Demo:
    """The running command. All of its folders, and so the words its processes were started with, lie in `home`."""

    def __init__(self, process: asyncio.subprocess.Process, home: Path) -> None:
        self._process = process
        self.home = home
        self.lines: list[str] = []

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    async def until_line(self, pattern: str) -> None:
        """Read on until a line matches."""
        async with asyncio.timeout(_LINE_LIMIT_SECONDS):
            while (line := await self._next_line()) is not None:
                if re.search(pattern, line):
                    return
        pytest.fail(f"The demo ended before {pattern!r}:\n{self.output}")

    async def exit_code(self, limit_seconds: float = _END_LIMIT_SECONDS) -> int:
        async with asyncio.timeout(limit_seconds):
            while await self._next_line() is not None:
                pass
            return await self._process.wait()

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def processes(self) -> dict[int, str]:
        """Everything that runs on behalf of this demo and of no other: command lines by process id."""
        return {pid: words for pid, words in _processes_of(self.home) if pid != self._process.pid}

    def folders(self) -> list[Path]:
        """What it made and did not remove."""
        return list(self.home.iterdir())

    async def _next_line(self) -> str | None:
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        if not line:
            return None
        self.lines.append(line.rstrip())
        return line


def _processes_of(home: Path) -> list[tuple[int, str]]:
    """Processes whose command line or environment names the folder. Zombies have neither."""
    token = os.fsencode(home)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if token in words or token in (folder / "environ").read_bytes():
                found.append((int(folder.name), words.replace(b"\0", b" ").decode()))
    return found


@asynccontextmanager
async def running_demo(home: Path, **environment: str) -> AsyncIterator[Demo]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "monero_escrow", "demo"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(home), **environment},
        cwd=home,
    )
    try:
        yield Demo(process, home)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_three_orders_are_paid_to_the_piconero_and_nothing_is_left(tmp_path: Path) -> None:
    async with running_demo(tmp_path) as demo:
        await demo.until_line(r"service: ready")
        assert len(demo.processes()) >= 8, "monerod, three people, three slots and the service run meanwhile"
        assert await demo.exit_code(_LINE_LIMIT_SECONDS) == 0, demo.output
    for ending in ("#1 released to vendor", "#2 refunded to buyer", "#3 ruled 70/30"):
        rows = [line for line in demo.lines if line.startswith(ending) and line.endswith(("✓", "✗"))]
        assert [row.rstrip()[-1] for row in rows] == ["✓", "✓"], demo.output
    assert demo.processes() == {}
    assert demo.folders() == [], "the folder with keys and logs is removed"


@pytest.mark.parametrize("moment", [r"people's wallets: being made", r"#1 release .*: paid"])
async def test_ctrl_c_leaves_no_process_and_no_folder(tmp_path: Path, moment: str) -> None:
    async with running_demo(tmp_path) as demo:
        await demo.until_line(moment)
        assert demo.processes()
        demo.interrupt()
        assert await demo.exit_code() == 130, demo.output
    assert demo.processes() == {}
    assert demo.folders() == []


async def test_a_second_ctrl_c_does_not_interrupt_the_clearing_away(tmp_path: Path) -> None:
    async with running_demo(tmp_path) as demo:
        await demo.until_line(r"slots: 3 running")
        demo.interrupt()
        await demo.until_line(r"Ending every process")
        demo.interrupt()
        assert await demo.exit_code() == 130, demo.output
    assert demo.processes() == {}


async def test_a_failure_names_the_step_and_keeps_the_logs(tmp_path: Path) -> None:
    async with running_demo(tmp_path) as demo:
        await demo.until_line(r"slots: 3 running")
        os.kill(_only(demo.processes(), lambda words: "/monerod " in words), signal.SIGKILL)
        assert await demo.exit_code() == 1, demo.output
    assert re.search(r"The demo failed at: \w+", demo.output)
    assert "What to do: " in demo.output
    assert "Traceback" not in demo.output
    (folder,) = demo.folders()
    assert f"The logs are kept in {folder}" in demo.output
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.rglob("monerod.log"))
    assert demo.processes() == {}


async def test_without_monero_it_says_how_to_get_it(tmp_path: Path) -> None:
    async with running_demo(tmp_path, MONERO_BIN_DIR=str(tmp_path)) as demo:
        assert await demo.exit_code() == 1
    assert "scripts/get-monero" in demo.output
    assert demo.folders() == []


def _only(processes: dict[int, str], condition: Callable[[str], bool]) -> int:
    (pid,) = (pid for pid, words in processes.items() if condition(words))
    return pid
