"""What an operator does about a payout that is held, and nobody else."""

from __future__ import annotations

import pytest

from monero_escrow.store.records import PayoutState
from web.world import World

KEY = {"Idempotency-Key": "once"}


@pytest.mark.parametrize("action", ["resume", "replace"])
async def test_an_operator_takes_a_held_payout_up_again_once(world: World, action: str) -> None:
    escrow_id = await world.held_payout()
    async with world.client("operator") as client:
        answer = await client.post(f"/api/escrows/{escrow_id}/payouts/1/{action}", headers=KEY)
        again = await client.post(f"/api/escrows/{escrow_id}/payouts/1/{action}", headers=KEY)
        other = await client.post(f"/api/escrows/{escrow_id}/payouts/1/{action}")
    assert (answer.status_code, answer.json()["trouble"]) == (200, None)
    assert again.json() == answer.json()
    assert other.status_code == 409
    assert (await world.payout_of(escrow_id)).state is PayoutState.DECIDED


async def test_whoever_looks_at_a_held_payout_is_told_whom_it_waits_for(world: World) -> None:
    escrow_id = await world.held_payout()
    async with world.client() as client:
        shown = (await client.get(f"/api/escrows/{escrow_id}")).json()
    assert shown["waits_for"] == "The operator: payout 1 is held. The anchor is spent."


@pytest.mark.parametrize("scope", ["shop", "arbiter"])
async def test_nobody_but_an_operator_takes_up_a_held_payout(world: World, scope: str) -> None:
    escrow_id = await world.held_payout()
    async with world.client(scope) as client:
        answer = await client.post(f"/api/escrows/{escrow_id}/payouts/1/resume")
    assert answer.status_code == 403
    assert (await world.payout_of(escrow_id)).state is PayoutState.HELD


@pytest.mark.parametrize("number", ["2", "1000000"])
async def test_a_payout_that_is_not_there_is_not_found(world: World, number: str) -> None:
    escrow_id = await world.held_payout()
    async with world.client("operator") as client:
        answer = await client.post(f"/api/escrows/{escrow_id}/payouts/{number}/resume")
    assert answer.status_code == 404


@pytest.mark.parametrize("number", ["0", "-1", "x", "99999999999999999999"])
async def test_a_number_that_is_none_is_refused(world: World, number: str) -> None:
    escrow_id = await world.held_payout()
    async with world.client("operator") as client:
        answer = await client.post(f"/api/escrows/{escrow_id}/payouts/{number}/resume")
    assert answer.status_code == 422
