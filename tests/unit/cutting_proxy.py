"""A connection to PostgreSQL that is cut in the middle of COMMIT: a TCP proxy that reads along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from urllib.parse import urlsplit

from monero_escrow.monero.processes import LOOPBACK

_COMMIT = b"COMMIT\0"  # in the query that asks for it, and in the answer that says it is done


class Cut(Enum):
    """Where the next COMMIT is cut."""

    NOWHERE = "nowhere"
    BEFORE_THE_SERVER = "before the server got it"
    BEFORE_THE_ANSWER = "after the server did it, before its answer"


class CuttingProxy:
    """What goes through it goes on, until a cut. With `stays_cut`, nobody comes through any more after one."""

    def __init__(self, server_port: int) -> None:
        self.next_cut = Cut.NOWHERE
        self.stays_cut = False
        self.cuts = 0
        self._server_port = server_port
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        if self.cuts and self.stays_cut:
            writer.close()
            return
        to_server, from_us = await asyncio.open_connection(LOOPBACK, self._server_port)
        both = {writer, from_us}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry(reader, from_us, both, Cut.BEFORE_THE_SERVER))
                tasks.create_task(self._carry(to_server, writer, both, Cut.BEFORE_THE_ANSWER))
        finally:
            self._writers -= both
            for end in both:
                end.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, both: set[asyncio.StreamWriter], cut: Cut
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if self.next_cut is cut and _COMMIT in data:
                    self.next_cut = Cut.NOWHERE
                    self.cuts += 1
                    break
                writer.write(data)
                await writer.drain()
        for end in both:
            end.close()

    def close_all(self) -> None:
        """Whatever still runs through it is cut."""
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def cutting_proxy(url: str) -> AsyncIterator[tuple[CuttingProxy, str]]:
    """A proxy before the server of this URL, and the URL through it."""
    parts = urlsplit(url)
    proxy = CuttingProxy(parts.port or 0)
    listening = await asyncio.start_server(proxy.serve, LOOPBACK, 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy, parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")).geturl()
    finally:
        listening.close()
        proxy.close_all()
