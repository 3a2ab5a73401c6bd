"""The service as a process: what it says at its start, and that it ends cleanly when told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from monero_escrow.core.address import Network
from monero_escrow.core.roles import ROLES
from monero_escrow.monero.processes import free_port, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.waiting import until

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]


def files_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@asynccontextmanager
async def command(
    folder: Path, *arguments: str, settings: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`monero-escrow` with these settings and no others, in its own folder."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | dict(settings)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monero_escrow", *arguments),
        env=environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_service_that_is_told_to_stop_closes_its_database_and_exits_with_0(
    programs: MoneroPrograms, tmp_path: Path, stop: signal.Signals
) -> None:
    processes = [
        await start_wallet_rpc(programs, tmp_path / role, network=Network.TESTNET, daemon_url=None, name=role)
        for role in ROLES
    ]
    port = free_port()
    settings = {
        "MONERO_RPC_URLS": ",".join(process.url for process in processes),
        "MONERO_NETWORK": "testnet",
        "DB_ENCRYPTION_KEY": "22" * 32,
        "SERVER_PORT": str(port),
        "STOCK_TARGET": "1",
    }
    async with (
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as api,
        command(tmp_path, "serve", settings=settings) as service,
    ):

        async def answers() -> bool:
            try:
                return (await api.get("/readyz")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(answers, limit_seconds=30)
        service.send_signal(stop)
        _, said = await asyncio.wait_for(service.communicate(), 20)
    await asyncio.gather(*(process.stop() for process in processes))
    assert service.returncode == 0, said.decode()
    assert "Unclosed" not in said.decode()
    assert files_in(tmp_path / "data") == ["escrow.db", "service.lock"]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_service_that_is_signalled_while_it_starts_refuses_a_reload_and_ends_cleanly(
    tmp_path: Path, stop: signal.Signals
) -> None:
    """Its processes take the call and never answer, so that it looks at them for long."""
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read(-1)
        writer.close()

    servers = [await asyncio.start_server(silent, "127.0.0.1", 0) for _ in ROLES]
    settings = {
        "MONERO_RPC_URLS": ",".join(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers),
        "DB_ENCRYPTION_KEY": "22" * 32,
        "SERVER_PORT": str(free_port()),
    }
    async with asyncio.timeout(60), command(tmp_path, "serve", settings=settings) as service:
        assert service.stderr is not None
        await asked.wait()
        service.send_signal(signal.SIGHUP)
        while b"reload_refused" not in (line := await service.stderr.readline()):
            assert line, "it has ended"
        service.send_signal(stop)
        _, said = await service.communicate()
    for server in servers:
        server.close()
    assert service.returncode == 0, said.decode()
    assert "stopped" in said.decode()
    assert "Traceback" not in said.decode()
    assert "Unclosed" not in said.decode()


async def test_a_port_that_is_taken_is_told_and_what_to_do_about_it(tmp_path: Path) -> None:
    settings = {
        "MONERO_RPC_URLS": ",".join(f"http://127.0.0.1:{free_port()}" for _ in ROLES),
        "DB_ENCRYPTION_KEY": "22" * 32,
        "LOG_LEVEL": "error",
    }
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings["SERVER_PORT"] = str(taken.getsockname()[1])
        async with command(tmp_path, "serve", settings=settings) as service:
            _, said = await asyncio.wait_for(service.communicate(), 20)
    assert service.returncode == 1
    assert "Traceback" not in said.decode()
    message, what_to_do = said.decode().splitlines()[-2:]
    assert message.startswith("error: The HTTP API cannot listen on port")
    assert "SERVER_PORT" in what_to_do


async def test_a_service_without_settings_says_what_to_do_and_makes_nothing(tmp_path: Path) -> None:
    async with command(tmp_path, "serve", settings={}) as service:
        _, said = await asyncio.wait_for(service.communicate(), 20)
    assert service.returncode == 1
    assert "DB_ENCRYPTION_KEY is not set" in said.decode()
    assert files_in(tmp_path) == []


async def test_doctor_answers_json_also_when_no_process_answers(tmp_path: Path) -> None:
    urls = ",".join(f"http://127.0.0.1:{free_port()}" for _ in ROLES)
    settings = {"MONERO_RPC_URLS": urls, "DB_ENCRYPTION_KEY": "22" * 32}
    async with command(tmp_path, "doctor", "--json", settings=settings) as doctor:
        answer, _ = await asyncio.wait_for(doctor.communicate(), 30)
    findings = json.loads(answer)
    assert doctor.returncode == 1
    assert sum(finding["level"] == "error" for finding in findings) == len(ROLES)
    assert files_in(tmp_path) == []


async def test_commands_that_only_look_make_no_database(tmp_path: Path) -> None:
    for arguments in (("keys", "list"), ("keys", "revoke", "nosuch"), ("escrow", "list")):
        async with command(tmp_path, *arguments, settings={"DB_ENCRYPTION_KEY": "22" * 32}) as looking:
            _, said = await asyncio.wait_for(looking.communicate(), 20)
        assert looking.returncode == 1
        assert "There is no database" in said.decode()
    assert files_in(tmp_path) == []
