"""GET /admin/fleet: each process as it stands, each class with its load, and what was done about their number."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from monero_escrow.core.growth import GrowthLimits
from monero_escrow.core.roles import ROLES, TRIO, Role
from monero_escrow.fleet.fleet import Fleet
from monero_escrow.fleet.health import HealthWatch
from monero_escrow.fleet.slot import Slot
from monero_escrow.fleet.supervisor import FleetSupervisor
from monero_escrow.fleet.upkeep import Upkeep
from unit.fake_fleet import SLOT_BYTES, FakeFleet
from unit.slots import VirtualClock, make_slots
from web.world import World, problem_of


async def fleet_of(world: World) -> dict[str, Any]:
    async with world.client("operator") as client:
        answer = await client.get("/admin/fleet")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def slot_of(fleet: dict[str, Any], role: Role) -> dict[str, Any]:
    (slot,) = (slot for slot in fleet["slots"] if slot["role"] == role)
    return dict(slot)


async def test_idle_configured_processes_are_free(world: World) -> None:
    fleet = await fleet_of(world)
    assert [slot["name"] for slot in fleet["slots"]] == [slot.name for slot in world.pool.slots]
    assert {(slot["state"], slot["managed"]) for slot in fleet["slots"]} == {("free", False)}
    for role in ROLES:
        assert fleet["classes"][role] == {
            "slots": 1,
            "leased": 0,
            "usable": 1,
            "starting": 0,
            "waiting": 0,
            "longest_wait_seconds": 0.0,
            "utilisation": None,
            "trouble": None,
        }
    assert fleet["own"] is None
    assert fleet["steps"] == []


async def test_a_leased_one_says_for_what_and_for_how_long(world: World) -> None:
    async with world.pool.lease(TRIO, "set-up of 5f0c", wait_seconds=1):
        fleet = await fleet_of(world)
    slot = slot_of(fleet, Role.VENDOR)
    assert (slot["state"], slot["work"]) == ("leased", "set-up of 5f0c")
    assert slot["leased_seconds"] >= 0
    assert fleet["classes"]["vendor"]["leased"] == 1


async def test_a_sick_one_says_why(world: World) -> None:
    world.pool.mark_sick(world.pool.slots[2], "Nobody listens there.")
    fleet = await fleet_of(world)
    slot = slot_of(fleet, Role.ARBITER)
    assert (slot["state"], slot["reason"]) == ("sick", "Nobody listens there.")
    assert fleet["classes"]["arbiter"]["usable"] == 0


async def test_a_resting_one_says_why_and_for_how_long(world: World) -> None:
    async with world.pool.lease(frozenset({Role.BUYER}), "a look", wait_seconds=1) as lease:
        lease.slot(Role.BUYER).rpc.abandoned = True  # type: ignore[misc]
    slot = slot_of(await fleet_of(world), Role.BUYER)
    assert slot["state"] == "resting"
    assert "given up on" in slot["reason"]
    assert 0 < slot["rests_seconds"] <= 60


async def test_a_draining_one_still_says_what_it_is_leased_for(world: World) -> None:
    async with world.pool.lease(frozenset({Role.BUYER}), "a look", wait_seconds=1) as lease:
        world.pool.drain(lease.slot(Role.BUYER))
        fleet = await fleet_of(world)
        slot = slot_of(fleet, Role.BUYER)
        assert (slot["state"], slot["work"]) == ("draining", "a look")
        assert fleet["classes"]["buyer"]["slots"] == 0
    assert len((await fleet_of(world))["slots"]) == 2


async def test_of_its_own_fleet_it_tells_the_bounds_the_memory_and_the_steps_with_their_reasons(world: World) -> None:
    lonely = World(world.settings, world.store, slots=0, keys=world.keys)
    local, limits = FakeFleet(VirtualClock()), GrowthLimits(1, 3, 1 << 30, 600, cores=2)
    upkeep = Upkeep(local, lonely.pool, lonely.clock)
    parts = SimpleNamespace(
        local=local,
        upkeep=upkeep,
        supervisor=FleetSupervisor(lonely.pool, upkeep, local.memory_bytes, lonely.clock, limits),
        health=HealthWatch(lonely.pool, lonely.clock, inspect=nothing_is_wrong),
    )
    lonely.conductor.ctx = replace(lonely.conductor.ctx, fleet=cast("Fleet", parts))
    parts.supervisor.look()
    slot = make_slots(1)[0]
    slot.managed = True
    local.alive.append(slot)
    lonely.pool.add(slot)

    fleet = await fleet_of(lonely)

    assert fleet["own"] == {
        "min_trios": 1,
        "max_trios": 3,
        "memory_max_bytes": 1 << 30,
        "memory_bytes": SLOT_BYTES,
        "quiet_seconds": 600.0,
    }
    assert slot_of(fleet, Role.BUYER)["memory_bytes"] == SLOT_BYTES
    assert slot_of(fleet, Role.BUYER)["managed"] is True
    (step,) = fleet["steps"]
    assert step["started"] == list(ROLES)
    assert (step["stopped"], step["not_larger"]) == ([], [])
    assert "0 of at least 1 are there" in step["reason"]


async def nothing_is_wrong(_: Slot) -> None: ...


@pytest.mark.parametrize("who", ["shop", "arbiter"])
async def test_it_is_the_operators(world: World, who: str) -> None:
    async with world.client(who) as client:
        problem_of(await client.get("/admin/fleet"), 403, "wrong_scope")
