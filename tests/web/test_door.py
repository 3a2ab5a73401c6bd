"""Whom a request comes from, by which name it calls us, and tricks with paths, headers and methods that get nowhere."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from monero_escrow.core.life_cycle import State
from monero_escrow.nodes.shares import Shares
from monero_escrow.store import schema
from monero_escrow.web.door import door_of
from monero_escrow.web.problems import TooManyRequestsError
from monero_escrow.web.rates import Limit, RateLimits
from web.page_visits import sign_in
from web.test_limits import asgi
from web.world import OTHER_SHOP, Coin, World, order_body, problem_of, settings_are

PROXY = (ip_network("192.0.2.1/32"),)
"""Where `asgi` says that it calls from."""


async def source_in_the_trail(world: World, **headers: str) -> str:
    """What the audit trail says of where an order came from."""
    sent = {"Authorization": f"Bearer {world.keys['shop']}", "Content-Type": "application/json", **headers}
    body = httpx2.Request("POST", "http://example.com", json=order_body()).content
    message = {"type": "http.request", "body": body, "more_body": False}
    answer = await asgi(world, {name.replace("_", "-"): value for name, value in sent.items()}, [message])
    assert answer[0]["status"] == 201
    audit = schema.audit
    query = select(audit.c.source).where(audit.c.source.is_not(None))
    sources = await world.store.read(lambda tx: set(tx.connection.scalars(query)))
    assert len(sources) == 1
    return str(sources.pop())


async def test_without_trusted_proxies_nobody_is_believed(world: World) -> None:
    assert await source_in_the_trail(world, X_Forwarded_For="198.51.100.7") == "192.0.2.1"


@settings_are(trusted_proxies=PROXY)
async def test_the_trail_names_the_caller_that_a_trusted_proxy_saw(world: World) -> None:
    assert await source_in_the_trail(world, X_Forwarded_For="203.0.113.9, 198.51.100.7") == "198.51.100.7"


@settings_are(trusted_proxies=PROXY, rate_limit_address_requests=0.1)
async def test_behind_a_trusted_proxy_each_caller_has_a_limit_of_its_own(world: World) -> None:
    world.clock.stands_at = 1000.0

    async def ask(forwarded_for: str) -> int:
        message = {"type": "http.request", "body": b"", "more_body": False}
        return int((await asgi(world, {"X-Forwarded-For": forwarded_for}, [message]))[0]["status"])

    assert [await ask("198.51.100.7") for _ in range(2)] == [401, 429]
    assert await ask("203.0.113.9, 198.51.100.7") == 429  # what it adds itself does not help it
    assert await ask("198.51.100.8") == 401


@settings_are(trusted_proxies=(ip_network("127.0.0.1/32"),))
async def test_a_trusted_proxy_says_whether_tls_was_spoken(world: World) -> None:
    async with world.client(None) as client:
        plain = await client.get("/livez")
        over_tls = await client.get("/livez", headers={"X-Forwarded-Proto": "https"})
        spoofed = await client.get("/livez", headers=[("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")])
        client.headers["X-Forwarded-Proto"] = "https"
        cookie = (await sign_in(client, world.keys["operator"])).headers["set-cookie"]
    assert "strict-transport-security" not in plain.headers
    assert over_tls.headers["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in spoofed.headers
    assert "secure" in cookie.lower()


@settings_are(behind_tls_proxy=True)
async def test_behind_a_tls_proxy_the_cookie_is_secure_even_if_the_proxy_says_nothing(world: World) -> None:
    async with world.client(None) as client:
        assert "secure" in (await sign_in(client, world.keys["operator"])).headers["set-cookie"].lower()


@settings_are(allowed_hosts=("escrow.example.com", "*.shops.example.com"))
async def test_a_host_that_is_none_of_ours_is_refused_everywhere_but_at_the_probes(world: World) -> None:
    async with world.client("shop") as client:
        for host in ("escrow.example.com", "ESCROW.EXAMPLE.COM:8443", "a.shops.example.com"):
            assert (await client.get("/api/escrows", headers={"Host": host})).status_code == 200
        for host in ("evil.example", "escrow.example.com.evil.example", "127.0.0.1", "shops.example.com"):
            for path in ("/api/escrows", "/admin", "/docs", "/nothing"):
                answer = await client.get(path, headers={"Host": host})
                problem_of(answer, 421, "wrong_host")
                assert host not in answer.text
            assert (await client.get("/livez", headers={"Host": host})).status_code == 200


async def test_every_answer_keeps_other_sites_out(world: World) -> None:
    async with world.client() as client:
        for path in ("/livez", "/api/escrows", "/nothing", "/docs"):
            headers = (await client.get(path)).headers
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert "access-control-allow-origin" not in headers


TRICKS = [
    "//api/escrows",
    "/api//escrows",
    "/API/escrows",
    "/Api/Escrows",
    "/api/escrows/",
    "/api/escrows/.",
    "/api/./escrows",
    "/api/x/../escrows",
    "/api/%2e/escrows",
    "/livez/../api/escrows",
    "/livez%2f..%2fapi%2fescrows",
    "/livez/..;/api/escrows",
    "/livez;/api/escrows",
    "/api/escrows%00",
    "/api/escrows%20",
    "/api\\escrows",
    "/admin//health",
    "/admin/%2e%2e/admin/health",
    "/ADMIN/health",
]


@pytest.mark.parametrize("path", TRICKS)
async def test_no_spelling_of_a_path_gets_past_the_key(world: World, path: str) -> None:
    await world.add_escrow(State.FUNDED, (Coin(),))
    for raw in (path.encode(), path.replace("/", "%2f").encode()):
        answer = await at_path(world, raw, None)
        assert answer["status"] in (303, 401, 404, 405)


async def at_path(world: World, raw: bytes, key: str | None) -> Any:
    """The start of the answer to a GET whose path no client tidied up, decoded as the server does."""
    headers = [(b"host", b"example.com")] + ([(b"authorization", f"Bearer {key}".encode())] if key else [])
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": unquote(raw.decode("ascii")), "raw_path": raw, "query_string": b"", "headers": headers,
        "server": ("example.com", 80), "client": ("192.0.2.1", 1),
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await world.app(scope, receive, send)
    return sent[0]


@pytest.mark.parametrize(
    "spelt",
    ["{id}", "%2e%2e/{other}", "{id}%2f..%2f{other}", "{id}/../{other}", "{ID}", "{id}%00", "./{other}", "/{other}"],
)
async def test_no_spelling_of_an_id_shows_another_shops_escrow(world: World, spelt: str) -> None:
    mine = await world.add_escrow(State.FUNDED, (Coin(),))
    theirs = await world.add_escrow(State.FUNDED, (Coin(),), shop=OTHER_SHOP)
    path = "/api/escrows/" + spelt.replace("{id}", mine).replace("{other}", theirs).replace("{ID}", theirs.upper())
    answer = await at_path(world, path.encode(), world.keys["shop"])
    assert answer["status"] == (200 if spelt == "{id}" else 404)


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_a_header_makes_no_other_method_of_a_request(world: World, header: str) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, (Coin(),))
    async with world.client() as client:
        answer = await client.get(f"/api/escrows/{escrow_id}/release", headers={header: "POST"})
        assert answer.status_code == 405
        assert (
            await client.post(f"/api/escrows/{escrow_id}?_method=release", headers={header: "GET"})
        ).status_code == 405
    assert await world.state_of(escrow_id) is State.FUNDED


@pytest.mark.parametrize("header", ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Host"])
async def test_a_header_makes_no_other_path_and_no_other_host_of_a_request(world: World, header: str) -> None:
    async with world.client(None) as client:
        value = "evil.example" if header.endswith("Host") else "/api/escrows"
        answer = await client.get("/livez", headers={header: value})
        assert answer.json() == (await client.get("/livez")).json()
        to_sign_in = await client.get("/admin", headers={header: value})
        assert "evil.example" not in to_sign_in.headers["location"]


async def test_two_keys_in_one_request_open_no_more_than_the_first(world: World) -> None:
    theirs = await world.add_escrow(State.FUNDED, (Coin(),), shop=OTHER_SHOP)
    for keys in (("shop", "other shop"), ("shop", "operator")):
        headers = [("Authorization", f"Bearer {world.keys[who]}") for who in keys]
        async with world.client(None) as client:
            answer = await client.get(f"/api/escrows/{theirs}", headers=headers)
            assert answer.status_code in (401, 404)


async def test_a_key_counts_in_the_header_alone(world: World) -> None:
    key = world.keys["operator"]
    async with world.client(None) as client:
        for path in (f"/api/escrows?access_token={key}", f"/api/escrows?api_key={key}&authorization=Bearer%20{key}"):
            problem_of(await client.get(path), 401, "unauthenticated")
        client.cookies.set("monero_escrow_session", key)
        problem_of(await client.get("/api/escrows"), 401, "unauthenticated")


@settings_are(database_url=SecretStr("postgresql://somebody@localhost/escrow"), rate_limit_requests=0.5)
async def test_on_a_shared_database_the_limits_of_the_api_are_told_to_the_other_nodes(world: World) -> None:
    world.clock.stands_at = 1000.0
    here, there = door_of(world.app).shares, RateLimits(world.settings, world.clock, world.ctx.metrics)
    assert here is not None
    other = Shares(world.store, world.clock, "another", there)
    await here.round()
    await other.round()
    async with world.client("shop") as client:
        assert [(await client.get("/api/escrows")).status_code for _ in range(6)] == [200] * 5 + [429]
    await here.round()
    await other.round()
    key_id = (await world.store.read(lambda tx: tx.keys.all()))[0].id
    with pytest.raises(TooManyRequestsError):
        there.charge([(Limit.KEY, key_id)])


async def test_on_a_file_there_is_nobody_to_tell(world: World) -> None:
    assert door_of(world.app).shares is None
