"""Slow and idle connections against a real server: they are closed in time, and nobody is kept out by them.

`MONERO_ESCROW_IDLE_CONNECTIONS=10000` is the long form.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from structlog.testing import capture_logs

from monero_escrow.monero.waiting import until
from monero_escrow.web.connections import CROWDED, REFUSED, SLOW, Connections
from monero_escrow.web.limits import RequestContext
from monero_escrow.web.listening import listeners
from monero_escrow.web.server import MOST_HEAD_BYTES, server_config
from monero_escrow.web.tls import OwnTls
from unit.test_own_tls import write_pair
from web.world import World, order_body, settings_are

IDLE = int(os.environ.get("MONERO_ESCROW_IDLE_CONNECTIONS", "2000"))
PATIENCE_SECONDS = 1.0
HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def serving(world: World, tls: OwnTls | None = None) -> AsyncIterator[tuple[int, Connections]]:
    """The world's application on a real port, as the service serves it."""
    settings = world.settings
    connections = Connections(world.clock, world.ctx.metrics, settings.most_connections, settings.slow_caller_seconds)
    server = uvicorn.Server(server_config(world.app, settings, connections, tls))
    with listeners(settings.model_copy(update={"server_port": 0}), connections) as sockets:
        port = sockets[0].getsockname()[1]
        jobs = [asyncio.create_task(server.serve(sockets=list(sockets))), asyncio.create_task(connections.run())]
        try:
            yield port, connections
        finally:
            server.should_exit = True
            jobs[1].cancel()
            await asyncio.wait(jobs)


async def closed(reader: asyncio.StreamReader, seconds: float = 10) -> bytes:
    """What came until the other end closed."""
    async with asyncio.timeout(seconds):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def drip(writer: asyncio.StreamWriter, every_seconds: float) -> None:
    """A head that never ends, a byte at a time."""
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(every_seconds)


def closed_for(world: World, cause: str) -> float:
    return world.ctx.metrics.connections_closed.labels(cause)._value.get()  # type: ignore[no-any-return]


@contextmanager
def many_descriptors(count: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < count:
        pytest.skip(f"{count} descriptors are needed, and {before[1]} allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(count, before[0]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@settings_are(slow_caller_seconds=PATIENCE_SECONDS)
async def test_a_head_that_drips_is_closed_in_time_however_lively_it_drips(world: World) -> None:
    async with serving(world) as (port, _):
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        dripping = asyncio.create_task(drip(writer, 0.02))
        assert await closed(reader) == b""
        assert PATIENCE_SECONDS <= time.monotonic() - began < PATIENCE_SECONDS + 5
        dripping.cancel()
        writer.close()
    assert closed_for(world, SLOW) == 1


@settings_are(slow_caller_seconds=PATIENCE_SECONDS)
async def test_a_connection_that_says_nothing_is_closed_before_its_first_request_and_after_one(world: World) -> None:
    async with serving(world) as (port, connections):
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", port)
        asked, asked_writer = await asyncio.open_connection("127.0.0.1", port)
        asked_writer.write(HEAD)
        assert await closed(silent) == b""
        assert (await closed(asked)).startswith(b"HTTP/1.1 200 OK")
        silent_writer.close()
        asked_writer.close()

        async def none_left() -> bool:
            return len(connections) == 0

        await until(none_left, limit_seconds=10)


@settings_are(slow_caller_seconds=PATIENCE_SECONDS)
async def test_a_body_that_does_not_come_is_answered_408_and_the_connection_closed(world: World) -> None:
    async with serving(world) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /api/orders/1/init-escrow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        answer = await closed(reader)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"slow_body" in answer


@settings_are(slow_caller_seconds=30)
async def test_a_head_that_is_too_large_is_refused(world: World) -> None:
    async with serving(world) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"x" * (MOST_HEAD_BYTES + 1))
        assert (await closed(reader)).startswith(b"HTTP/1.1 400")
        writer.close()


@settings_are(slow_caller_seconds=PATIENCE_SECONDS)
async def test_whoever_does_not_take_the_answer_is_cut_off(world: World) -> None:
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})

    world.app = RequestContext(endless)  # type: ignore[assignment]
    with capture_logs() as said:
        await _never_read(world)
    assert "caller_left" in [line["event"] for line in said]
    assert "request_failed" not in [line["event"] for line in said]


async def _never_read(world: World) -> None:
    async with serving(world) as (port, connections):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(HEAD)

        async def cut_off() -> bool:
            return closed_for(world, SLOW) == 1 and len(connections) == 0

        await until(cut_off, limit_seconds=20)
        connection.close()


@settings_are(slow_caller_seconds=120, most_connections=500)
async def test_idle_connections_keep_nobody_out(world: World) -> None:
    idle: list[socket.socket] = []
    with many_descriptors(IDLE + 2500):
        async with serving(world) as (port, connections):
            try:
                for number in range(IDLE):
                    connection = socket.socket()
                    connection.setblocking(False)
                    connection.connect_ex(("127.0.0.1", port))
                    idle.append(connection)
                    if number % 100 == 99:
                        await asyncio.sleep(0)
                slowest_seconds = 0.0
                for _ in range(20):
                    began = time.monotonic()
                    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                        client.headers["Authorization"] = f"Bearer {world.keys['shop']}"
                        assert (await client.get("/api/escrows")).status_code == 200
                    slowest_seconds = max(slowest_seconds, time.monotonic() - began)
                assert len(connections) <= 500
                assert slowest_seconds < 5
                assert closed_for(world, CROWDED) >= IDLE - 500
            finally:
                for connection in idle:
                    connection.close()


@settings_are(slow_caller_seconds=60, most_connections=20)
async def test_connections_at_work_are_not_closed_for_new_ones(world: World) -> None:
    world.conductor.set_ups = False
    release = asyncio.Event()

    async def wait(*_: object) -> None:
        await release.wait()

    world.conductor.wait_while = wait  # type: ignore[method-assign,assignment]
    async with serving(world) as (port, connections):
        url = f"http://127.0.0.1:{port}"
        clients = [httpx2.AsyncClient(base_url=url, timeout=30) for _ in range(20)]
        key = {"Authorization": f"Bearer {world.keys['shop']}"}
        asking = [
            asyncio.create_task(client.post(f"/api/orders/{n}/init-escrow", json=order_body(), headers=key))
            for n, client in enumerate(clients)
        ]

        async def all_at_work() -> bool:
            return len(connections) == 20 and not connections._waiting

        await until(all_at_work, limit_seconds=20)
        with pytest.raises(httpx2.TransportError):
            async with httpx2.AsyncClient(base_url=url) as one_more:
                await one_more.get("/livez")
        assert closed_for(world, REFUSED) == 1
        assert closed_for(world, CROWDED) == 0
        release.set()
        assert {(await answer).status_code for answer in asking} == {202}
        for client in clients:
            await client.aclose()


@settings_are(slow_caller_seconds=3)  # a handshake and a head have to fit in, however busy the machine is
async def test_over_tls_a_handshake_that_never_begins_is_closed_too_and_answers_say_that_tls_is_kept(
    world: World, tmp_path: Path
) -> None:
    cert_file, key_file = write_pair(tmp_path)
    async with serving(world, OwnTls(cert_file, key_file)) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        trusting = ssl.create_default_context(cafile=str(cert_file))
        async with httpx2.AsyncClient(base_url=f"https://localhost:{port}", verify=trusting) as client:
            answer = await client.get("/livez")
            signed_in = await client.post(
                "/admin/sign-in", data={"key": world.keys["operator"]}, headers={"Origin": f"https://localhost:{port}"}
            )
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert "secure" in signed_in.headers["set-cookie"].lower()
        assert await closed(reader) == b""
        writer.close()
