"""How much is taken into escrow: told to the shop, and never a reason to drop what was acknowledged."""

from __future__ import annotations

from dataclasses import replace

from monero_escrow.core.life_cycle import State
from web.world import World, order_body, problem_of

ORDER = "/api/orders/{}/init-escrow"


def limit(world: World, **limits: str) -> None:
    world.conductor.ctx = replace(world.ctx, settings=world.settings.model_copy(update=limits))


async def test_an_order_for_more_than_one_escrow_may_hold_is_refused(world: World) -> None:
    limit(world, most_xmr_per_escrow="1.25")
    async with world.client() as client:
        assert (await client.post(ORDER.format("a"), json=order_body())).status_code == 201
        larger = await client.post(ORDER.format("b"), json=order_body(amount="1.250000000001"))
        assert "at most 1.25 XMR" in problem_of(larger, 422, "too_much_for_one_escrow")["detail"]


async def test_orders_are_taken_until_the_open_ones_make_the_limit_and_again_when_some_have_ended(world: World) -> None:
    limit(world, most_xmr_at_once="2.5")
    open_ones = [await world.add_escrow(State.FUNDED), await world.add_escrow(State.DISPUTED)]
    await world.add_escrow(State.SETTLED)
    async with world.client() as client:
        refused = await client.post(ORDER.format("a"), json=order_body())
        problem_of(refused, 503, "too_much_at_once")
        assert int(refused.headers["retry-after"]) > 0
        now = world.clock.now()
        await world.store.write(
            lambda tx: tx.escrows.change(open_ones[0], expected=State.FUNDED, now=now, state=State.SETTLED)
        )
        assert (await client.post(ORDER.format("a"), json=order_body())).status_code == 201


async def test_an_order_that_was_acknowledged_is_answered_whatever_the_limit_has_become(world: World) -> None:
    async with world.client() as client:
        first = await client.post(ORDER.format("a"), json=order_body())
        limit(world, most_xmr_per_escrow="0.1", most_xmr_at_once="0.1")
        again = await client.post(ORDER.format("a"), json=order_body())
        assert again.status_code == 200
        assert again.json()["escrow_id"] == first.json()["escrow_id"]


async def test_in_a_batch_the_orders_that_fit_are_taken(world: World) -> None:
    limit(world, most_xmr_at_once="2.5")
    orders = [{"order_id": name, **order_body()} for name in ("a", "b", "c")]
    async with world.client() as client:
        answer = await client.post("/api/escrows/batch", json={"orders": orders})
    statuses = [one["status"] for one in answer.json()["answers"]]
    assert statuses[2] == 503
    assert set(statuses[:2]) <= {201, 202}
