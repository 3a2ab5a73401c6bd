"""A TCP proxy of our own between the service and one of Monero's programs, which sees every call pass and can spoil it.

It speaks as much HTTP as these programs do: one request at a time a connection, each with a Content-Length. One
connection of the service is one connection to the program, and both end together; and while the program is down the
proxy does not listen either, so that the service sees what it would see without it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from monero_escrow.monero.processes import LOOPBACK

_METHOD: Final = re.compile(rb'"method": ?"([a-z_]+)"')
_PATH: Final = re.compile(rb"POST /([a-z_]+)")
_LENGTH: Final = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
_LONGEST_HEAD_BYTES: Final = 64 * 1024


class Phase(Enum):
    """Where a call is."""

    ASKED = "before it was passed on"
    PASSED_ON = "just passed on"
    ANSWERED = "answered, and the answer not passed back"


class Verdict(Enum):
    """What becomes of a call in the phase it is in."""

    GO_ON = "go on"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Seen:
    """A call the proxy sees: to which program, which method, and where it is."""

    target: str
    method: str
    phase: Phase


Watcher = Callable[[Seen], Awaitable[Verdict]]
"""Told of each call in each phase; may take its time, and decides whether the call goes on."""


class Proxy:
    """Listens on `url` in place of the program at `upstream_url`. `name` is the program's, for the watcher."""

    def __init__(self, name: str, upstream_url: str, port: int, watch: Watcher) -> None:
        self.name = name
        self.url = f"http://{LOOPBACK}:{port}"
        self._upstream_port = urlsplit(upstream_url).port
        self._port = port
        self._watch = watch
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """The program is up: take connections."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accepted, LOOPBACK, self._port, limit=_LONGEST_HEAD_BYTES)

    def refuse(self) -> None:
        """The program is down: let nobody in. Connections that are open end with the program's own."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def aclose(self) -> None:
        """No connection is left."""
        self.refuse()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("A connection is served by a task.")
        self._connections.add(task)
        try:
            with suppress(OSError, EOFError, asyncio.CancelledError):
                await self._connect_through(reader, writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _connect_through(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        program, to_program = await asyncio.open_connection(LOOPBACK, self._upstream_port, limit=_LONGEST_HEAD_BYTES)
        try:
            while (request := await self._next_request(client, program)) is not None:
                if not await self._one_call(request, client, to_client, program, to_program):
                    return
        finally:
            to_program.transport.abort()

    async def _next_request(self, client: asyncio.StreamReader, program: asyncio.StreamReader) -> bytes | None:
        """None when either side closes first."""
        request = asyncio.create_task(_message(client))
        closed = asyncio.create_task(program.read(1))
        try:
            await asyncio.wait([request, closed], return_when=asyncio.FIRST_COMPLETED)
            return request.result() if request.done() and not closed.done() else None
        finally:
            for task in (request, closed):
                if not task.done():
                    task.cancel()
            await asyncio.wait([request, closed])

    async def _one_call(
        self,
        request: bytes,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        program: asyncio.StreamReader,
        to_program: asyncio.StreamWriter,
    ) -> bool:
        """Whether the connection goes on."""
        method = method_of(request)
        if await self._watch(Seen(self.name, method, Phase.ASKED)) is Verdict.CUT or client.at_eof():
            return False  # whoever asked is gone, and what they asked for must not come late
        to_program.write(request)
        await to_program.drain()
        if await self._watch(Seen(self.name, method, Phase.PASSED_ON)) is Verdict.CUT:
            return False
        answer = await _message(program)
        if await self._watch(Seen(self.name, method, Phase.ANSWERED)) is Verdict.CUT:
            return False
        to_client.write(answer)
        await to_client.drain()
        return True


def method_of(request: bytes) -> str:
    """The method of a JSON-RPC request, else the path of a plain one."""
    found = _METHOD.search(request) or _PATH.search(request)
    return found[1].decode() if found else "unknown"


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP message with a Content-Length, as it came. Raises IncompleteReadError, an EOFError, at its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + await reader.readexactly(int(length[1]) if length else 0)
