"""One node of the soak: what can be done to it, and how it is told that it is there again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx2

from monero_escrow.fleet.orphans import processes_of
from monero_escrow.monero.processes import ChildProcess
from soak.nodes_wire import Wire

_READY_LIMIT_SECONDS: Final = 2.0


class ServiceNode:
    """One node: its process, its wallet-rpc processes, and its wire."""

    def __init__(self, child: ChildProcess, wire: Wire, data: Path, url: str) -> None:
        self.name = child.name
        self.child = child
        self.wire = wire
        self.url = url
        self.kills = 0
        self._data = data

    def __repr__(self) -> str:
        return f"ServiceNode({self.name!r})"

    async def kill(self) -> None:
        """kill -9 of the service and of everything it runs: the machine is gone."""
        self.kills += 1
        await self.child.kill()
        for pid in await asyncio.to_thread(self._fleet):
            _signal(pid, signal.SIGKILL)

    async def pause(self, *, with_wallets: bool) -> Callable[[], None]:
        """Stop the service in the middle of whatever it does (SIGSTOP). What is returned lets it go on."""
        pids = [self.child.pid, *(await asyncio.to_thread(self._fleet) if with_wallets else ())]
        for pid in pids:
            _signal(pid, signal.SIGSTOP)

        def go_on() -> None:
            for pid in reversed(pids):
                _signal(pid, signal.SIGCONT)

        return go_on

    async def ready(self) -> bool:
        """Whether it runs and its API says that it is ready."""
        if not self.child.running:
            return False
        with suppress(httpx2.HTTPError):
            async with httpx2.AsyncClient(trust_env=False, timeout=_READY_LIMIT_SECONDS) as http:
                return (await http.get(f"{self.url}/readyz")).is_success
        return False

    def told(self, words: str) -> int:
        """How many lines of its log have these words."""
        return sum(words in line for line in self.child.log_file.read_text(errors="replace").splitlines())

    def _fleet(self) -> list[int]:
        return [process.pid for process in processes_of(self._data / "fleet")]


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
