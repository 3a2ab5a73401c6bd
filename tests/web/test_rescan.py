"""Looking once more at what came to an escrow: for operators, over the API and on the command line."""

from __future__ import annotations

import pytest

from monero_escrow.core.errors import InvalidInputError, NotFoundError
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.rescan import to_rescan, to_rescan_all
from web.world import World


async def at_rest(world: World) -> str:
    """A settled escrow that nobody looks at any more."""
    escrow_id = await world.add_escrow(State.SETTLED)
    escrow = await world.store.read(lambda tx: tx.escrows.get(escrow_id))
    await world.store.write(lambda tx: tx.escrows.looked_at(escrow, None))
    return escrow_id


async def test_an_operator_has_an_escrow_looked_at_that_was_not_watched_any_more(world: World) -> None:
    escrow_id = await at_rest(world)
    async with world.client("operator") as client:
        answer = await client.post(f"/admin/escrows/{escrow_id}/rescan")
    assert (answer.status_code, answer.json()["state"]) == (200, "settled")
    escrow = await world.store.read(lambda tx: tx.escrows.get(escrow_id))
    assert escrow.due_at is not None
    assert await world.store.read(lambda tx: tx.scan.rescans()) == {}
    history = await world.store.read(lambda tx: tx.audit.of(escrow_id))
    assert history[-1].action == "rescan"
    assert history[-1].actor.startswith("operator:")
    assert history[-1].source == "127.0.0.1", "from where it was asked for"


async def test_with_a_height_the_scan_is_asked_for_as_well(world: World) -> None:
    escrow_id = await at_rest(world)
    async with world.client("operator") as client:
        answer = await client.post(f"/admin/escrows/{escrow_id}/rescan", json={"from_height": 1_234})
        assert answer.status_code == 200
        for height in (-1, 500_000_001, 1.5, "x"):
            refused = await client.post(f"/admin/escrows/{escrow_id}/rescan", json={"from_height": height})
            assert refused.status_code == 422
    assert await world.store.read(lambda tx: tx.scan.rescans()) == {escrow_id: 1_234}


async def test_what_has_no_address_or_is_not_there_cannot_be_looked_at(world: World) -> None:
    escrow_id = await world.add_escrow(State.SETTING_UP)
    async with world.client("operator") as client:
        assert (await client.post(f"/admin/escrows/{escrow_id}/rescan")).status_code == 409
        assert (await client.post("/admin/escrows/nobody/rescan")).status_code == 404
    with pytest.raises(NotFoundError):
        await world.store.write(to_rescan("nobody", None, "operator:me", 1.0))


async def test_all_are_those_that_have_an_address(world: World) -> None:
    rested, open_one = await at_rest(world), await world.add_escrow(State.AWAITING_DEPOSIT)
    await world.add_escrow(State.SETTING_UP)
    assert await world.store.write(to_rescan_all(7, "operator:me", world.clock.now())) == 2
    assert await world.store.read(lambda tx: tx.scan.rescans()) == {rested: 7, open_one: 7}


def test_the_command_wants_one_escrow_or_all() -> None:
    from monero_escrow.cli.rescan import rescan

    for arguments in ({}, {"every": True}):
        with pytest.raises(InvalidInputError):
            rescan(*(["x"] if arguments else []), **arguments)
