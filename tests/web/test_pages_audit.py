"""The audit trail as operators see it: found row by row, verified in words, and odd searches that do nothing."""

from __future__ import annotations

import asyncio
import re
import threading
from html import unescape
from unittest.mock import patch

import httpx2
import pytest
from sqlalchemy import delete, update

from monero_escrow.core.life_cycle import State
from monero_escrow.monero.waiting import until
from monero_escrow.store import schema
from monero_escrow.store.audit_actions import ACTIONS
from monero_escrow.store.audit_check import Problem, Trouble, Verified
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.progress import Told
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.pages import audit as audit_page
from monero_escrow.web.pages import audit_run
from monero_escrow.web.pages.audit_verdict import _MEANS, MOST_SHOWN, verdict_of
from monero_escrow.web.pages.install import close_pages
from web.page_visits import read, send, signed_in
from web.world import World

_a = schema.audit


async def escrow_with_rows(world: World, *actions: str) -> str:
    """An escrow in whose trail these rows stand."""
    escrow_id = await world.add_escrow(State.FUNDED)

    def add(tx: Transaction) -> None:
        for action in actions:
            tx.audit.add(
                "shop:acme:k1", action, world.clock.now(), escrow_id=escrow_id, detail={"reason": "<b>why</b>"}
            )

    await world.store.write(add)
    return escrow_id


async def order_of(world: World, escrow_id: str) -> str:
    return (await world.store.read(lambda tx: tx.escrows.get(escrow_id))).order_id


async def tamper(world: World, escrow_id: str) -> None:
    """Somebody changes the first row of an escrow in the database."""
    await world.store.write(
        lambda tx: tx.connection.execute(
            update(_a).where(_a.c.escrow_id == escrow_id, _a.c.seq == 1).values(actor="nobody")
        )
    )


async def verified(world: World) -> str:
    """What the page says of the whole trail once that is verified."""
    async with signed_in(world) as browser:
        assert (await send(browser, "/admin/audit/verify", {})).status_code == 303
        return await said_in_the_end(browser)


async def said_in_the_end(browser: httpx2.AsyncClient) -> str:
    async def is_over() -> bool:
        return "Ended" in await read(browser, "/admin/audit/verification")

    await until(is_over, limit_seconds=10)
    return unescape(await read(browser, "/admin/audit/verification"))


def rows_on(page: str) -> list[int]:
    return [int(found) for found in re.findall(r'<tr id="row-(\d+)"', page)]


async def test_a_row_says_who_did_what_when_from_where_and_on_which_escrow(world: World) -> None:
    escrow_id = await escrow_with_rows(world)
    async with world.client("shop") as shop:
        assert (
            await shop.post(f"/api/escrows/{escrow_id}/dispute", json={"reason": "A <b>stone</b>."})
        ).status_code == 200
    order = await order_of(world, escrow_id)
    async with signed_in(world) as browser:
        page = await read(browser, "/admin/audit?action=dispute")
    (row,) = re.findall(r"<tr id=.*?</tr>", page, re.DOTALL)
    for told in (
        "shop:acme:", "127.0.0.1", "The shop asked the arbiter → disputed", "A &lt;b&gt;stone&lt;/b&gt;.",
        f'<a href="/admin/escrows/{escrow_id}">{order}</a>', "row 1",
    ):  # fmt: skip
        assert told in row, row
    assert "<b>stone" not in page


async def test_an_escrows_page_leads_to_its_rows_and_no_others(world: World) -> None:
    escrow_id, _ = await escrow_with_rows(world, "one", "two"), await escrow_with_rows(world, "three")
    async with signed_in(world) as browser:
        (path,) = re.findall(r'href="(/admin/audit\?[^"]+)"', await read(browser, f"/admin/escrows/{escrow_id}"))
        page = await read(browser, unescape(path))
        assert "One" in page
        assert "Two" in page
        assert "Three" not in page
        for name in (escrow_id[:20], await order_of(world, escrow_id)):
            assert rows_on(await read(browser, f"/admin/audit?escrow={name}")) == rows_on(page)


async def test_the_trail_is_paged_through_newest_first(world: World) -> None:
    await escrow_with_rows(world, *(f"step_{number}" for number in range(120)))
    seen: list[int] = []
    async with signed_in(world) as browser:
        path: str | None = "/admin/audit?action=step_"
        while path is not None:
            page = await read(browser, path)
            seen += rows_on(page)
            older = re.search(r'id="further" href="([^"]+)"', page)
            path = unescape(older[1]) if older else None
    assert len(seen) == 120
    assert seen == sorted(set(seen), reverse=True)


async def test_rows_are_found_by_actor_and_time(world: World) -> None:
    await escrow_with_rows(world, "one")
    async with signed_in(world) as browser:
        assert len(rows_on(await read(browser, "/admin/audit?actor=shop:acme"))) == 1
        assert rows_on(await read(browser, "/admin/audit?actor=shop:acme&until=2020-01-01T12:00")) == []
        page = await read(browser, "/admin/audit?actor=shop:acme&since=2020-01-01")
    assert len(rows_on(page)) == 1
    assert 'value="2020-01-01T00:00:00"' in page


@pytest.mark.parametrize("field", ["escrow", "actor", "action"])
@pytest.mark.parametrize(
    "text",
    ["%", "_", "\\", "'; DROP TABLE audit; --", '" OR 1=1', "\x00", "<script>alert(1)</script>", "{{ 7*7 }}", "\u202e"],
)
async def test_nothing_in_a_search_has_a_meaning_of_its_own(world: World, field: str, text: str) -> None:
    await escrow_with_rows(world, "one")
    async with signed_in(world) as browser:
        answer = await browser.get("/admin/audit", params={field: text, "verify": "1"})
        assert answer.status_code == 200
        assert rows_on(answer.text) == []
        assert "No row is like that." in answer.text
        assert "<script>alert" not in answer.text
        assert "49" not in re.findall(r'value="([^"]*)"', answer.text)
        assert rows_on(await read(browser, "/admin/audit"))


_TOLD = {
    "A search takes at most 200 characters.": {name: ["x" * 10_000] for name in ("escrow", "actor", "action")},
    "The cursor is none that this service gave.": {
        "cursor": ["made-up", "0", "-1", "1.5", "9" * 19, "A" * 5_000, "\u0661", "1'"]
    },
    "no date and no time": {name: ["soon", "2026-13-01", "x" * 9_999] for name in ("since", "until")},
}


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [(field, text, told) for told, fields in _TOLD.items() for field, texts in fields.items() for text in texts],
)
async def test_what_the_page_cannot_do_is_told(world: World, field: str, text: str, told: str) -> None:
    async with signed_in(world) as browser:
        answer = await browser.get("/admin/audit", params={field: text})
    assert answer.status_code == 422
    assert told in answer.text


@pytest.mark.parametrize("since", ["0001-01-01", "9999-12-31T23:59:59", "0001-01-01T00:00:00+23:59"])
async def test_times_at_the_ends_of_the_calendar_do_no_harm(world: World, since: str) -> None:
    async with signed_in(world) as browser:
        answer = await browser.get("/admin/audit", params={"since": since})
    assert answer.status_code in (200, 422)


async def test_a_made_up_cursor_that_could_be_one_shows_what_is_older(world: World) -> None:
    async with signed_in(world) as browser:
        assert "There are no older ones." in await read(browser, "/admin/audit?cursor=1")
        assert rows_on(await read(browser, "/admin/audit?cursor=" + "9" * 18))


async def test_a_search_for_too_many_escrows_asks_for_more_of_the_id(world: World) -> None:
    for _ in range(2):
        await escrow_with_rows(world, "one")
    with patch("monero_escrow.store.audit_browse.MOST_ESCROWS", 1):
        async with signed_in(world) as browser:
            assert "Write more of the id." in await read(browser, "/admin/audit?escrow=order-")


@pytest.mark.parametrize("path", ["", "/verification"])
async def test_the_trail_is_for_operators(world: World, path: str) -> None:
    escrow_id = await world.add_escrow(State.DISPUTED, disputed=True)
    async with signed_in(world, "arbiter") as browser:
        assert "This page is for operators." in await read(browser, f"/admin/audit{path}", status=403)
        assert (await send(browser, "/admin/audit/verify", {})).status_code == 403
        assert "/admin/audit" not in await read(browser, f"/admin/escrows/{escrow_id}")


async def test_the_whole_trail_is_verified_beside_the_work_and_the_answer_kept_with_its_time(world: World) -> None:
    await escrow_with_rows(world, "one", "two")
    async with signed_in(world) as browser:
        assert "Not verified since this service started." in await read(browser, "/admin/audit")
    said = await verified(world)
    assert "The trail is whole." in said
    assert re.search(r"\d+ rows in \d+ chains, 0 signed checkpoints\.", said)
    assert "asked for by operator:" in said
    async with signed_in(world) as another:
        assert "The trail is whole." in await read(another, "/admin/audit")


async def test_what_somebody_changed_is_named_by_escrow_and_row_with_what_to_do(world: World) -> None:
    changed, cut = await escrow_with_rows(world, "one", "two"), await escrow_with_rows(world, "one", "two")
    await tamper(world, changed)
    await world.store.write(lambda tx: tx.connection.execute(delete(_a).where(_a.c.escrow_id == cut, _a.c.seq == 2)))
    said = await verified(world)
    assert "The trail is not whole: 2 things to look at." in said
    assert (
        f'<a href="/admin/audit?escrow={changed}">escrow {changed}, row 1: is not as the service wrote it.</a>' in said
    )
    assert f"escrow {cut}, row 2: removed from the end." in said
    assert "Do not rely on what it says." in said
    assert "Keep a copy as it is now" in said


async def test_one_escrow_is_verified_at_once(world: World) -> None:
    escrow_id, other = await escrow_with_rows(world, "one", "two"), await escrow_with_rows(world, "one")
    await tamper(world, other)
    async with signed_in(world) as browser:
        assert "This escrow's trail is whole." in unescape(
            await read(browser, f"/admin/audit?escrow={escrow_id}&verify=1")
        )
        page = unescape(await read(browser, f"/admin/audit?escrow={other}&verify=1"))
        assert "This escrow's trail is not whole: 1 thing to look at." in page
        assert f"escrow {other}, row 1" in page
        assert "is whole" not in unescape(await read(browser, f"/admin/audit?escrow={escrow_id}"))
        nothing_named = await read(browser, "/admin/audit?verify=1")
    assert "trail is" not in nothing_named


async def test_one_escrow_is_verified_beside_the_reads_that_others_wait_for(world: World) -> None:
    escrow_id = await escrow_with_rows(world, "one")
    threads = []

    def where(tx: Transaction, *, escrow_id: str) -> Verified:
        threads.append(threading.current_thread().name)
        return verify(tx, escrow_id=escrow_id)

    with patch.object(audit_page, "verify", where):
        async with signed_in(world) as browser:
            assert "trail is whole" in await read(browser, f"/admin/audit?escrow={escrow_id}&verify=1")
    assert [name.rpartition("_")[0] for name in threads] == ["store-read-long"]


async def test_everybody_shares_one_verification_and_sees_how_far_it_is(world: World) -> None:
    began, goes_on, runs = threading.Event(), threading.Event(), []

    def slow(tx: Transaction, tell: Told) -> Verified:
        runs.append(tx)
        tell("verifying", 0.427)
        began.set()
        assert goes_on.wait(10)
        return verify(tx, tell)

    with patch.object(audit_run, "verify", slow):
        async with signed_in(world) as one, signed_in(world) as other:
            try:
                await asyncio.gather(*(send(browser, "/admin/audit/verify", {}) for browser in (one, other, one)))
                await asyncio.to_thread(began.wait, 10)
                page = await read(other, "/admin/audit")
                assert '<progress max="100" value="42"' in page
                assert "Verify the whole trail" not in page
                assert 'hx-trigger="every 1s"' in page
                assert "Overview" in await read(one, "/admin/escrows"), "the others' work goes on"
            finally:
                goes_on.set()
            said = await said_in_the_end(one)
    assert "The trail is whole." in said
    assert len(runs) == 1


async def test_a_verification_that_fails_says_why_and_may_be_begun_again(world: World) -> None:
    with patch.object(audit_run, "verify", side_effect=RuntimeError("a fault")):
        said = await verified(world)
    assert "It could not be verified. The service made a mistake; its log says which." in said
    assert "The trail is whole." in await verified(world)


async def test_the_service_does_not_wait_for_a_verification_to_end(world: World) -> None:
    began = threading.Event()

    def endless(_tx: Transaction, tell: Told) -> Verified:
        began.set()
        while True:
            tell("verifying", 0.1)

    with patch.object(audit_run, "verify", endless):
        async with signed_in(world) as browser:
            await send(browser, "/admin/audit/verify", {})
            await asyncio.to_thread(began.wait, 10)
            close_pages(world.app)
            assert "The service ended." in await said_in_the_end(browser)
            await send(browser, "/admin/audit/verify", {})
            assert "Every row is being verified" not in await read(browser, "/admin/audit")


async def test_verifying_is_asked_for_by_our_own_pages_alone(world: World) -> None:
    async with signed_in(world) as browser:
        assert (await send(browser, "/admin/audit/verify", {}, form_token="0" * 64)).status_code == 403
        assert "Not verified since this service started." in await read(browser, "/admin/audit")


def test_of_very_many_troubles_the_first_are_named_and_the_others_counted() -> None:
    troubles = [Trouble(Problem.CHANGED, "a" * 24, number, "is wrong.") for number in range(1, MOST_SHOWN + 6)]
    verdict = verdict_of(Verified(troubles=troubles, rows=2_000, chains=1))
    assert (len(verdict.findings), verdict.more) == (MOST_SHOWN, 5)
    assert verdict.headline == f"The trail is not whole: {MOST_SHOWN + 5} things to look at."
    assert verdict.checked == "2,000 rows in 1 chain, 0 signed checkpoints."


def test_every_kind_of_trouble_is_explained() -> None:
    assert set(_MEANS) == set(Problem)


async def test_an_action_is_chosen_from_those_there_are(world: World) -> None:
    await escrow_with_rows(world, "rescan", "rescan_all", "dispute")
    async with signed_in(world) as browser:
        page = await read(browser, "/admin/audit?did=rescan")
        (choice,) = re.findall(r'<select id="did".*?</select>', page, re.DOTALL)
        assert set(re.findall(r'<option value="(\w+)"', choice)) == set(ACTIONS)
        assert re.findall(r'<option value="(\w+)" selected', choice) == ["rescan"]
        assert len(rows_on(page)) == 1
        assert len(rows_on(await read(browser, "/admin/audit?action=rescan"))) == 2
        assert rows_on(await read(browser, "/admin/audit?did=%27nothing")) == []


async def test_without_a_search_the_page_shows_what_people_did(world: World) -> None:
    escrow_id = await escrow_with_rows(world, *(f"step_{number}" for number in range(60)))
    now = world.clock.now()
    await world.store.write(lambda tx: tx.audit.add("service", "payout_held", now, escrow_id=escrow_id))

    async def shows(browser: httpx2.AsyncClient, query: str) -> bool:
        return '<td title="payout_held">' in await read(browser, f"/admin/audit{query}")

    async with signed_in(world) as browser:
        page = await read(browser, "/admin/audit")
        (toggle,) = re.findall(r'<input id="people"[^>]*>', page)
        assert "checked" in toggle
        assert '<td title="payout_held">' not in page
        (further,) = re.findall(r'id="further" href="([^"]+)"', page)
        assert "people=1" in further
        for query in ("?people=0", f"?escrow={escrow_id}", "?did=payout_held", "?actor=service", "?escrow=&people=0"):
            assert await shows(browser, query), query
        for query in (f"?escrow={escrow_id}&people=1", "?people=0&people=1"):
            assert not await shows(browser, query), query
