"""The local fleet where the machine plays tricks: no descriptors left, and a port that another program takes first."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from monero_escrow.core.address import Network
from monero_escrow.core.roles import Role
from monero_escrow.fleet.local import LocalFleet
from monero_escrow.fleet.upkeep import Upkeep
from monero_escrow.monero import processes
from monero_escrow.monero.access import make_pair
from monero_escrow.monero.processes import ChildProcess, ProgramFailedError, free_port
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.versions import MoneroVersion
from unit.slots import VirtualClock, make_pool, settle

Handler = Callable[[web.Request], Awaitable[web.Response]]


@pytest_asyncio.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalFleet]:
    """A fleet whose program comes to bind a moment after its start, finds its port taken, and ends."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("monerod", "monero-wallet-rpc"):
        (folder / name).write_text("#!/bin/sh\nsleep 1\necho 'Address already in use'\nexit 1\n")
        (folder / name).chmod(0o700)
    programs = MoneroPrograms(folder, MoneroVersion.parse("0.18.5.3"))
    made = LocalFleet(programs, tmp_path / "fleet", network=Network.STAGENET, daemon_url=None)
    await made.prepare()
    yield made
    await made.aclose()


async def test_no_descriptor_left_is_a_failed_start_and_not_the_end_of_the_service(
    local: LocalFleet, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_socket(*_: object, **__: object) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    upkeep = Upkeep(local, make_pool([], clock), clock)
    running = asyncio.create_task(upkeep.run())
    upkeep.want(Role.BUYER, 1)
    with monkeypatch.context() as patched:
        patched.setattr("monero_escrow.monero.processes.socket.socket", no_socket)
        await settle()
    assert not running.done()
    assert "Too many open files" in upkeep.trouble[Role.BUYER]
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
async def test_whoever_takes_the_port_first_is_not_taken_for_our_process_and_told_nothing(
    local: LocalFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secured: bool
) -> None:
    heard: list[str] = []

    async def impostor(request: web.Request) -> web.Response:
        body = await request.json()
        heard.append(body["method"])
        result = {"version": (1 << 16) | 28, "release": True}
        return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": result})

    port, began = free_port(), processes._started
    app = web.Application()
    app.router.add_post("/json_rpc", impostor)
    runner = web.AppRunner(app)
    await runner.setup()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if secured else None
    if tls is not None:
        make_pair(tmp_path, "impostor")
        tls.load_cert_chain(tmp_path / "impostor.pem", tmp_path / "impostor.key")

    async def started(*arguments: Any) -> ChildProcess:
        child = await began(*arguments)
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        return child

    monkeypatch.setattr("monero_escrow.fleet.local.lasting_port", lambda besides: port)
    monkeypatch.setattr(processes, "_started", started)
    try:
        with pytest.raises(ProgramFailedError, match="already in use"):
            await local.start_slot(Role.BUYER)
    finally:
        await runner.cleanup()
    assert heard == []
    assert local.memory_bytes() == {}
    assert not [file for file in local.folder.rglob("*") if file.suffix in {".key", ".pem", ".conf"}]
