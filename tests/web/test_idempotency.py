"""The same key and request: the same answer, once. The same key and another request: refused."""

from __future__ import annotations

import asyncio

import pytest

from monero_escrow.core.life_cycle import State
from monero_escrow.store.records import Scope
from monero_escrow.web.schemas import RulingTerms
from web.world import SHOP, Coin, World, problem_of

SPLIT = {"buyer_share": 3_000, "vendor_share": 7_000}
KEY = {"Idempotency-Key": "0b1f-77"}


async def payouts_of(world: World, escrow_id: str) -> int:
    return len(await world.store.read(lambda tx: tx.payouts.of(escrow_id)))


async def test_the_same_key_repeats_the_answer_and_nothing_else(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, (Coin(),))
    async with world.client() as client:
        first = await client.post(f"/api/escrows/{escrow_id}/release", headers=KEY)
        again = await client.post(f"/api/escrows/{escrow_id}/release", headers=KEY, json={})
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert await payouts_of(world, escrow_id) == 1


async def test_the_recorded_answer_is_repeated_after_the_escrow_moved_on(world: World) -> None:
    escrow_id = await world.add_escrow(State.AWAITING_DEPOSIT, (Coin(),))
    async with world.client() as client:
        accepted = await client.post(f"/api/escrows/{escrow_id}/accept-short", headers=KEY)
        await client.post(f"/api/escrows/{escrow_id}/refund")
        again = await client.post(f"/api/escrows/{escrow_id}/accept-short", headers=KEY)
    assert again.json() == accepted.json()
    assert again.json()["state"] == "funded"
    assert await world.state_of(escrow_id) is State.PAYING_OUT


async def test_a_repeated_request_is_answered_while_the_daemon_is_silent(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, (Coin(),))
    async with world.client() as client:
        first = await client.post(f"/api/escrows/{escrow_id}/refund", headers=KEY)
        world.daemon.silent = True
        again = await client.post(f"/api/escrows/{escrow_id}/refund", headers=KEY)
    assert again.json() == first.json()


async def test_the_same_key_with_another_request_is_refused(world: World) -> None:
    escrow_id, other_id = [await world.add_escrow(State.FUNDED, (Coin(),)) for _ in range(2)]
    async with world.client() as client:
        assert (
            await client.post(f"/api/escrows/{escrow_id}/dispute", headers=KEY, json={"reason": "one"})
        ).status_code == 200
        for path, body in (
            (f"/api/escrows/{escrow_id}/dispute", {"reason": "two"}),
            (f"/api/escrows/{other_id}/dispute", {"reason": "one"}),
            (f"/api/escrows/{other_id}/release", {}),
        ):
            problem_of(await client.post(path, headers=KEY, json=body), 422, "idempotency_key_reused")
    assert await world.state_of(other_id) is State.FUNDED


async def test_a_double_submit_decides_once(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, (Coin(), Coin()))
    async with world.client() as client:
        answers = await asyncio.gather(
            *(client.post(f"/api/escrows/{escrow_id}/release", headers=KEY) for _ in range(8))
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert await payouts_of(world, escrow_id) == 1


async def test_without_keys_of_two_opposite_decisions_at_once_one_is_taken(world: World) -> None:
    for _ in range(10):
        escrow_id = await world.add_escrow(State.FUNDED, (Coin(),))
        async with world.client() as client:
            answers = await asyncio.gather(
                client.post(f"/api/escrows/{escrow_id}/release"), client.post(f"/api/escrows/{escrow_id}/refund")
            )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        assert await payouts_of(world, escrow_id) == 1


async def test_an_error_is_not_recorded_and_may_be_tried_again(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, (Coin(),))
    world.daemon.silent = True
    async with world.client() as client:
        answer = await client.post(f"/api/escrows/{escrow_id}/release", headers=KEY)
        problem_of(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert "127.0.0.1" not in answer.text
        world.daemon.silent = False
        answer = await client.post(f"/api/escrows/{escrow_id}/release", headers=KEY)
        assert answer.status_code == 200
        assert "idempotent-replayed" not in answer.headers


async def test_a_wrong_state_is_told_without_asking_the_daemon(world: World) -> None:
    escrow_id = await world.add_escrow(State.SETTLED)
    world.daemon.silent = True
    async with world.client() as client:
        problem = problem_of(
            await client.post(f"/api/escrows/{escrow_id}/dispute", json={"reason": "x"}), 409, "wrong_state"
        )
        assert "release" in problem["what_to_do"]
        problem_of(await client.post("/api/escrows/unknown/release"), 404, "not_found")


async def test_a_key_belongs_to_the_shop_and_not_to_its_api_key(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, (Coin(),))
    other_id = await world.add_escrow(State.FUNDED, (Coin(),), shop="other")
    _, renewed = await world.make_key(Scope.SHOP, SHOP)
    async with world.client() as client:
        first = await client.post(f"/api/escrows/{escrow_id}/release", headers=KEY)
    async with world.client(key=renewed) as client:
        assert (await client.post(f"/api/escrows/{escrow_id}/release", headers=KEY)).json() == first.json()
    async with world.client("other shop") as client:  # the same text is another shop's own key
        assert (await client.post(f"/api/escrows/{other_id}/release", headers=KEY)).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 129, "tab\there", "caf\xe9"])
async def test_a_key_that_is_none_is_refused(world: World, key: str) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, (Coin(),))
    async with world.client() as client:
        answer = await client.post(
            f"/api/escrows/{escrow_id}/release", headers={b"Idempotency-Key": key.encode("latin-1")}
        )
    problem_of(answer, 422, "invalid_idempotency_key")
    assert await world.state_of(escrow_id) is State.FUNDED


async def test_the_reason_of_a_ruling_belongs_to_the_request_and_to_the_history(world: World) -> None:
    escrow_id, split = await world.add_escrow(State.DISPUTED, (Coin(),), disputed=True), dict(SPLIT)
    path = f"/api/escrows/{escrow_id}/ruling"
    async with world.client("arbiter") as client:
        for wrong in ("", "x" * 2_001, "two\nlines"):
            assert (await client.post(path, json={**split, "reason": wrong})).status_code == 422
        first = await client.post(path, headers=KEY, json={**split, "reason": "It was half empty."})
        assert first.status_code == 200, first.text
        other = await client.post(path, headers=KEY, json={**split, "reason": "It was empty."})
    problem_of(other, 422, "idempotency_key_reused")
    assert first.json()["history"][-1]["detail"]["reason"] == "It was half empty."


@pytest.mark.parametrize("reason", [{}, {"reason": None}])
async def test_a_ruling_without_a_reason_is_the_request_that_it_was_before_there_were_reasons(
    world: World, reason: dict[str, None]
) -> None:
    assert RulingTerms.model_validate({**SPLIT, **reason}).model_dump(mode="json") == SPLIT
    escrow_id = await world.add_escrow(State.DISPUTED, (Coin(),), disputed=True)
    async with world.client("arbiter") as client:
        answer = await client.post(f"/api/escrows/{escrow_id}/ruling", json={**SPLIT, **reason})
    assert answer.status_code == 200, answer.text
    assert "reason" not in answer.json()["history"][-1]["detail"]
