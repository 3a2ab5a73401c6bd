"""Whoever is not the pinned one is told nothing, and the error says what is wrong in words an operator understands."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from monero_escrow.monero.access import make_pair
from monero_escrow.monero.errors import (
    CallerRefusedError,
    NotMoneroError,
    ProcessUnreachableError,
    WrongCertificateError,
)
from monero_escrow.monero.rpc import Credentials, RpcConnection
from monero_escrow.monero.tls import parse_fingerprint, pinned_tls, shown_fingerprint

LOGIN = Credentials("escrow", "correct horse")
PAIRS = ("process", "impostor", "caller")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """The folder of some key pairs, and their fingerprints."""
    folder = tmp_path_factory.mktemp("pairs")
    return folder, {who: make_pair(folder, who) for who in PAIRS}


class Listener:
    """Something that listens on a port, answers like wallet-rpc, and remembers all that it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.heard.append(f"{request.headers} {await request.text()}")
        return web.json_response({"jsonrpc": "2.0", "id": "1", "result": {}})


Listens = Callable[[Listener, ssl.SSLContext | None], Awaitable[str]]


@pytest_asyncio.fixture
async def listens() -> AsyncIterator[Listens]:
    """Start a listener, over TLS if it is given a context; answers its https URL all the same."""
    servers: list[TestServer] = []

    async def start(listener: Listener, tls: ssl.SSLContext | None) -> str:
        app = web.Application()
        app.router.add_post("/json_rpc", listener.answer)
        servers.append(TestServer(app))
        await servers[-1].start_server(ssl=tls)
        return f"https://127.0.0.1:{servers[-1].port}"

    yield start
    for server in servers:
        await server.close()


def server_tls(folder: Path, who: str, *, wants: str | None = None) -> ssl.SSLContext:
    """What a server shows, and whose certificate it wants to be shown, if anybody's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{who}.pem", folder / f"{who}.key")
    if wants is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / f"{wants}.pem")
    return context


async def call(url: str, tls: ssl.SSLContext | None) -> None:
    """A call that would tell a secret."""
    connection = RpcConnection(url, credentials=LOGIN, tls=tls)
    try:
        await connection.call("open_wallet", {"password": "battery staple"}, limit_seconds=5)
    finally:
        await connection.aclose()
        assert not connection.abandoned


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.MAXIMUM_SUPPORTED])
async def test_an_impostor_on_the_port_is_told_nothing(
    pairs: tuple[Path, dict[str, bytes]], listens: Listens, version: ssl.TLSVersion
) -> None:
    folder, prints = pairs
    impostor, shows = Listener(), server_tls(folder, "impostor")
    shows.maximum_version = version
    url = await listens(impostor, shows)
    with pytest.raises(WrongCertificateError) as trouble:
        await call(url, pinned_tls(prints["process"], (folder / "caller.pem", folder / "caller.key")))
    assert impostor.heard == []
    assert shown_fingerprint(prints["impostor"]) in trouble.value.message
    assert "battery" not in f"{trouble.value!r}"
    assert trouble.value.__cause__ is None


async def test_an_impostor_without_tls_is_told_nothing(pairs: tuple[Path, dict[str, bytes]], listens: Listens) -> None:
    impostor = Listener()
    with pytest.raises(NotMoneroError, match="does not speak TLS"):
        await call(await listens(impostor, None), pinned_tls(pairs[1]["process"]))
    assert impostor.heard == []


async def test_a_certificate_that_nobody_vouches_for_needs_a_pin(
    pairs: tuple[Path, dict[str, bytes]], listens: Listens
) -> None:
    folder, prints = pairs
    process = Listener()
    url = await listens(process, server_tls(folder, "process"))
    with pytest.raises(WrongCertificateError, match="no authority"):
        await call(url, None)
    assert process.heard == []
    await call(url, pinned_tls(prints["process"]))
    assert len(process.heard) == 1


async def test_a_caller_that_is_refused_knows_it_before_anything_is_sent(
    pairs: tuple[Path, dict[str, bytes]], listens: Listens
) -> None:
    """Else the call would look like one whose answer was lost, and its slot would rest for a quarter of an hour."""
    folder, prints = pairs
    process = Listener()
    url = await listens(process, server_tls(folder, "process", wants="caller"))
    for client in (None, (folder / "impostor.pem", folder / "impostor.key")):
        with pytest.raises((CallerRefusedError, ProcessUnreachableError)):  # asyncio may drop its own alert
            await call(url, pinned_tls(prints["process"], client))
    assert process.heard == []
    await call(url, pinned_tls(prints["process"], (folder / "caller.pem", folder / "caller.key")))
    assert len(process.heard) == 1


def test_a_pinned_context_is_refused_where_it_would_check_nothing(pairs: tuple[Path, dict[str, bytes]]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ssl.SSLError, match="asyncio alone"):
        pinned_tls(pairs[1]["process"]).wrap_socket(ours, do_handshake_on_connect=False).do_handshake()


@pytest.mark.parametrize("written", ["AB" * 32, ":".join(["ab"] * 32), " ".join(["Ab"] * 32)])
def test_a_fingerprint_is_read_as_people_write_it(written: str) -> None:
    assert parse_fingerprint(written) == b"\xab" * 32
    assert shown_fingerprint(parse_fingerprint(written)) == ":".join(["AB"] * 32)


@pytest.mark.parametrize("written", ["", "AB" * 20, "AB" * 33, "XY" * 32, "sha256//q6urq6s="])
def test_what_is_no_fingerprint_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        parse_fingerprint(written)
