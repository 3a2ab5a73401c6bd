"""POST /api/escrows/batch: an answer an order, none spoils another, and repeating it makes nothing twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2

from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.context import new_id
from monero_escrow.store.store import DatabaseBusyError
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.limits import MOST_BATCH_BYTES, MOST_BODY_BYTES
from monero_escrow.web.schemas import MOST_ORDERS
from web.world import NETWORK, World, address, ascii_json, order_body, problem_of

PATH = "/api/escrows/batch"


def order(number: int, **changes: Any) -> dict[str, Any]:
    return {"order_id": f"order-{number}", **order_body(**changes)}


async def send(world: World, *orders: Any, key: str | None = None, who: str = "shop") -> httpx2.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    async with world.client(who) as client:
        return await client.post(PATH, json={"orders": list(orders)}, headers=headers)


async def put_in_stock(world: World, count: int) -> None:
    now = world.clock.now()

    def add(tx: Transaction) -> None:
        for _ in range(count):
            trio_id = new_id()
            tx.trios.add(trio_id, None, 0, now)
            tx.trios.finish(trio_id, address(trio_id), "00" * 32, NETWORK, now)

    await world.store.write(add)


async def escrows(world: World) -> dict[State, int]:
    return await world.store.read(lambda tx: tx.escrows.counts())


async def test_those_who_find_stock_have_their_addresses_and_the_others_get_theirs_later(world: World) -> None:
    await put_in_stock(world, 2)

    answer = await send(world, order(1), order(2), order(3))

    assert answer.status_code == 200
    answers = answer.json()["answers"]
    assert [one["status"] for one in answers] == [201, 201, 202]
    assert [one["escrow"]["order_id"] for one in answers] == ["order-1", "order-2", "order-3"]
    addresses = [one["escrow"]["deposit_address"] for one in answers]
    assert addresses[0] != addresses[1]
    assert addresses[2] is None
    assert await escrows(world) == {State.AWAITING_DEPOSIT: 2, State.SETTING_UP: 1}


async def test_an_answer_is_what_a_request_of_its_own_would_have_been_told(world: World) -> None:
    await put_in_stock(world, 1)
    (one,) = (await send(world, order(1))).json()["answers"]

    async with world.client() as client:
        alone = await client.post("/api/orders/order-1/init-escrow", json=order_body())
        read = await client.get(f"/api/escrows/{one['escrow']['escrow_id']}")

    assert alone.status_code == 200
    assert one["escrow"] == alone.json() == read.json()


BAD: tuple[tuple[Any, str], ...] = (
    ({"order_id": "order-9", **order_body(amount="0.0000001")}, "invalid_amount"),
    ({"order_id": "order-9", **order_body(amount="much")}, "invalid_amount"),
    ({"order_id": "a b", **order_body()}, "invalid_order_id"),
    ({"order_id": "order-9", **order_body(vendor_payout_address="nonsense")}, "invalid_address"),
    ({"order_id": "order-9", **order_body(colour="red")}, "invalid_input"),
    ({"order_id": "order-9", **order_body(amount=None)}, "invalid_input"),
    ({"order_id": 9, **order_body()}, "invalid_input"),
    (order_body(), "invalid_input"),
    ({}, "invalid_input"),
    ([], "invalid_input"),
    (None, "invalid_input"),
    ("order-1", "invalid_input"),
    (10**400, "invalid_input"),
)


async def test_a_bad_order_is_refused_in_its_place_and_spoils_no_other(world: World) -> None:
    mixed = [part for number, (bad, _) in enumerate(BAD) for part in (order(number), bad)]

    answers = (await send(world, *mixed)).json()["answers"]

    assert [one["status"] for one in answers[0::2]] == [202] * len(BAD)
    assert [one["status"] for one in answers[1::2]] == [422] * len(BAD)
    assert [one["problem"]["code"] for one in answers[1::2]] == [code for _, code in BAD]
    assert all(one["escrow"] is None and one["problem"]["what_to_do"] for one in answers[1::2])
    assert await escrows(world) == {State.SETTING_UP: len(BAD)}


async def test_a_problem_names_the_field_and_repeats_nothing_of_what_was_sent(world: World) -> None:
    sent = {"order_id": "order-1", **order_body(fee_bearer="one secret"), "Me_shop_another-secret": "x"}

    (one,) = (await send(world, sent)).json()["answers"]

    assert [field["field"] for field in one["problem"]["errors"]] == ["fee_bearer", "(unknown)"]
    assert "secret" not in json.dumps(one)


async def test_an_order_twice_in_one_batch_is_one_escrow_and_with_other_terms_a_conflict(world: World) -> None:
    answers = (await send(world, order(1), order(1), order(1, amount="2"))).json()["answers"]

    assert [one["status"] for one in answers] == [202, 202, 409]
    assert answers[0]["escrow"] == answers[1]["escrow"]
    assert answers[2]["problem"]["code"] == "order_exists"


async def test_the_same_batch_again_makes_nothing_twice(world: World) -> None:
    await put_in_stock(world, 1)
    first = await send(world, order(1), order(2))
    again = await send(world, order(1), order(2), order(3))

    assert [one["status"] for one in first.json()["answers"]] == [201, 202]
    assert [one["status"] for one in again.json()["answers"]] == [200, 202, 202]
    assert sum((await escrows(world)).values()) == 3


async def test_the_same_key_repeats_the_answer_word_for_word(world: World) -> None:
    await put_in_stock(world, 1)
    first = await send(world, order(1), "nonsense", key="k")
    await world.store.write(lambda tx: tx.escrows.saw_in_pool(first.json()["answers"][0]["escrow"]["escrow_id"], 5))
    again = await send(world, order(1), "nonsense", key="k")

    assert again.json() == first.json()
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    problem_of(await send(world, order(2), key="k"), 422, "idempotency_key_reused")
    assert sum((await escrows(world)).values()) == 1


async def test_a_thousand_orders_are_taken_and_one_more_is_refused(world: World) -> None:
    answer = await send(world, *(order(number) for number in range(MOST_ORDERS)))
    assert [one["status"] for one in answer.json()["answers"]] == [202] * MOST_ORDERS
    problem_of(await send(world, *(order(number) for number in range(MOST_ORDERS + 1))), 422, "invalid_input")
    assert await escrows(world) == {State.SETTING_UP: MOST_ORDERS}


async def test_what_is_no_batch_is_refused_whole(world: World) -> None:
    problem_of(await send(world), 422, "invalid_input")
    async with world.client() as client:
        bodies: tuple[Any, ...] = ({}, [], {"orders": {}}, {"orders": [order(1)], "more": 1})
        for body in bodies:
            problem_of(await client.post(PATH, json=body), 422, "invalid_input")
        odd = {"orders": [order(1, vendor_payout_address="\ud800")]}
        (one,) = (await client.post(PATH, **ascii_json(odd))).json()["answers"]
    assert one["status"] == 422


async def test_a_larger_body_is_taken_here_and_nowhere_else(world: World) -> None:
    padding = " " * (MOST_BODY_BYTES * 2)
    body = json.dumps({"orders": [order(1)]}).encode() + padding.encode()
    headers = {"Content-Type": "application/json"}
    async with world.client() as client:
        assert (await client.post(PATH, content=body, headers=headers)).status_code == 200
        elsewhere = await client.post("/api/orders/order-1/init-escrow", content=body, headers=headers)
        problem_of(elsewhere, 413, "body_too_large")
        too_large = await client.post(PATH, content=b" " * (MOST_BATCH_BYTES + 1), headers=headers)
    assert str(MOST_BATCH_BYTES) in problem_of(too_large, 413, "body_too_large")["detail"]


async def test_only_a_shop_may_send_one(world: World) -> None:
    for who in ("arbiter", "operator"):
        problem_of(await send(world, order(1), who=who), 403, "wrong_scope")


async def test_a_database_that_fails_in_the_middle_leaves_a_batch_that_can_be_sent_again(world: World) -> None:
    write, writes = world.store.write, 0

    async def failing(work: Any) -> Any:
        nonlocal writes
        writes += 1
        if writes == 3:  # the key is reserved, and the first orders are recorded
            raise DatabaseBusyError("The database did not take the transaction: database is locked.")
        return await write(work)

    world.store.write = failing  # type: ignore[method-assign]
    orders = [order(number) for number in range(45)]
    problem_of(await send(world, *orders, key="k"), 503, "database_unavailable")
    assert 0 < sum((await escrows(world)).values()) < 45

    answers = (await send(world, *orders, key="k")).json()["answers"]
    assert [one["status"] for one in answers] == [202] * 45
    assert sum((await escrows(world)).values()) == 45


async def test_of_two_batches_at_once_under_one_key_the_refused_one_makes_nothing(world: World) -> None:
    one, other = await asyncio.gather(send(world, order(1), key="k"), send(world, order(2), key="k"))

    assert sorted((one.status_code, other.status_code)) == [200, 422]
    assert sum((await escrows(world)).values()) == 1
