"""What holds for every request: bounded bodies, a correlation id, safe headers, and no fault that tells anything."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx2
import pytest
import structlog
import uvicorn
from structlog.testing import capture_logs

from monero_escrow.core.errors import EscrowError, InvariantError
from monero_escrow.core.life_cycle import State
from monero_escrow.store.store import DatabaseBusyError
from monero_escrow.web.limits import MOST_BODY_BYTES, MOST_DISCARDED_BYTES
from web.world import Coin, World, order_body, problem_of

PATH = "/api/orders/order-1/init-escrow"
SECRET = "me_shop_a-secret-that-no-answer-may-carry"


async def chunks(total_bytes: int, seen: list[int]) -> AsyncIterator[bytes]:
    for _ in range(total_bytes // 4096):
        seen.append(4096)
        yield b"x" * 4096


async def asgi(
    world: World, headers: dict[str, str], messages: Sequence[dict[str, Any]], path: str = PATH
) -> list[dict[str, Any]]:
    """One request at the lowest level, where a client may lie: what the application sent."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "server": ("example.com", 80),
        "client": ("192.0.2.1", 1),
    }
    sent: list[dict[str, Any]] = []
    coming: Iterator[dict[str, Any]] = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(coming, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(message)

    await world.app(scope, receive, send)
    return sent


async def test_a_body_of_10_megabytes_is_refused_by_its_length_alone(world: World) -> None:
    async with world.client() as client:
        answer = await client.post(PATH, content=b"x" * 10_000_000)
    problem_of(answer, 413, "body_too_large")
    assert answer.headers["connection"] == "close"


async def test_a_body_without_a_length_is_refused_once_it_is_too_large(world: World) -> None:
    async with world.client() as client:
        problem_of(await client.post(PATH, content=chunks(10_000_000, [])), 413, "body_too_large")


async def test_a_body_without_an_end_is_given_up_on(world: World) -> None:
    seen: list[int] = []
    async with world.client() as client:
        problem_of(await client.post(PATH, content=chunks(10**12, seen)), 413, "body_too_large")
    assert sum(seen) <= MOST_BODY_BYTES + MOST_DISCARDED_BYTES + 8192


async def test_whoever_asks_before_sending_too_much_is_answered_without_sending_it(world: World) -> None:
    headers = {"Content-Length": "10000000", "Expect": "100-continue"}
    [start, _] = await asgi(world, headers, [])
    assert start["status"] == 413


async def test_too_large_a_body_is_answered_over_a_real_connection_too(world: World) -> None:
    listening = socket.create_server(("127.0.0.1", 0))  # connections are taken from here on, and served a little later
    port = listening.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(world.app, log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            problem_of(await client.post(PATH, content=b"x" * 10_000_000), 413, "body_too_large")
    finally:
        server.should_exit = True
        await serving


@pytest.mark.parametrize("length", ["10", "-5", "0", "many", "", "٣"])
async def test_a_length_that_lies_does_not_help(world: World, length: str) -> None:
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"x" * 40_000, "more_body": True}] * 3
    sent = await asgi(world, {"Content-Length": length}, messages)
    assert sent[0]["status"] == 413


async def test_half_a_body_is_never_taken_for_a_whole_one(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, (Coin(),))
    headers = {"Authorization": f"Bearer {world.keys['shop']}", "Content-Length": "100"}
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": True}]
    assert await asgi(world, headers, messages, f"/api/escrows/{escrow_id}/release") == []
    assert await world.state_of(escrow_id) is State.FUNDED


async def test_a_body_at_the_limit_is_read(world: World) -> None:
    padded = b"{}".ljust(MOST_BODY_BYTES)
    async with world.client() as client:
        answer = await client.post(PATH, content=padded, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


async def test_every_answer_carries_the_callers_own_request_id(world: World) -> None:
    async with world.client() as client:
        for path in ("/livez", "/api/escrows", "/nothing"):
            answer = await client.get(path, headers={"X-Request-ID": "order-77.a_B"})
            assert answer.headers["x-request-id"] == "order-77.a_B"


@pytest.mark.parametrize("sent", ["", "a" * 65, "a b", "a\x1b[31m", "-a", "x;y", "\xe9"])
async def test_a_request_id_that_does_not_belong_into_a_log_is_replaced(world: World, sent: str) -> None:
    async with world.client() as client:
        answer = await client.get("/livez", headers={b"X-Request-ID": sent.encode("latin-1")})
    assert answer.headers["x-request-id"] != sent
    assert len(answer.headers["x-request-id"]) == 24


async def test_one_log_line_a_request_names_route_and_escrow_but_no_path(world: World) -> None:
    async with world.client() as client:
        with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
            answer = await client.post(PATH, json=order_body(), headers={"X-Request-ID": "corr-1"})
    line = next(line for line in logs if line["event"] == "request")
    assert line["request_id"] == "corr-1"
    assert line["escrow_id"] == answer.json()["escrow_id"]
    assert line["caller"].startswith("shop:acme:")
    assert (line["method"], line["status"]) == ("POST", 201)
    assert "order-1" not in line["route"]
    assert "init-escrow" in line["route"]


async def test_a_problem_names_the_request_that_the_log_tells_of(world: World) -> None:
    async with world.client() as client:
        for path, status in (("/api/escrows/unknown", 404), ("/nothing", 404), ("/api/escrows?limit=x", 422)):
            answer = await client.get(path, headers={"X-Request-ID": "corr-3"})
            assert (answer.status_code, answer.json()["instance"]) == (status, "urn:monero-escrow:request:corr-3")


async def test_what_one_request_binds_to_the_log_is_gone_with_it(world: World) -> None:
    async with world.client() as client:
        await client.get("/api/escrows", headers={"X-Request-ID": "corr-2"})
    assert "request_id" not in structlog.contextvars.get_contextvars()


async def test_every_answer_forbids_caching_framing_and_sniffing(world: World) -> None:
    async with world.client() as client:
        for path in ("/livez", "/api/escrows", "/api/escrows/unknown", "/nothing", "/docs", "/openapi.json"):
            headers = (await client.get(path)).headers
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "default-src 'none'" in headers["content-security-policy"]


class _UnforeseenError(Exception):
    """What no one foresaw."""


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (_UnforeseenError(SECRET), 500, "internal"),
        (EscrowError(SECRET), 500, "internal"),
        (InvariantError(SECRET), 500, "invariant_broken"),
        (DatabaseBusyError("The database did not take the transaction: locked."), 503, "database_unavailable"),
        (AssertionError(SECRET), 500, "internal"),
    ],
)
async def test_a_fault_is_answered_by_its_code_and_told_only_to_the_log(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int, code: str
) -> None:
    async def fail(_: object) -> None:
        raise fault

    async with world.client() as client:
        monkeypatch.setattr(world.store, "read", fail)
        with capture_logs() as logs:
            answer = await client.get("/api/escrows")
    problem_of(answer, status, code)
    assert SECRET not in answer.text
    assert answer.headers["x-request-id"]
    assert status == 503 or any(line["event"] == "request_failed" for line in logs)
