"""A service process at its most talkative: what it is given, and all that is written, answered or shown of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from monero_escrow.monero.processes import LOOPBACK, ChildProcess


@dataclass
class Places:
    """Everything that was written, answered or shown, by the kind of place."""

    bytes_of: defaultdict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, what: bytes | str) -> None:
        self.bytes_of[kind].append(what.encode() if isinstance(what, str) else what)

    def add_file(self, kind: str, file: Path) -> None:
        self.add(kind, file.read_bytes())

    async def hear(self, answer: httpx2.Response) -> None:
        """Every HTTP answer, its head too."""
        await answer.aread()
        self.add("HTTP answers", f"{answer.status_code} {answer.headers}\n{answer.text}")


@dataclass
class Service:
    """A service process, what it was given, and what is heard of it."""

    folder: Path
    settings: Mapping[str, str]
    wallets: list[ChildProcess]
    planted: dict[str, str]
    places: Places = field(default_factory=Places)

    @property
    def log(self) -> Path:
        return self.folder / "service.log"

    @property
    def key_file(self) -> Path:
        """A file with the operator's key, as an operator may have one."""
        file = self.folder / "operator.key"
        file.write_text(self.planted["operator key"])
        return file

    @property
    def environment(self) -> dict[str, str]:
        kept = ("PATH", "HOME", "PYTHONPATH")
        return {name: os.environ[name] for name in kept if name in os.environ} | dict(self.settings)

    async def command(self, *arguments: str) -> str:
        """What a `monero-escrow` command writes, complaints and all."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "monero_escrow", *arguments),
            env=self.environment,
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return said.decode()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        with self.log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "monero_escrow", "serve"),
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    def api(self, scope: str) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            base_url=f"http://{LOOPBACK}:{self.settings['SERVER_PORT']}",
            headers={"Authorization": f"Bearer {self.planted[f'{scope} key']}"},
            event_hooks={"response": [self.places.hear]},
            timeout=120,
            trust_env=False,
        )


class Relay:
    """A door between the service and its daemon that can be shut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self, port: int = 0) -> int:
        self._server = await asyncio.start_server(self._carry, LOOPBACK, port)
        return int(self._server.sockets[0].getsockname()[1])

    def shut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection(LOOPBACK, self._to)
        self._open |= {writer, other_writer}
        await asyncio.gather(_pipe(reader, other_writer), _pipe(other_reader, writer))
        self._open -= {writer, other_writer}


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while some := await reader.read(65_536):
            writer.write(some)
            await writer.drain()
    writer.close()
