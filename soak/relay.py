"""A TCP relay of our own: whoever connects to it reaches a program on loopback, and it can fall silent.

While it is silent nothing passes, in either direction, and nobody is told: no connection ends, none is refused. That
is what a broken network looks like from both of its ends. What was on its way goes on when the silence is over.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from monero_escrow.monero.processes import LOOPBACK

_MOST_AT_ONCE_BYTES: Final = 64 * 1024


class Relay:
    """Listens on `address` and passes on to `to_port` on loopback. `listen()`, and `aclose()` at the end."""

    def __init__(self, address: str, to_port: int, port: int) -> None:
        self.port = port
        self._address = address
        self._to_port = to_port
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Take connections from now on."""
        self._server = await asyncio.start_server(self._accepted, self._address, self.port)

    def fall_silent(self) -> None:
        """Nothing passes any more."""
        self._speaks.clear()

    def speak(self) -> None:
        """Everything passes again, what waited first."""
        self._speaks.set()

    async def aclose(self) -> None:
        """No connection is left."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("A connection is served by a task.")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with suppress(asyncio.CancelledError):  # asyncio's streams would report the end of a relay as a fault
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one side ends: then the other ends too."""
        ends = [writer]
        try:
            await self._speaks.wait()
            with suppress(OSError):
                there, back = await asyncio.open_connection(LOOPBACK, self._to_port)
                ends.append(back)
                await self._pass_both_ways(reader, back, there, writer)
        finally:
            for end in ends:
                end.transport.abort()

    async def _pass_both_ways(
        self,
        reader: asyncio.StreamReader,
        back: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        ways = [asyncio.create_task(self._pass(reader, back)), asyncio.create_task(self._pass(there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while some := await reader.read(_MOST_AT_ONCE_BYTES):
                await self._speaks.wait()
                writer.write(some)
                await writer.drain()
            await self._speaks.wait()  # nor is the end of a connection heard through a silence
