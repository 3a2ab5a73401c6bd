"""No key, a wrong one, one that is over, and one of another scope: each is refused, and none learns anything."""

from __future__ import annotations

import httpx2
import pytest

from monero_escrow.core.life_cycle import State
from monero_escrow.store.records import Scope
from web.world import SHOP, Coin, World, order_body, problem_of

PROTECTED = [
    ("POST", "/api/orders/1/init-escrow"),
    ("GET", "/api/escrows"),
    ("GET", "/api/escrows/x"),
    ("POST", "/api/escrows/x/release"),
    ("POST", "/api/escrows/x/ruling"),
    ("POST", "/admin/escrows/x/rescan"),
    ("GET", "/api/events"),
    ("GET", "/admin/health"),
    ("GET", "/admin/overview"),
    ("GET", "/admin/fleet"),
    ("POST", "/admin/fleet/reload"),
]


async def send(world: World, method: str, path: str, key: str | None) -> httpx2.Response:
    async with world.client(None, key=key) as client:
        if path.endswith("init-escrow"):
            return await client.request(method, path, json=order_body())
        if path.endswith("ruling"):
            return await client.request(method, path, json={"buyer_share": 1, "vendor_share": 9999})
        return await client.request(method, path)


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_without_a_key_or_with_a_wrong_one_there_is_no_answer(world: World, method: str, path: str) -> None:
    for key in (None, "me_shop_wrong", "x" * 10_000):
        answer = await send(world, method, path, key)
        body = problem_of(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "me_shop_wrong" not in answer.text
        assert body["what_to_do"]


async def test_another_authorization_scheme_is_no_key(world: World) -> None:
    async with world.client(None) as client:
        for header in (f"Basic {world.keys['shop']}", world.keys["shop"], "Bearer", "Bearer "):
            problem_of(await client.get("/api/escrows", headers={"Authorization": header}), 401, "unauthenticated")


async def test_a_key_opens_nothing_once_it_is_revoked(world: World) -> None:
    key_id, key = await world.make_key(Scope.SHOP, SHOP)
    assert (await send(world, "GET", "/api/escrows", key)).status_code == 200
    await world.store.write(lambda tx: tx.keys.revoke(key_id, world.clock.now()))
    problem_of(await send(world, "GET", "/api/escrows", key), 401, "unauthenticated")


async def test_a_key_opens_nothing_once_it_is_expired(world: World) -> None:
    _, key = await world.make_key(Scope.SHOP, SHOP, expires_at=world.clock.now() + 60)
    assert (await send(world, "GET", "/api/escrows", key)).status_code == 200
    world.clock.ahead_seconds = 61
    problem_of(await send(world, "GET", "/api/escrows", key), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("method", "path", "who"),
    [
        ("POST", "/api/orders/1/init-escrow", "arbiter"),
        ("POST", "/api/orders/1/init-escrow", "operator"),
        ("GET", "/api/events", "arbiter"),
        ("POST", "/admin/escrows/x/rescan", "shop"),
        ("POST", "/admin/escrows/x/rescan", "arbiter"),
        ("GET", "/admin/health", "shop"),
        ("GET", "/admin/health", "arbiter"),
        ("GET", "/admin/overview", "shop"),
        ("GET", "/admin/overview", "arbiter"),
        ("GET", "/admin/fleet", "shop"),
        ("GET", "/admin/fleet", "arbiter"),
        ("POST", "/admin/fleet/reload", "shop"),
        ("POST", "/admin/fleet/reload", "arbiter"),
    ],
)
async def test_a_key_of_another_scope_is_refused_and_changes_nothing(
    world: World, method: str, path: str, who: str
) -> None:
    problem_of(await send(world, method, path, world.keys[who]), 403, "wrong_scope")
    assert await world.store.read(lambda tx: tx.escrows.counts()) == {}


async def test_a_list_has_the_shops_own_the_arbiters_disputes_or_all_for_the_operator(world: World) -> None:
    mine = await world.add_escrow(State.FUNDED, (Coin(),))
    theirs = await world.add_escrow(State.DISPUTED, (Coin(),), shop="other")
    seen = {}
    for who in world.keys:
        async with world.client(who) as client:
            seen[who] = {escrow["escrow_id"] for escrow in (await client.get("/api/escrows")).json()["escrows"]}
    assert seen == {"shop": {mine}, "other shop": {theirs}, "arbiter": {theirs}, "operator": {mine, theirs}}


async def test_no_answer_and_no_log_line_carries_the_key(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    answer = await send(world, "GET", "/api/escrows", world.keys["shop"])
    assert world.keys["shop"] not in answer.text + str(answer.headers)
    printed = capsys.readouterr()
    assert world.keys["shop"] not in printed.out + printed.err
