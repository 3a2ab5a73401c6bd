"""`monero-escrow demo` as its user meets it: the real command, what it prints, and the processes it runs.

Each of its processes is found by the demo's own folder, which stands in its command line or environment: so nothing
else on the machine is ever counted or killed.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

LINE_LIMIT_SECONDS: Final = 240.0
END_LIMIT_SECONDS: Final = 60.0

# What a process's command line holds, by what it is.
_WORDS_OF_KIND: Final = {
    "monerod": r"/monerod ",
    "the service": r"-m monero_escrow serve",
    "a command": r"-m monero_escrow keys",
    "a buyer slot": r"/fleet/buyer/process-",
    "a vendor slot": r"/fleet/vendor/process-",
    "an arbiter slot": r"/fleet/arbiter/process-",
    "the buyer's wallet": r"/person-buyer/",
    "the vendor's wallet": r"/person-vendor/",
    "the miner's wallet": r"/person-miner/",
}


class EndedEarlyError(AssertionError):
    """The demo ended before it printed what was waited for."""


class Demo:
    """The running command. All of its folders, and so the words its processes were started with, lie in `home`."""

    def __init__(self, process: asyncio.subprocess.Process, home: Path) -> None:
        self._process = process
        self.home = home
        self.lines: list[str] = []

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def until_line(self, pattern: str) -> None:
        """Read on until a line matches. Raises EndedEarlyError; TimeoutError, which tells what was printed so far."""
        try:
            async with asyncio.timeout(LINE_LIMIT_SECONDS):
                while (line := await self._next_line()) is not None:
                    if re.search(pattern, line):
                        return
        except TimeoutError:
            raise TimeoutError(f"No line {pattern!r} came within {LINE_LIMIT_SECONDS:.0f} s:\n{self.output}") from None
        raise EndedEarlyError(f"The demo ended before {pattern!r}:\n{self.output}")

    async def exit_code(self, limit_seconds: float = END_LIMIT_SECONDS) -> int:
        """Read to the end. Raises TimeoutError, which tells what it had printed so far."""
        try:
            async with asyncio.timeout(limit_seconds):
                while await self._next_line() is not None:
                    pass
                return await self._process.wait()
        except TimeoutError:
            raise TimeoutError(f"The demo did not end within {limit_seconds:.0f} s:\n{self.output}") from None

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def processes(self) -> dict[int, str]:
        """Everything that runs on behalf of this demo and of no other: command lines by process id."""
        return {pid: words for pid, words in _processes_of(self.home) if pid != self._process.pid}

    def kinds(self) -> dict[int, str]:
        """What each of its processes is, as far as it is one of those that matter."""
        found = {pid: kind_of(words) for pid, words in self.processes().items()}
        return {pid: kind for pid, kind in found.items() if kind is not None}

    def pids(self, kind: str) -> set[int]:
        """Its processes of this kind at the moment."""
        return {pid for pid, found in self.kinds().items() if found == kind}

    def kill(self, kind: str) -> bool:
        """kill -9 of one process of this kind, the first by its id; False when there is none at the moment."""
        for pid in sorted(self.pids(kind)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def equal_rows(self) -> list[str]:
        """The marks of its last table, one a receiver: a tick where plan and chain are equal to the piconero."""
        return [line.rstrip()[-1] for line in self.lines if re.match(r"#\d .*[✓✗]\s*$", line)]

    def folders(self) -> list[Path]:
        """What it made and did not remove."""
        return list(self.home.iterdir())

    async def _next_line(self) -> str | None:
        if self._process.stdout is None:
            raise RuntimeError("The demo's output is not read.")
        line = (await self._process.stdout.readline()).decode()
        if not line:
            return None
        self.lines.append(line.rstrip())
        return line


def kind_of(command_line: str) -> str | None:
    """What a process of the demo is, by its words."""
    return next((kind for kind, words in _WORDS_OF_KIND.items() if re.search(words, command_line)), None)


def _processes_of(home: Path) -> list[tuple[int, str]]:
    """Processes whose command line or environment names the folder. Zombies have neither."""
    token = os.fsencode(home)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if token in words or token in (folder / "environ").read_bytes():
                found.append((int(folder.name), words.replace(b"\0", b" ").decode(errors="replace")))
    return found


@asynccontextmanager
async def running_demo(home: Path, **environment: str) -> AsyncIterator[Demo]:
    """The demo, running in `home`; ended in any case."""
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
