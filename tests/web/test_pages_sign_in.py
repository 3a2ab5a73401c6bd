"""Signing in to the operator's pages: who gets in, for how long, and what keeps everybody else out."""

from __future__ import annotations

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from monero_escrow.core.roles import ROLES
from monero_escrow.store import schema
from monero_escrow.store.records import Scope
from monero_escrow.web.attempts import MOST_FAILURES
from monero_escrow.web.pages.session import COOKIE, SESSION_SECONDS
from web.page_visits import ORIGIN, form_token_of, read, send, sign_in, signed_in
from web.world import World


async def test_an_operator_signs_in_and_sees_the_overview(world: World) -> None:
    async with signed_in(world) as browser:
        page = await read(browser, "/admin")
    assert "Is money safe?" in page
    assert all(slot.name.partition("@")[2] in page for slot in world.pool.slots)
    assert all(f"{role.capitalize()} <small>" in page for role in ROLES)


async def test_nobody_is_shown_anything_before_signing_in(world: World) -> None:
    async with world.client(None) as browser:
        answer = await browser.get("/admin")
        assert (answer.status_code, answer.headers["location"]) == (303, "/admin/sign-in?next=/admin")
        assert (await browser.get("/admin/live")).status_code == 303
        assert "Sign in" in await read(browser, "/admin/sign-in")


@pytest.mark.parametrize(("who", "told"), [("shop", "shop&#39;s key"), ("nobody", "unknown, expired or revoked")])
async def test_a_wrong_key_is_told_so_and_opens_nothing(world: World, who: str, told: str) -> None:
    async with world.client(None) as browser:
        answer = await sign_in(browser, world.keys.get(who, "me_operator_wrong"))
        assert answer.status_code == 403
        assert told in answer.text
        assert COOKIE not in browser.cookies


async def test_a_key_sent_as_the_apis_header_opens_no_page(world: World) -> None:
    async with world.client("operator") as client:
        assert (await client.get("/admin")).status_code == 303


async def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(world: World) -> None:
    async with world.client(None) as browser:
        cookie = (await sign_in(browser, world.keys["operator"])).headers["set-cookie"]
        secure = await browser.post(
            "https://example.com/admin/sign-in",
            data={"key": world.keys["operator"]},
            headers={"Origin": "https://example.com"},
        )
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert parts == {"httponly", "samesite=strict", "path=/admin", f"max-age={SESSION_SECONDS:.0f}"}
    assert "secure" in secure.headers["set-cookie"].lower()


async def test_neither_token_nor_key_is_in_the_database_or_on_a_page(world: World) -> None:
    async with signed_in(world) as browser:
        token = browser.cookies[COOKIE]
        page = await read(browser, "/admin")
    assert token not in page
    assert world.keys["operator"] not in page
    rows = await world.store.read(lambda tx: tx.connection.exec_driver_sql("SELECT * FROM sessions").all())
    assert len(rows) == 1
    assert token not in str(rows)


async def test_a_session_is_over_after_a_working_day(world: World) -> None:
    async with signed_in(world) as browser:
        world.clock.ahead_seconds += SESSION_SECONDS
        answer = await browser.get("/admin")
        assert answer.headers["location"].endswith("&ended=1")
        assert "Your session is over" in await read(browser, answer.headers["location"])


async def test_revoking_the_key_ends_its_sessions_at_once(world: World) -> None:
    key_id, world.keys["second"] = await world.make_key(Scope.OPERATOR, None)
    async with signed_in(world, "second") as browser, signed_in(world) as another:
        await read(browser, "/admin")
        await world.store.write(lambda tx: tx.keys.revoke(key_id, world.clock.now()))
        assert (await browser.get("/admin")).status_code == 303
        await read(another, "/admin")


async def test_a_key_that_runs_out_takes_its_sessions_with_it(world: World) -> None:
    _, world.keys["short"] = await world.make_key(Scope.OPERATOR, None, expires_at=world.clock.now() + 60)
    async with signed_in(world, "short") as browser:
        world.clock.ahead_seconds += 61
        assert (await browser.get("/admin")).status_code == 303


async def test_signing_out_ends_the_session_for_whoever_has_its_cookie(world: World) -> None:
    async with signed_in(world) as browser:
        token = browser.cookies[COOKIE]
        assert (await send(browser, "/admin/sign-out", {})).status_code == 303
        assert COOKIE not in browser.cookies
        answer = await browser.get("/admin", headers={"Cookie": f"{COOKIE}={token}"})
        assert answer.status_code == 303
    actions = await world.store.read(lambda tx: tx.connection.exec_driver_sql("SELECT action FROM audit").all())
    assert [row[0] for row in actions] == ["sign_in", "sign_out"]


async def test_where_the_nodes_trail_is_broken_an_operator_gets_in_and_out_all_the_same(world: World) -> None:
    """The pages tell what is wrong with the trail: they may not be shut because of it."""
    async with signed_in(world):
        pass
    heads = schema.audit_heads
    moved = update(heads).where(heads.c.chain.startswith("node:")).values(seq=heads.c.seq + 1)
    await world.store.write(lambda tx: tx.connection.execute(moved) and None)

    with capture_logs() as logs:
        async with signed_in(world) as browser:
            await read(browser, "/admin/audit")
            assert (await send(browser, "/admin/sign-out", {})).status_code == 303
    said = [(line["action"], line["code"]) for line in logs if line["event"] == "session_not_in_the_trail"]
    assert said == [("sign_in", "audit_head_broken"), ("sign_out", "audit_head_broken")]


async def test_a_form_without_the_sessions_token_changes_nothing(world: World) -> None:
    async with signed_in(world) as browser, signed_in(world) as another:
        for token in ("", "0" * 64, "é", await form_token_of(another)):
            answer = await send(browser, "/admin/sign-out", {}, form_token=token)
            assert answer.status_code == 403
            assert "Nothing was changed" in answer.text
        await read(browser, "/admin")


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://elsewhere.example.org"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
async def test_a_form_of_another_site_is_refused(world: World, headers: dict[str, str]) -> None:
    async with signed_in(world) as browser:
        data = {"form_token": await form_token_of(browser)}
        assert (await browser.post("/admin/sign-out", data=data, headers=headers)).status_code == 403
        refused = await browser.post("/admin/sign-in", data={"key": world.keys["operator"]}, headers=headers)
        assert refused.status_code == 403
        await read(browser, "/admin")


async def test_whoever_tries_many_keys_has_to_wait(world: World) -> None:
    async with world.client(None) as browser:
        for _ in range(MOST_FAILURES):
            assert (await sign_in(browser, "me_operator_guess")).status_code == 403
        for wrong in ("me_operator_another", world.keys["shop"]):
            answer = await sign_in(browser, wrong)
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "300"
            assert "Wait 5 minutes" in answer.text


async def test_somebody_elses_guesses_lock_no_operator_out(world: World) -> None:
    """Behind a proxy all come from one address. The key was never used before: no memory has to know it."""
    async with world.client(None) as guesser, world.client(None) as operator:
        for _ in range(MOST_FAILURES + 1):
            await sign_in(guesser, "me_operator_guess")
        assert (await sign_in(operator, world.keys["operator"])).status_code == 303
        assert "Is money safe?" in await read(operator, "/admin")


@pytest.mark.parametrize(
    "wanted", ["https://example.org/", "//example.org", "/admin//example.org", "/\\example.org", "/administrator", ""]
)
async def test_a_sign_in_leads_to_these_pages_only(world: World, wanted: str) -> None:
    async with world.client(None) as browser:
        assert (await sign_in(browser, world.keys["operator"], wanted)).headers["location"] == "/admin"


async def test_no_page_lets_scripts_frames_or_other_machines_in(world: World) -> None:
    async with signed_in(world) as browser, world.client(None) as guest:
        for visitor, path in ((browser, "/admin"), (guest, "/admin/sign-in?ended=1"), (guest, "/admin")):
            answer = await visitor.get(path)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store"
            assert "style=" not in answer.text
            assert "//" not in answer.text.replace("<!doctype", "")


@pytest.mark.parametrize("body", [b"key=%ff", b"\xff", b"a=1&" * 60])
async def test_a_form_that_cannot_be_read_is_told_so(world: World, body: bytes) -> None:
    headers = {"Origin": ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
    async with world.client(None) as browser:
        answer = await browser.post("/admin/sign-in", content=body, headers=headers)
    assert answer.status_code == 422
    assert "The form cannot be read" in answer.text


async def test_static_files_are_those_of_the_package_and_no_others(world: World) -> None:
    async with signed_in(world) as browser:
        style = await browser.get("/admin/static/pages.css")
        assert style.headers["content-type"] == "text/css; charset=utf-8"
        assert "immutable" in style.headers["cache-control"]
        for path in ("../answers.py", "..%2f..%2fauth.py", "vendor/", "/etc/passwd"):
            assert (await browser.get(f"/admin/static/{path}")).status_code == 404
