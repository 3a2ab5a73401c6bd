"""The operator's health in the original's shape, and the probes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from monero_escrow.config import Settings
from monero_escrow.core.errors import UnavailableError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import TRIO, Role
from monero_escrow.escrows.tally import TallyReader
from monero_escrow.store.transaction import Transaction
from web.world import NETWORK, World, address, mark_sick


async def health_of(world: World) -> dict[str, Any]:
    async with world.client("operator") as client:
        answer = await client.get("/admin/health")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    pool = body["rpc_pool"]
    assert pool["free"] + pool["busy"] + pool["sick"] == pool["total"]
    return body


async def test_three_free_processes_and_a_daemon_are_healthy(world: World) -> None:
    health = await health_of(world)
    assert health["status"] == "healthy"
    assert health["reasons"] == []
    assert health["rpc_pool"] == {"total": 3, "free": 3, "busy": 0, "sick": 0}
    assert health["capacity"] == {"max_concurrent_escrows": 1}
    assert health["deposits"] == "watched"


async def test_while_every_process_is_busy_it_is_degraded_as_the_original_has_it(world: World) -> None:
    async with world.pool.lease(TRIO, "a set-up", wait_seconds=1):
        health = await health_of(world)
    assert health["status"] == "degraded"
    assert health["rpc_pool"] == {"total": 3, "free": 0, "busy": 3, "sick": 0}
    assert health["capacity"] == {"max_concurrent_escrows": 0}
    (reason,) = health["reasons"]
    assert reason["code"] == "no_slot_free"
    assert reason["reason"] == "No set-up can begin this moment: no process is free for buyer, vendor, arbiter."
    assert "STOCK_TARGET" in reason["what_to_do"]
    assert (await health_of(world))["status"] == "healthy"


async def test_thirty_processes_carry_ten_set_ups(world: World) -> None:
    large = World(world.settings, world.store, slots=30, keys=world.keys)
    assert (await health_of(large))["capacity"] == {"max_concurrent_escrows": 10}


async def test_a_sick_process_is_named_with_its_reason(world: World) -> None:
    large = World(world.settings, world.store, slots=6, keys=world.keys)
    large.pool.mark_sick(large.pool.slots[4], "A wallet of someone else is open.")
    health = await health_of(large)
    assert health["status"] == "degraded"
    (reason,) = health["reasons"]
    assert reason["code"] == "slot_sick"
    assert reason["reason"] == "vendor@127.0.0.1:18086 is not used: A wallet of someone else is open."
    assert health["rpc_pool"]["sick"] == 1
    assert health["capacity"] == {"max_concurrent_escrows": 1}


async def test_a_process_that_rests_is_named_too(world: World) -> None:
    async with world.pool.lease(frozenset({Role.BUYER}), "a look", wait_seconds=1) as lease:
        lease.slot(Role.BUYER).rpc.abandoned = True  # type: ignore[misc]
    health = await health_of(world)
    assert health["rpc_pool"]["sick"] == 1
    assert any("buyer@127.0.0.1:18082 rests" in reason["reason"] for reason in health["reasons"])


async def test_without_a_usable_process_of_one_role_it_is_critical(world: World) -> None:
    mark_sick(world, Role.ARBITER, "Nobody listens there.")
    health = await health_of(world)
    assert health["status"] == "critical"
    assert any("serves the arbiters" in reason["reason"] for reason in health["reasons"])


async def test_no_process_at_all_is_critical(world: World) -> None:
    assert (await health_of(World(world.settings, world.store, slots=0, keys=world.keys)))["status"] == "critical"


async def test_a_silent_daemon_is_told_and_deposits_wait(world: World) -> None:
    world.daemon.silent = True
    health = await health_of(world)
    assert (health["status"], health["deposits"]) == ("degraded", "waiting for a daemon")
    assert any("connection refused" in reason["reason"] for reason in health["reasons"])


async def test_a_daemon_of_another_network_is_no_daemon(world: World) -> None:
    settings = Settings(_env_file=None, monero_network="mainnet")
    health = await health_of(World(settings, world.store, keys=world.keys))
    assert health["deposits"] == "waiting for a daemon"
    assert any(NETWORK in reason["reason"] for reason in health["reasons"])


async def test_the_probes_need_no_key(world: World) -> None:
    async with world.client(None) as client:
        for path in ("/livez", "/readyz"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_without_its_database_the_service_lives_but_is_not_ready(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> None:
        raise UnavailableError("The disk is full.")

    monkeypatch.setattr(world.store, "read", fail)
    async with world.client(None) as client:
        assert (await client.get("/livez")).status_code == 200
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


async def test_a_database_that_hangs_makes_the_probe_say_no_and_hang_itself_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(world.store, "read", hangs)
    world.app.state.tallies = TallyReader(world.ctx, patience_seconds=0.01)
    async with world.client(None) as client, asyncio.timeout(10):
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200


async def test_when_the_database_falls_silent_after_the_key_was_read_it_is_critical(world: World) -> None:
    class Silent(TallyReader):
        async def read(self, *, fresh_seconds: float = 0) -> None:
            return None

    world.app.state.tallies = Silent(world.ctx)
    health = await health_of(world)
    assert (health["status"], health["stock"]) == ("critical", None)
    assert [reason["code"] for reason in health["reasons"]] == ["database_silent"]


async def test_late_and_held_work_is_told_with_what_to_do(world: World) -> None:
    await world.add_escrow(State.SETTING_UP, created_at=world.clock.now() - 3_600)
    health = await health_of(world)
    assert [(reason["code"], reason["status"]) for reason in health["reasons"]] == [("set_up_late", "degraded")]


async def test_the_stock_is_counted_by_age_and_keeps_a_busy_fleet_from_being_degraded(world: World) -> None:
    now = world.clock.now()
    ages = {"new": 60, "newer": 10, "of today": 7_200, "old": 200_000}

    def add(tx: Transaction) -> None:
        for name, age in ages.items():
            tx.trios.add(name, None, 0, now)
            tx.trios.finish(name, address(name), "00" * 32, NETWORK, now - age)

    await world.store.write(add)
    async with world.pool.lease(TRIO, "a set-up", wait_seconds=1):
        health = await health_of(world)
    assert health["status"] == "healthy"
    stock = health["stock"]
    assert (stock["target"], stock["ready"]) == (world.settings.stock_target, 4)
    assert (stock["under_an_hour"], stock["under_a_day"], stock["older"]) == (2, 1, 1)
    assert 200_000 <= stock["oldest_seconds"] < 200_060
