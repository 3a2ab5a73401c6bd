"""GET /admin/nodes, and POST …/drain and …/resume: the services that share the database."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from monero_escrow.store import schema
from monero_escrow.store.transaction import Transaction
from web.world import World, problem_of


def two_nodes(tx: Transaction) -> None:
    """One that is there, and one that was."""
    tx.nodes.join("1", "here", "0.1.0", 15.0)
    tx.nodes.join("2", "gone", "0.1.0", 15.0)
    lapsed = {"lease_until": tx.nodes.now() - 1}
    tx.connection.execute(update(schema.nodes).where(schema.nodes.c.id == "2").values(**lapsed))


async def test_a_database_that_is_a_file_has_no_nodes(world: World) -> None:
    async with world.client("operator") as client:
        answer = await client.get("/admin/nodes")
    assert (answer.status_code, answer.json()) == (200, {"nodes": []})


async def test_each_node_says_whether_it_is_there_and_what_it_does(world: World) -> None:
    await world.store.write(two_nodes)
    async with world.client("operator") as client:
        gone, here = (await client.get("/admin/nodes")).json()["nodes"]
    assert (here["name"], here["alive"], here["draining"], here["working_on"]) == ("here", True, False, 0)
    assert (gone["name"], gone["alive"]) == ("gone", False)
    assert here["lease_until"] > here["seen_at"] >= here["started_at"]


async def test_a_node_is_drained_and_resumed_and_both_are_on_record(world: World) -> None:
    await world.store.write(two_nodes)
    async with world.client("operator") as client:
        drained = await client.post("/admin/nodes/here/drain")
        resumed = await client.post("/admin/nodes/here/resume")
    assert [node["draining"] for node in drained.json()["nodes"]] == [False, True]
    assert [node["draining"] for node in resumed.json()["nodes"]] == [False, False]
    rows = await world.store.read(
        lambda tx: tx.connection.execute(schema.audit.select().order_by(schema.audit.c.id)).all()
    )
    assert [(row.action, row.detail["node"]) for row in rows] == [("node_drained", "here"), ("node_resumed", "here")]
    assert all(row.actor.startswith("operator:") for row in rows)


@pytest.mark.parametrize("action", ["drain", "resume"])
async def test_a_node_that_nobody_knows_is_not_found(world: World, action: str) -> None:
    async with world.client("operator") as client:
        problem_of(await client.post(f"/admin/nodes/nosuch/{action}"), 404, "not_found")


async def test_what_is_no_name_of_a_node_is_refused(world: World) -> None:
    async with world.client("operator") as client:
        problem_of(await client.post("/admin/nodes/%00/drain"), 422, "invalid_input")


@pytest.mark.parametrize("who", ["shop", "arbiter"])
async def test_only_an_operator_sees_and_drains_nodes(world: World, who: str) -> None:
    async with world.client(who) as client:
        problem_of(await client.get("/admin/nodes"), 403, "wrong_scope")
        problem_of(await client.post("/admin/nodes/here/drain"), 403, "wrong_scope")
