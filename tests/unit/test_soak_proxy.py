"""The soak's proxy: it passes calls on as they are, spoils those it is told to, and ends with its program."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from monero_escrow.monero.errors import CallAbandonedError, ProcessUnreachableError
from monero_escrow.monero.processes import LOOPBACK, lasting_port
from monero_escrow.monero.rpc import RpcConnection
from soak.proxy import Phase, Proxy, Seen, Verdict


class Program:
    """An RPC program that answers every call with its method, and remembers which it got."""

    def __init__(self) -> None:
        self.port = lasting_port()
        self.got: list[str] = []
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)

    def die(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split()[0])
                request = json.loads(await reader.readexactly(length))
                self.got.append(request["method"])
                result = {"said": request["method"]}
                answer = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()
                writer.write(b"HTTP/1.1 200 Ok\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        except (EOFError, OSError):
            return


class Watch:
    """Cuts off the calls it is told to, and writes down what it saw."""

    def __init__(self) -> None:
        self.cut: set[tuple[str, Phase]] = set()
        self.seen: list[Seen] = []

    async def __call__(self, seen: Seen) -> Verdict:
        self.seen.append(seen)
        return Verdict.CUT if (seen.method, seen.phase) in self.cut else Verdict.GO_ON


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    program = Program()
    await program.start()
    yield program
    program.die()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def proxy(program: Program, watch: Watch) -> AsyncIterator[Proxy]:
    proxy = Proxy("buyer slot 1", f"http://{LOOPBACK}:{program.port}", lasting_port(), watch)
    await proxy.listen()
    yield proxy
    await proxy.aclose()


@pytest.fixture
async def rpc(proxy: Proxy) -> AsyncIterator[RpcConnection]:
    connection = RpcConnection(proxy.url)
    yield connection
    await connection.aclose()


async def test_a_call_goes_through_and_is_seen_in_each_phase(
    program: Program, watch: Watch, rpc: RpcConnection
) -> None:
    for method in ("get_version", "make_multisig"):
        assert (await rpc.call(method, limit_seconds=5)).text("said") == method
    assert program.got == ["get_version", "make_multisig"]
    assert watch.seen == [
        Seen("buyer slot 1", method, phase) for method in ("get_version", "make_multisig") for phase in Phase
    ]


async def test_a_dropped_call_never_reaches_the_program(program: Program, watch: Watch, rpc: RpcConnection) -> None:
    watch.cut.add(("sign_multisig", Phase.ASKED))
    with pytest.raises(CallAbandonedError):
        await rpc.call("sign_multisig", limit_seconds=5)
    await rpc.call("get_version", limit_seconds=5)
    assert program.got == ["get_version"]


async def test_a_call_cut_off_after_its_answer_was_carried_out(
    program: Program, watch: Watch, rpc: RpcConnection
) -> None:
    watch.cut.add(("submit_multisig", Phase.ANSWERED))
    with pytest.raises(CallAbandonedError):
        await rpc.call("submit_multisig", limit_seconds=5)
    assert program.got == ["submit_multisig"]


async def test_a_program_that_is_down_is_not_reached_and_one_that_is_back_is(
    program: Program, proxy: Proxy, rpc: RpcConnection
) -> None:
    await rpc.call("get_version", limit_seconds=5)
    proxy.refuse()
    program.die()
    with pytest.raises((CallAbandonedError, ProcessUnreachableError)):
        await rpc.call("open_wallet", limit_seconds=5)
    with pytest.raises(ProcessUnreachableError):
        await rpc.call("open_wallet", limit_seconds=5)
    await program.start()
    await proxy.listen()
    await rpc.call("get_address", limit_seconds=5)
    assert program.got == ["get_version", "get_address"]
