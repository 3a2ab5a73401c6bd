"""The service's own wallet-rpc processes, real ones: killed, orphaned, resized, and none left at the end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chain.test_service_process import command
from chain.test_slots import an_order
from monero_escrow.config import load_settings
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import Role
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.init_escrow import init_escrow
from monero_escrow.escrows.views import escrow_view
from monero_escrow.fleet.fleet import Fleet
from monero_escrow.fleet.orphans import processes_of
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.processes import free_port
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.waiting import until
from monero_escrow.service import open_store, running_service
from monero_escrow.store.records import Scope

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

_KEY = "22" * 32


@asynccontextmanager
async def own_fleet(programs: MoneroPrograms, folder: Path, trios: int) -> AsyncIterator[tuple[Conductor, Fleet]]:
    """A service with so many trios of its own, without a daemon."""
    settings = load_settings(
        monero_network="testnet",
        db_encryption_key=_KEY,
        data_dir=folder,
        monero_bin_dir=programs.folder,
        fleet_min_trios=trios,
        fleet_max_trios=trios,
        stock_target=0,
    )
    async with running_service(settings) as conductor:
        assert conductor.ctx.fleet is not None
        yield conductor, conductor.ctx.fleet


def holder_of(fleet: Fleet, role: Role) -> Slot | None:
    """The slot of this role that is leased."""
    return next((slot for lease in fleet.pool.leases for slot in lease.slots.values() if slot.role is role), None)


async def test_orders_that_come_first_wait_for_the_first_slots_and_killed_processes_are_replaced(
    programs: MoneroPrograms, tmp_path: Path
) -> None:
    async with own_fleet(programs, tmp_path, 2) as (conductor, fleet):
        escrow, _ = await init_escrow(conductor.ctx, "shop", an_order("order-1"), "shop:test")
        assert fleet.local is not None

        async def making() -> bool:
            view = await conductor.ctx.store.read(lambda tx: escrow_view(tx, escrow.id))
            return any(step["name"] == "make" for step in view.steps)

        await until(making, limit_seconds=60)
        victim = holder_of(fleet, Role.VENDOR)
        assert victim is not None
        assert victim.wallet_dir == tmp_path / "fleet" / "vendor" / "wallets"
        pid = fleet.local.pid(victim)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

        await conductor.wait_while(escrow.id, State.SETTING_UP, 90)
        view = await conductor.ctx.store.read(lambda tx: escrow_view(tx, escrow.id))
        assert view.escrow.state is State.AWAITING_DEPOSIT, view.escrow.trouble
        assert view.escrow.failures == 0

        async def six_again() -> bool:
            stats = fleet.pool.stats()
            return (stats.total, stats.free) == (6, 6) and victim not in fleet.pool.slots

        await until(six_again, limit_seconds=30)
        assert len(processes_of(fleet.local.folder)) == 6
        memory = fleet.local.memory_bytes()
        assert set(memory) == set(fleet.pool.slots)
        assert all(10 << 20 < size < 200 << 20 for size in memory.values())
        for folder in (tmp_path / "fleet" / "vendor").iterdir():
            assert folder.stat().st_mode & 0o077 == 0, "nobody else reads it"
    assert processes_of(tmp_path / "fleet") == []


async def test_a_managed_slot_whose_call_was_given_up_on_serves_again_within_seconds(
    programs: MoneroPrograms, tmp_path: Path
) -> None:
    """Its process is killed and another takes its place; a static one would rest for a quarter of an hour."""
    async with own_fleet(programs, tmp_path, 1) as (conductor, fleet):
        assert fleet.local is not None
        roles = frozenset({Role.BUYER})
        async with fleet.pool.lease(roles, "test", wait_seconds=30) as lease:
            slot = lease.slot(Role.BUYER)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):  # a caller who is too impatient for a key of 4096 bits
                    await slot.rpc.create_wallet("abandoned", "p")
            assert slot.rpc.abandoned
        began = conductor.ctx.clock.monotonic()
        async with fleet.pool.lease(roles, "test", wait_seconds=30) as lease:
            assert lease.slot(Role.BUYER) is not slot
            await lease.slot(Role.BUYER).rpc.create_wallet("abandoned-2", "p")
        assert conductor.ctx.clock.monotonic() - began < 20
        assert not fleet.local.runs(slot)


# The service as a process


@asynccontextmanager
async def serving(
    folder: Path, programs: MoneroPrograms, **more: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx2.AsyncClient]]:
    """`serve` in this folder, whose `.env` is read, and a client with the operator's key."""
    port = free_port()
    settings: Mapping[str, str] = {
        "MONERO_NETWORK": "testnet",
        "DB_ENCRYPTION_KEY": _KEY,
        "SERVER_PORT": str(port),
        "MONERO_BIN_DIR": str(programs.folder),
        "STOCK_TARGET": "0",
        **more,
    }
    key = await _operator_key(folder)
    async with (
        command(folder, "serve", settings=settings) as service,
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, trust_env=False
        ) as api,
    ):

        async def answers() -> bool:
            try:
                return (await api.get("/readyz")).status_code == 200
            except httpx2.TransportError:
                return service.returncode is not None

        await until(answers, limit_seconds=30)
        yield service, api


async def _operator_key(folder: Path) -> str:
    settings = load_settings(monero_network="testnet", db_encryption_key=_KEY, data_dir=folder / "data")
    settings.data_dir.mkdir(exist_ok=True)
    store = open_store(settings)
    try:
        return (await store.write(lambda tx: tx.keys.create(Scope.OPERATOR, None, "test", 0.0, None)))[1]
    finally:
        store.close()


async def health(api: httpx2.AsyncClient) -> dict[str, Any]:
    body: dict[str, Any] = (await api.get("/admin/health")).json()
    return body


async def until_free(api: httpx2.AsyncClient, slots: int) -> None:
    """Until so many slots are there, and all of them free."""

    async def there() -> bool:
        pool = (await health(api))["rpc_pool"]
        return (pool["total"], pool["free"]) == (slots, slots)

    await until(there, limit_seconds=30)


async def test_sighup_and_the_operators_call_resize_the_fleet_and_a_bad_size_changes_nothing(
    programs: MoneroPrograms, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("FLEET_MIN_TRIOS=1\nFLEET_MAX_TRIOS=1\n")
    async with serving(tmp_path, programs) as (service, api):
        await until_free(api, 3)
        (tmp_path / ".env").write_text("FLEET_MIN_TRIOS=2\nFLEET_MAX_TRIOS=2\n")
        service.send_signal(signal.SIGHUP)
        await until_free(api, 6)

        (tmp_path / ".env").write_text("FLEET_MIN_TRIOS=3\nFLEET_MAX_TRIOS=2\n")
        refused = await api.post("/admin/fleet/reload")
        assert (refused.status_code, refused.json()["code"]) == (422, "reload_refused")
        assert "FLEET_MIN_TRIOS is 3" in refused.json()["detail"]
        assert (await health(api))["rpc_pool"]["total"] == 6

        (tmp_path / ".env").write_text("FLEET_MIN_TRIOS=1\nFLEET_MAX_TRIOS=1\n")
        done = await api.post("/admin/fleet/reload")
        assert (done.status_code, done.json()["max_trios"]) == (200, 1)
        await until_free(api, 3)
        service.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(service.communicate(), 20)
    assert service.returncode == 0, said.decode()
    assert "Unclosed" not in said.decode()
    assert processes_of(tmp_path / "data" / "fleet") == []


async def test_orphans_of_a_service_that_was_killed_are_ended_by_the_next(
    programs: MoneroPrograms, tmp_path: Path
) -> None:
    """On a machine without setpriv; where there is one, the kernel ends them with the service."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "dirname", "readlink", "tr"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    fleet = tmp_path / "data" / "fleet"
    async with serving(tmp_path, programs, PATH=str(tools)) as (service, api):
        await until_free(api, 3)
        service.kill()
        await service.wait()
    orphans = {process.pid for process in processes_of(fleet)}
    assert len(orphans) == 3

    async with serving(tmp_path, programs) as (service, api):
        await until_free(api, 3)
        now = {process.pid for process in processes_of(fleet)}
        assert len(now) == 3
        assert not orphans & now
        service.kill()
        await service.wait()

    async def none_left() -> bool:
        return processes_of(fleet) == []

    await until(none_left, limit_seconds=10)


async def test_programs_that_crash_at_their_start_are_reported_and_the_api_answers_meanwhile(
    programs: MoneroPrograms, tmp_path: Path
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "monerod").write_text("")
    script = "#!/bin/sh\n[ $1 = --version ] && echo v0.18.5.3 && exit\necho 'a library is missing'\nexit 3\n"
    (folder / "monero-wallet-rpc").write_text(script)
    (folder / "monero-wallet-rpc").chmod(0o700)
    crashing = MoneroPrograms(folder, programs.version)
    async with serving(tmp_path, crashing, LOG_FORMAT="json") as (service, api):

        async def critical() -> bool:
            return bool((await health(api))["status"] == "critical")

        await until(critical, limit_seconds=30)
        assert (await health(api))["rpc_pool"]["total"] == 0
        service.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(service.communicate(), 20)
    assert service.returncode == 0, said.decode()
    assert "a library is missing" in said.decode()
    assert "Traceback" not in said.decode()
