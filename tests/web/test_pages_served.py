"""The pages as `serve` serves them: over a socket, and no open page keeps the service from ending."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path
from unittest.mock import patch

import httpx2

from monero_escrow import service
from monero_escrow.config import Settings
from monero_escrow.core.roles import role_of_slot
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.waiting import until
from monero_escrow.store.records import Scope
from unit.fake_service import Town, settings_of


async def test_a_page_that_is_kept_up_to_date_does_not_keep_the_service_from_ending(tmp_path: Path) -> None:
    town = Town()
    processes = town.processes()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = settings_of(tmp_path, processes, server_port=port)
    store = service.open_store(settings)
    key = store.write_now(lambda tx: tx.keys.create(Scope.OPERATOR, None, "ada", time.time()))[1]
    store.close()

    def slots_of(_settings: Settings, **_: object) -> list[Slot]:
        return [Slot(index, role_of_slot(index), process) for index, process in enumerate(processes)]

    replaced = patch.multiple(service, slots_of=slots_of, DaemonClient=lambda _url, **_: town.chain.daemon)
    with replaced:
        serving = asyncio.create_task(service.serve(settings))
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as browser:

            async def answers() -> bool:
                try:
                    return (await browser.get("/livez")).status_code == 200
                except httpx2.TransportError:
                    return False

            await until(answers, limit_seconds=20)
            answer = await browser.post("/admin/sign-in", data={"key": key})
            assert answer.status_code == 303
            async with browser.stream("GET", "/admin/live") as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == "event: verdict"
                began = time.monotonic()
                os.kill(os.getpid(), signal.SIGTERM)
                async for _ in lines:
                    pass
            await asyncio.wait_for(serving, 10)
    assert time.monotonic() - began < 2.5, "it waits three seconds for answers under way"
