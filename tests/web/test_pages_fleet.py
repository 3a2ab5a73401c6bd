"""The fleet's page: what there is, what an operator does about it, and that the audit trail knows who did."""

from __future__ import annotations

from monero_escrow.core.roles import TRIO, Role
from monero_escrow.store.schema import audit
from web.page_visits import read, send, signed_in
from web.world import World, mark_sick


async def actions(world: World) -> list[str]:
    rows = await world.store.read(lambda tx: tx.connection.execute(audit.select().order_by(audit.c.id)).all())
    return [row.action for row in rows if not row.action.startswith("sign_")]


async def test_every_process_is_there_and_its_role(world: World) -> None:
    async with signed_in(world) as browser:
        page = await read(browser, "/admin/slots")
    assert all(slot.name in page for slot in world.pool.slots)
    assert "the service starts none itself" in page


async def test_a_drained_process_leaves_when_its_lease_ends(world: World) -> None:
    slot = world.pool.slots[0]
    async with signed_in(world) as browser:
        async with world.pool.lease(TRIO, "set-up of 5f0c", wait_seconds=1):
            assert (await send(browser, "/admin/slots/drain", {"slot": slot.name})).status_code == 303
            assert "Draining" in await read(browser, "/admin/slots")
        assert slot.name not in await read(browser, "/admin/slots")
        gone = await send(browser, "/admin/slots/drain", {"slot": slot.name})
        assert gone.status_code == 404
    assert await actions(world) == ["slot_drained"]


async def test_without_a_fleet_nothing_is_reloaded_and_that_is_told(world: World) -> None:
    mark_sick(world, Role.BUYER, "It does not answer.")
    async with signed_in(world) as browser:
        answer = await send(browser, "/admin/slots/reload", {})
    assert answer.status_code == 503
    assert "cannot be changed while it runs" in answer.text


async def test_a_node_is_drained_and_resumed_and_what_is_neither_is_refused(world: World) -> None:
    await world.store.write(lambda tx: tx.nodes.join("1", "here", "0.1.0", 15.0))
    async with signed_in(world) as browser:
        assert (await send(browser, "/admin/slots/nodes", {"node": "here", "do": "drain"})).status_code == 303
        for unknown in ("", "Drain", "forget"):
            refused = await send(browser, "/admin/slots/nodes", {"node": "here", "do": unknown})
            assert refused.status_code == 422, unknown
        assert "draining" in await read(browser, "/admin/slots")
        assert (await send(browser, "/admin/slots/nodes", {"node": "here", "do": "resume"})).status_code == 303
    assert await actions(world) == ["node_drained", "node_resumed"]


async def test_an_arbiter_and_a_foreign_form_change_nothing(world: World) -> None:
    name = world.pool.slots[0].name
    async with signed_in(world, "arbiter") as browser:
        assert (await browser.get("/admin/slots")).status_code == 403
        assert (await send(browser, "/admin/slots/drain", {"slot": name})).status_code == 403
    async with signed_in(world) as browser:
        assert (await send(browser, "/admin/slots/drain", {"slot": name}, form_token="0" * 64)).status_code == 403
    assert not world.pool.slots[0].draining
    assert await actions(world) == []
