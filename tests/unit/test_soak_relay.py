"""The relay of the nodes' soak: what it passes on, and that its silence is one nobody is told of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

import pytest

from monero_escrow.monero.processes import LOOPBACK, free_port
from soak.relay import Relay

_SILENT_SECONDS = 0.1


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A program that says again what it hears. Its port."""

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while some := await reader.read(1000):
                writer.write(some)

    server = await asyncio.start_server(accepted, LOOPBACK, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def relay_to(port: int) -> AsyncIterator[Relay]:
    relay = Relay(LOOPBACK, port, free_port())
    await relay.listen()
    try:
        yield relay
    finally:
        await relay.aclose()


async def test_what_is_said_to_it_reaches_the_program_and_the_answer_comes_back() -> None:
    async with echo() as port, relay_to(port) as relay:
        reader, writer = await asyncio.open_connection(LOOPBACK, relay.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()


async def test_a_silence_ends_no_connection_and_what_waited_passes_after_it() -> None:
    async with echo() as port, relay_to(port) as relay:
        reader, writer = await asyncio.open_connection(LOOPBACK, relay.port)
        relay.fall_silent()
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(_SILENT_SECONDS):
                await reader.read(1)
        relay.speak()
        assert await reader.readexactly(5) == b"hello"
        writer.close()


async def test_whoever_connects_in_a_silence_is_neither_refused_nor_answered() -> None:
    async with echo() as port, relay_to(port) as relay:
        relay.fall_silent()
        reader, writer = await asyncio.open_connection(LOOPBACK, relay.port)
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(_SILENT_SECONDS):
                await reader.read(1)
        relay.speak()
        assert await reader.readexactly(5) == b"hello"
        writer.close()


async def test_a_program_that_is_not_there_ends_the_connection() -> None:
    async with relay_to(free_port()) as relay:
        reader, writer = await asyncio.open_connection(LOOPBACK, relay.port)
        with suppress(ConnectionError):  # either end of it will do
            assert await reader.read(1) == b""
        writer.close()
