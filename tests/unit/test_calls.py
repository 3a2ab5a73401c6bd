"""The table of calls: nothing is called without a row, nothing waits for ever, and only the daemon is asked twice."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType, SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from monero_escrow.config import Settings
from monero_escrow.monero import daemon, wallet_rpc
from monero_escrow.monero.calls import DAEMON_CALLS, WALLET_CALLS, Again, Call, Changes
from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.errors import CallAbandonedError, ProcessUnreachableError
from monero_escrow.monero.processes import free_port
from monero_escrow.monero.wallet_rpc import LONGEST_LIMIT_SECONDS

ALL = [*WALLET_CALLS.values(), *DAEMON_CALLS.values()]
NO_PAUSES = (0.0, 0.0)


def called_in(module: ModuleType, *by: str) -> set[str]:
    """The methods that a module calls by name."""
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in by
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


def test_every_call_the_clients_make_has_a_row_and_every_row_is_a_call() -> None:
    assert called_in(wallet_rpc, "_call") == set(WALLET_CALLS)
    assert called_in(daemon, "_call", "_post") == set(DAEMON_CALLS)


def test_a_row_is_named_as_the_call_and_has_a_limit() -> None:
    for table in (WALLET_CALLS, DAEMON_CALLS):
        assert all(row.method == name and row.limit_seconds > 0 for name, row in table.items())


def test_the_quarantine_is_longer_than_any_call_to_a_wallet_may_run() -> None:
    assert max(row.limit_seconds for row in WALLET_CALLS.values()) == LONGEST_LIMIT_SECONDS
    assert Settings.model_fields["quarantine_seconds"].default > LONGEST_LIMIT_SECONDS


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.method)
def test_a_row_says_what_is_asked_first_if_it_wants_something_asked(row: Call) -> None:
    assert (row.again is Again.AFTER_ASKING) == bool(row.first)
    assert row.refuses is None or row.again is not Again.ALWAYS
    if row.changes is Changes.NOTHING:
        assert (row.again, row.rests) == (Again.ALWAYS, False)


def test_a_slot_rests_for_every_call_that_could_strike_late() -> None:
    """All that change something but the process's own marks and timers, and what a wallet remembers of the pool."""
    harmless = {row.method for row in WALLET_CALLS.values() if row.changes is not Changes.NOTHING and not row.rests}
    assert harmless == {"set_log_categories", "auto_refresh", "get_transfers"}


# The daemon is asked twice


class Daemon:
    """A server that drops so many calls, and tells which it got."""

    def __init__(self) -> None:
        self.drops = 0
        self.got: list[str] = []
        app = web.Application()
        app.router.add_post("/json_rpc", self.json_rpc)
        app.router.add_post("/send_raw_transaction", self.plain)
        self.server = TestServer(app)

    async def json_rpc(self, request: web.Request) -> web.StreamResponse:
        call = await request.json()
        self.got.append(call["method"])
        self.drop(request)
        result = {"block_header": {"height": 7, "hash": "aa", "timestamp": 9}, "blocks": [], "status": "OK"}
        return web.json_response({"jsonrpc": "2.0", "id": call["id"], "result": result})

    async def plain(self, request: web.Request) -> web.StreamResponse:
        self.got.append("send_raw_transaction")
        self.drop(request)
        return web.json_response({"status": "OK"})

    def drop(self, request: web.Request) -> None:
        if self.drops:
            self.drops -= 1
            assert request.transport is not None
            request.transport.abort()


class Heard(list[tuple[str, str]]):
    """The call hook: methods and outcomes."""

    def __call__(self, method: str, seconds: float, outcome: str) -> None:
        self.append((method, outcome))


async def test_a_lost_answer_of_the_daemon_is_asked_for_again_and_every_try_is_told() -> None:
    served, heard = Daemon(), Heard()
    async with served.server:
        client = DaemonClient(f"http://127.0.0.1:{served.server.port}", on_call=heard, pauses_seconds=NO_PAUSES)
        for ask in (client.get_last_block_header, lambda: client.send_raw_transaction("00")):
            served.drops = 2
            await ask()
        assert served.got == ["get_last_block_header"] * 3 + ["send_raw_transaction"] * 3
        assert heard == [
            (method, outcome)
            for method in ("get_last_block_header", "send_raw_transaction")
            for outcome in ("call_abandoned", "call_abandoned", "ok")
        ]
        await client.aclose()


async def test_after_the_third_try_the_error_is_raised() -> None:
    served = Daemon()
    served.drops = 3
    async with served.server:
        client = DaemonClient(f"http://127.0.0.1:{served.server.port}", pauses_seconds=NO_PAUSES)
        with pytest.raises(CallAbandonedError):
            await client.get_last_block_header()
        assert len(served.got) == 3
        await client.aclose()


async def test_what_is_not_harmless_twice_is_asked_once() -> None:
    served = Daemon()
    served.drops = 1
    async with served.server:
        client = DaemonClient(f"http://127.0.0.1:{served.server.port}", pauses_seconds=NO_PAUSES)
        with pytest.raises(CallAbandonedError):
            await client.generate_blocks(1, "address")
        assert served.got == ["generateblocks"]
        await client.aclose()


async def test_a_daemon_that_is_not_there_is_tried_three_times() -> None:
    heard = Heard()
    client = DaemonClient(f"http://127.0.0.1:{free_port()}", on_call=heard, pauses_seconds=NO_PAUSES)
    with pytest.raises(ProcessUnreachableError):
        await client.get_info()
    assert heard == [("get_info", "process_unreachable")] * 3
    await client.aclose()


async def test_all_tries_together_take_no_longer_than_twice_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Call("get_last_block_header", 0.1, Changes.NOTHING, Again.ALWAYS, when_lost="")
    monkeypatch.setattr(daemon, "DAEMON_CALLS", {row.method: row})
    tries: list[float] = []
    monkeypatch.setattr(daemon, "time", SimpleNamespace(monotonic=lambda: sum(tries)))

    async def silent(_method: str, _params: object, *, limit_seconds: float) -> None:
        tries.append(limit_seconds)  # which is how long this try took
        raise CallAbandonedError("http://127.0.0.1:1", "get_last_block_header", "no answer")

    client = DaemonClient("http://127.0.0.1:1", pauses_seconds=(0.0,) * 9)
    monkeypatch.setattr(client._rpc, "call", silent)
    with pytest.raises(CallAbandonedError):
        await client.get_last_block_header()
    assert sum(tries) <= 0.2
    assert len(tries) <= 3
