"""Limits over the API: what is refused, with which answer, and that nothing acknowledged is ever in their way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx2

from monero_escrow.store.records import Scope
from monero_escrow.web.attempts import MOST_FAILURES
from monero_escrow.web.rates import source_of
from web.page_visits import sign_in
from web.world import SHOP, World, order_body, problem_of, settings_are

WRONG = "me_shop_wrong"


async def ask(client: httpx2.AsyncClient, times: int) -> list[int]:
    return [(await client.get("/api/escrows")).status_code for _ in range(times)]


async def order(client: httpx2.AsyncClient, name: str, **changes: Any) -> httpx2.Response:
    return await client.post(f"/api/orders/{name}/init-escrow", json=order_body(**changes))


async def batch(client: httpx2.AsyncClient, names: Sequence[str], key: str | None = None) -> httpx2.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    orders = [{"order_id": name, **order_body()} for name in names]
    return await client.post("/api/escrows/batch", json={"orders": orders}, headers=headers)


def limited(world: World, limit: str) -> float:
    return world.ctx.metrics.rate_limited.labels(limit)._value.get()  # type: ignore[no-any-return]


@settings_are(rate_limit_requests=0.5)
async def test_a_key_that_asks_too_often_is_told_when_to_come_again_and_others_are_not(world: World) -> None:
    world.clock.stands_at = 1000.0
    async with world.client("shop") as client, world.client("other shop") as other:
        assert await ask(client, 6) == [200] * 5 + [429]
        answer = await client.get("/api/escrows")
        assert problem_of(answer, 429, "rate_limited")["what_to_do"]
        assert answer.headers["retry-after"] == "2"
        assert await ask(other, 5) == [200] * 5
        assert limited(world, "key") == 2
        world.clock.stands_at += 2
        assert await ask(client, 2) == [200, 429]


@settings_are(rate_limit_address_requests=0.5)
async def test_an_address_is_limited_with_and_without_a_key_and_the_probes_are_not(world: World) -> None:
    world.clock.stands_at = 1000.0
    async with world.client("shop") as client, world.client(None) as nobody:
        for answer in [await nobody.get("/nothing") for _ in range(5)]:
            assert answer.status_code == 404
        refused = await client.get("/api/escrows")
        problem_of(refused, 429, "rate_limited")
        assert refused.headers["x-request-id"]
        assert refused.headers["x-content-type-options"] == "nosniff"
        large = await client.post("/api/escrows/batch", content=b"x" * 1_000_000)
        problem_of(large, 429, "rate_limited")
        for path in ("/livez", "/readyz"):
            assert (await nobody.get(path)).status_code == 200
        assert limited(world, "address") == 2


@settings_are(rate_limit_requests=0, rate_limit_address_requests=0, rate_limit_orders=0, rate_limit_address_orders=0)
async def test_limits_of_0_are_no_limits(world: World) -> None:
    world.clock.stands_at = 1000.0
    async with world.client("shop") as client:
        assert set(await ask(client, 50)) == {200}
        assert {(await order(client, f"order-{number}")).status_code for number in range(20)} == {201}


@settings_are(rate_limit_orders=3)
async def test_an_order_that_has_its_escrow_is_answered_from_what_is_stored_whatever_the_limit(world: World) -> None:
    world.clock.stands_at = 1000.0
    async with world.client("shop") as client:
        first = [(await order(client, f"order-{number}")).json() for number in range(3)]
        refused = await order(client, "order-3")
        problem_of(refused, 429, "rate_limited")
        assert refused.headers["retry-after"] == "20"
        for number, made in enumerate(first):
            again = await order(client, f"order-{number}")
            assert again.status_code == 200
            assert again.json()["deposit_address"] == made["deposit_address"]
        problem_of(await order(client, "order-0", amount="3"), 409, "order_exists")
        assert await world.store.read(lambda tx: tx.escrows.of_order(SHOP, "order-3")) is None
        world.clock.stands_at += 20
        assert (await order(client, "order-3")).status_code == 201
        assert limited(world, "key_orders") == 1


@settings_are(rate_limit_orders=3)
async def test_what_was_no_order_does_not_count_as_one(world: World) -> None:
    world.clock.stands_at = 1000.0
    async with world.client("shop") as client:
        for _ in range(5):
            assert (await order(client, "order-1", vendor_payout_address="4x")).status_code == 422
            assert (await order(client, "o%00rder", amount="1")).status_code == 422
        assert {(await order(client, f"order-{number}")).status_code for number in range(3)} == {201}


@settings_are(rate_limit_address_orders=3)
async def test_the_shops_of_one_address_share_its_limit_on_orders(world: World) -> None:
    world.clock.stands_at = 1000.0
    async with world.client("shop") as client, world.client("other shop") as other:
        assert [(await order(client, f"order-{number}")).status_code for number in range(2)] == [201, 201]
        assert [(await order(other, f"order-{number}")).status_code for number in range(2)] == [201, 429]
        assert limited(world, "address_orders") == 1


@settings_are(rate_limit_orders=6)
async def test_a_batch_counts_its_new_orders_and_is_taken_as_a_whole_or_not_at_all(world: World) -> None:
    world.clock.stands_at = 1000.0
    async with world.client("shop") as client:
        done = await batch(client, ["a", "b", "c", "d"], key="first")
        assert done.status_code == 200
        problem_of(await batch(client, ["e", "f", "g"]), 429, "rate_limited")
        assert await world.store.read(lambda tx: tx.escrows.known_orders(SHOP, ["e", "f", "g"])) == set()
        again = await batch(client, ["a", "b", "c", "d"], key="first")
        assert again.headers["idempotent-replayed"] == "true"
        mixed = await batch(client, ["a", "b", "c", "e", "f"])
        assert [one["status"] for one in mixed.json()["answers"]] == [202] * 5
        problem_of(await batch(client, ["g"]), 429, "rate_limited")


@settings_are(rate_limit_orders=6)
async def test_a_batch_larger_than_the_limit_is_taken_when_there_was_nothing_else_and_paid_off_later(
    world: World,
) -> None:
    world.clock.stands_at = 1000.0
    async with world.client("shop") as client:
        assert (await batch(client, [f"order-{number}" for number in range(12)])).status_code == 200
        refused = await batch(client, ["more"])
        assert refused.headers["retry-after"] == "70"
        world.clock.stands_at += 70
        assert (await batch(client, ["more"])).status_code == 200


@settings_are(rate_limit_orders=10)
async def test_orders_that_come_together_are_not_more_than_the_limit(world: World) -> None:
    world.clock.stands_at = 1000.0
    async with world.client("shop") as client:
        answers = await asyncio.gather(*(order(client, f"order-{number}") for number in range(40)))
    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [429] * 30
    assert sum((await world.store.read(lambda tx: tx.escrows.counts())).values()) == 10


async def test_whoever_guesses_is_barred_and_keys_that_were_good_from_there_are_not(world: World) -> None:
    async with world.client("shop") as client, world.client(None, key=WRONG) as guesser:
        assert (await client.get("/api/escrows")).status_code == 200
        for _ in range(MOST_FAILURES):
            problem_of(await guesser.get("/api/escrows"), 401, "unauthenticated")
        barred = await guesser.get("/api/escrows")
        problem_of(barred, 429, "too_many_attempts")
        assert barred.headers["retry-after"] == "300"
        assert (await client.get("/api/escrows")).status_code == 200
        async with world.client("operator") as not_seen_yet:
            problem_of(await not_seen_yet.get("/api/escrows"), 429, "too_many_attempts")
        assert limited(world, "attempts") == 2


async def test_the_api_and_the_sign_in_count_wrong_keys_together(world: World) -> None:
    async with world.client(None, key=WRONG) as guesser, world.client(None) as browser:
        for _ in range(MOST_FAILURES):
            await guesser.get("/api/escrows")
        assert (await sign_in(browser, f"{WRONG}-too")).status_code == 429
        assert (await sign_in(browser, world.keys["operator"])).status_code == 303, "a right key is let in"


async def test_a_good_key_that_is_revoked_opens_nothing_even_while_others_are_barred(world: World) -> None:
    key_id, key = await world.make_key(Scope.SHOP, SHOP)
    async with world.client(None, key=key) as client, world.client(None, key=WRONG) as guesser:
        assert (await client.get("/api/escrows")).status_code == 200
        for _ in range(MOST_FAILURES):
            await guesser.get("/api/escrows")
        await world.store.write(lambda tx: tx.keys.revoke(key_id, world.clock.now()))
        problem_of(await client.get("/api/escrows"), 401, "unauthenticated")


async def test_every_endpoint_announces_its_429(world: World) -> None:
    for path, operations in world.app.openapi()["paths"].items():
        for operation in operations.values():
            assert ("429" in operation["responses"]) == (path not in ("/livez", "/readyz"))


def test_an_ipv6_caller_is_its_network_however_it_is_spelt() -> None:
    assert source_of("192.0.2.1") == source_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert source_of("2001:db8:0:1::1") == source_of("2001:db8:0:1:ffff::2") == "2001:db8:0:1::/64"
    assert source_of("2001:db8:0:2::1") != source_of("2001:db8:0:1::1")
    assert source_of("fe80::1%eth0") == "fe80::/64"
    assert source_of("what:is:this") == "what:is:this"
