"""The wire: authentication, pinned certificates, time limits, and what is not Monero."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from conformance.conftest import StartOffline
from monero_escrow.core.address import Network
from monero_escrow.core.errors import EscrowError
from monero_escrow.monero.errors import (
    AuthenticationRefusedError,
    CallAbandonedError,
    NotMoneroError,
    NoWalletOpenError,
    ProcessUnreachableError,
)
from monero_escrow.monero.processes import ProgramFailedError, free_port, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.rpc import Credentials, RpcConnection
from monero_escrow.monero.waiting import until
from monero_escrow.monero.wallet_rpc import WalletRpcClient

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest_asyncio.fixture(loop_scope="session")
async def serve() -> AsyncIterator[Callable[[Answer], Awaitable[str]]]:
    """Start an HTTP server that answers every call with `answer`; answers its URL."""
    servers: list[TestServer] = []

    async def start(answer: Answer) -> str:
        app = web.Application()
        app.router.add_post("/json_rpc", answer)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return f"http://127.0.0.1:{server.port}"

    yield start
    for server in servers:
        await server.close()


async def test_nobody_listens(real_offline: WalletRpcClient) -> None:
    client = WalletRpcClient(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ProcessUnreachableError):
        await client.get_version()
    assert not client.abandoned
    await client.aclose()


@pytest.mark.parametrize(
    "body",
    [
        "<html>hello</html>",
        "{}",
        "[]",
        "null",
        '"text"',
        "[" * 100_000,
        '{"jsonrpc": "2.0", "id": "1", "result": []}',
        '{"jsonrpc": "2.0", "id": "1", "result": {"version": "1.28"}}',
        '{"jsonrpc": "2.0", "id": "1", "result": {"version": 1.5}}',
        '{"jsonrpc": "2.0", "id": "1", "result": {"version": true}}',
        '{"jsonrpc": "2.0", "id": "1", "result": {"version": -1}}',
        '{"jsonrpc": "2.0", "id": "1", "result": {"version": 18446744073709551616}}',
        '{"jsonrpc": "2.0", "id": "2", "result": {"version": 65564}}',
        '{"jsonrpc": "1.0", "id": "1", "result": {"version": 65564}}',
        '{"jsonrpc": "2.0", "id": "1", "error": {"code": "-1"}}',
        '{"jsonrpc": "2.0", "id": "1", "error": "no"}',
    ],
    ids=lambda body: body[:60],
)
async def test_what_does_not_speak_moneros_json_rpc_is_not_monero(
    serve: Callable[[Answer], Awaitable[str]], body: str
) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=body)

    client = WalletRpcClient(await serve(answer))
    with pytest.raises(NotMoneroError):
        await client.get_version()
    assert not client.abandoned
    await client.aclose()


@pytest.mark.parametrize("status", [204, 302, 404, 500])
async def test_another_http_status_is_not_monero(serve: Callable[[Answer], Awaitable[str]], status: int) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "http://127.0.0.1:9/"})

    client = WalletRpcClient(await serve(answer))
    with pytest.raises(NotMoneroError):
        await client.get_version()
    await client.aclose()


async def test_an_answer_without_end_is_cut_off(serve: Callable[[Answer], Awaitable[str]]) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" " * 65536)
        return response

    connection = RpcConnection(await serve(answer), longest_answer_bytes=1_000_000)
    with pytest.raises(NotMoneroError, match="longer than"):
        await connection.call("get_version", limit_seconds=10)
    await connection.aclose()


async def test_no_secret_of_a_call_is_in_its_error(serve: Callable[[Answer], Awaitable[str]]) -> None:
    secret = secrets.token_hex(16)

    async def answer(request: web.Request) -> web.StreamResponse:
        sent = await request.json()
        return web.json_response(
            {"jsonrpc": "2.0", "id": sent["id"], "error": {"code": -1, "message": f"cannot open {secret}"}}
        )

    client = WalletRpcClient(await serve(answer))
    with pytest.raises(EscrowError) as refusal:
        await client.open_wallet("name", secret)
    shown = f"{refusal.value!r} {refusal.value.args} {refusal.value.__cause__!r} {vars(refusal.value)}"
    assert secret not in shown
    await client.aclose()


async def test_a_call_given_up_on_marks_the_client_and_may_still_run(start_offline: StartOffline) -> None:
    process, patient = await start_offline()
    hasty = WalletRpcClient(process.url, time_limits_seconds={"create_wallet": 0.02})

    with pytest.raises(CallAbandonedError):
        await hasty.create_wallet("left-behind", "p")

    assert hasty.abandoned
    await until(lambda: _has_a_wallet_open(patient), limit_seconds=60)
    assert not patient.abandoned
    await hasty.aclose()


async def test_a_cancelled_call_marks_the_client_unless_it_is_a_query(
    serve: Callable[[Answer], Awaitable[str]],
) -> None:
    reached, release = asyncio.Event(), asyncio.Event()

    async def answer(_request: web.Request) -> web.StreamResponse:
        reached.set()
        await release.wait()
        return web.Response()

    client = WalletRpcClient(await serve(answer))
    for send, strikes_late in ((client.get_version, False), (client.store, True)):
        reached.clear()
        call: asyncio.Task[object] = asyncio.create_task(send())
        await reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert client.abandoned == strikes_late
    release.set()
    await client.aclose()


async def test_cancelling_a_call_that_waits_for_its_turn_marks_nothing(
    serve: Callable[[Answer], Awaitable[str]],
) -> None:
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        await release.wait()
        sent = await request.json()
        return web.json_response({"jsonrpc": "2.0", "id": sent["id"], "result": {}})

    client = WalletRpcClient(await serve(answer))
    first, second = (asyncio.create_task(client.store()) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    release.set()
    await first
    assert not client.abandoned
    await client.aclose()


async def test_digest_authentication_on_one_connection(programs: MoneroPrograms, tmp_path: Path) -> None:
    credentials = Credentials("slot", secrets.token_hex(16))
    heard: list[tuple[str, str]] = []
    async with await start_wallet_rpc(
        programs, tmp_path, network=Network.TESTNET, daemon_url=None, credentials=credentials
    ) as process:
        client = WalletRpcClient(
            process.url,
            credentials=credentials,
            on_call=lambda method, _seconds, outcome: heard.append((method, outcome)),
        )
        await asyncio.gather(*(client.get_version() for _ in range(20)))
        assert heard == [("get_version", "ok")] * 20
        for wrong in (None, Credentials("slot", "wrong")):
            stranger = WalletRpcClient(process.url, credentials=wrong)
            with pytest.raises(AuthenticationRefusedError):
                await stranger.get_version()
            await stranger.aclose()
        await client.aclose()
        assert _mode(tmp_path / "wallet-rpc.conf") == 0o600
        assert credentials.password not in _command_line(process.pid)
    assert credentials.password not in repr(credentials)


async def test_a_process_that_ends_at_its_start_says_what_it_wrote(programs: MoneroPrograms, tmp_path: Path) -> None:
    with pytest.raises(ProgramFailedError, match="no-such-flag"):
        await start_wallet_rpc(
            programs, tmp_path, network=Network.TESTNET, daemon_url=None, extra_flags=["--no-such-flag"]
        )


async def test_a_port_that_is_taken_is_refused(
    programs: MoneroPrograms, tmp_path: Path, real_offline: WalletRpcClient
) -> None:
    taken = int(real_offline.url.rsplit(":", 1)[1])
    with pytest.raises(ProgramFailedError, match="taken"):
        await start_wallet_rpc(programs, tmp_path, network=Network.TESTNET, daemon_url=None, port=taken)


async def test_a_stopped_process_is_gone(programs: MoneroPrograms, tmp_path: Path) -> None:
    process = await start_wallet_rpc(programs, tmp_path, network=Network.TESTNET, daemon_url=None)
    pid = process.pid
    assert _command_line(pid)
    await process.stop()
    assert not process.running
    with pytest.raises(FileNotFoundError):
        _command_line(pid)


async def _has_a_wallet_open(client: WalletRpcClient) -> bool:
    try:
        await client.get_address()
    except NoWalletOpenError:
        return False
    return True


def _mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
