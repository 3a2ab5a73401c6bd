"""The overview: what it says when all is well and when it is not, and how it is kept up to date."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from dataclasses import replace
from html import unescape

import pytest

from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import TRIO, Role
from monero_escrow.core.words import moment
from monero_escrow.escrows import decide
from monero_escrow.escrows.held import hold
from monero_escrow.store.store import DatabaseBusyError
from monero_escrow.web import live as live_module
from monero_escrow.web.live import Fragments, Sample
from monero_escrow.web.pages.install import live_of
from web.page_visits import read, signed_in
from web.world import XMR, Coin, World, mark_sick


async def overview(world: World) -> str:
    async with signed_in(world) as browser:
        return unescape(await read(browser, "/admin"))


async def test_all_well(world: World) -> None:
    page = await overview(world)
    assert "Yes. Deposits are watched, and no payout is held." in page
    assert "Nobody. No dispute is open, and no deposit stayed short." in page
    assert "None: no escrow is open." in page
    assert "Yes. Every role has a process to work with." in page
    assert "No set-up is under way. Nobody waits for a process." in page
    assert "No set-up has ended in the last hours." in page


async def test_a_page_is_drawn_once_and_none_for_whoever_asks_the_api(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, drawn = live_of(world.app), []

    def draw(sample: Sample) -> Fragments:
        drawn.append(sample)
        return {"verdict": "<p>Yes.</p>"}

    monkeypatch.setattr(live, "_draw", draw)
    monkeypatch.setattr(live_module, "SAMPLE_SECONDS", 3_600.0)
    async with world.client("operator") as client:
        assert (await client.get("/admin/overview")).status_code == 200
    assert drawn == []
    assert await live.fragments() is await live.fragments()
    assert drawn == [await live.sample()]


async def test_a_held_payout_is_the_first_thing_to_see(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, [Coin()])
    decision = await decide.refund(world.ctx, escrow_id, "shop:acme:x")
    await world.store.write(decision)
    (payout,) = await world.store.read(lambda tx: tx.payouts.of(escrow_id))
    await world.store.write(lambda tx: hold(tx, payout.id, "The network refused <it>.", world.clock.now()))
    page = await overview(world)
    assert "A payout is held, and pays nobody until you decide." in page
    assert "Payout 1 waits for you: The network refused <it>." in page
    assert f'href="/admin/escrows/{escrow_id}"' in page


async def test_what_a_payout_is_held_for_is_shown_as_text(world: World) -> None:
    mark_sick(world, Role.BUYER, "It says <script>alert(1)</script>.")
    async with signed_in(world) as browser:
        page = await read(browser, "/admin")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


async def test_a_silent_daemon_stops_money_and_a_sick_role_stops_work(world: World) -> None:
    world.daemon.silent = True
    mark_sick(world, Role.VENDOR, "It does not answer.")
    page = await overview(world)
    assert "Yes, but it stands still." in page
    assert "No: nothing can be set up until something is done." in page
    assert "vendor@127.0.0.1:18083 is not used: It does not answer." in page


async def test_the_board_says_what_a_process_is_leased_to(world: World) -> None:
    async with world.pool.lease(TRIO, "set-up of 5f0c", wait_seconds=1):
        page = await overview(world)
    assert page.count("set-up of 5f0c, 0 s") == 3
    assert "1 leased, 0 free" in page


async def test_every_state_leads_to_its_escrows(world: World) -> None:
    await world.add_escrow(State.FUNDED, [Coin(status=OutputStatus.COUNTED)])
    page = await overview(world)
    assert '<a href="/admin/escrows?state=funded"><strong>1</strong> Funded</a>' in page
    assert '<a href="/admin/escrows?state=short"><strong>0</strong> Short</a>' in page


async def test_who_is_waited_for_is_said_those_who_waited_longest_first(world: World) -> None:
    now = world.clock.now()
    older = await world.add_escrow(State.DISPUTED, [Coin()], created_at=now - 500)
    newer = await world.add_escrow(State.SHORT, [Coin()], created_at=now - 100)
    page = await overview(world)
    assert "An arbiter about 1 dispute; a shop about 1 short deposit." in page
    reasons = re.findall(r"<li>(Order .*?)</li>", page)
    assert [older in reasons[0], newer in reasons[1]] == [True, True]
    assert f"in dispute since {moment(now - 500)} UTC." in reasons[0]
    assert f"short since {moment(now - 100)} UTC." in reasons[1]
    assert "Yes. Deposits are watched" in page, "nobody's coins are in danger"


async def test_what_lies_in_escrow_is_told_beside_what_may(world: World) -> None:
    live = live_of(world.app)
    settings = world.settings.model_copy(update={"most_xmr_at_once": "50"})
    live._ctx = replace(world.ctx, settings=settings)
    await world.add_escrow(State.FUNDED, [Coin(amount_piconero=XMR // 2)])
    await world.add_escrow(State.SETTLED, [Coin(amount_piconero=XMR)])
    page = await overview(world)
    assert "0.5 XMR in escrow. The open escrows were ordered for 1.25 XMR." in page
    assert "New ones are taken up to 50 XMR together." in page


async def test_set_ups_of_the_last_hours_are_drawn_also_those_from_before_the_start(world: World) -> None:
    now = world.clock.now()
    for ago in (30_000, 9_000, 100):
        await world.add_escrow(State.FUNDED, created_at=now - ago)
    page = await overview(world)
    assert "2 set-ups, half of them within" in page
    assert '<path class="line first" d="M' in page


async def test_many_viewers_share_one_sample(world: World) -> None:
    live = live_of(world.app)
    async with signed_in(world) as browser:
        await asyncio.gather(*(browser.get("/admin") for _ in range(10)))
    assert live.samples_taken == 1


async def welcome() -> bool:
    return True


async def test_a_viewer_is_sent_everything_once_and_then_what_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "SAMPLE_SECONDS", 0.01)
    async with aclosing(live_of(world.app).follow(welcome)) as changes:  # type: ignore[type-var]
        first = await anext(changes)
        assert set(first) == {"verdict", "figures", "board", "charts", "as_of"}
        async with world.pool.lease(TRIO, "set-up of 5f0c", wait_seconds=1):
            async with asyncio.timeout(10):
                changed: Fragments = {}
                while "board" not in changed:
                    changed = await anext(changes)
        assert "set-up of 5f0c" in changed["board"]
        assert "verdict" not in changed or changed["verdict"] != first["verdict"]


async def test_nobody_is_told_anything_once_their_session_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "SAMPLE_SECONDS", 0.01)
    answers = iter([True, True, False])

    async def is_welcome() -> bool:
        return next(answers)

    assert len([change async for change in live_of(world.app).follow(is_welcome)]) == 2


async def test_a_service_that_ends_lets_go_of_its_viewers(world: World) -> None:
    live = live_of(world.app)
    async with aclosing(live.follow(welcome)) as changes:  # type: ignore[type-var]
        await anext(changes)
        live.close()
        with pytest.raises(StopAsyncIteration):
            await anext(changes)


async def test_the_stream_is_for_operators(world: World) -> None:
    async with signed_in(world, "arbiter") as browser:
        assert (await browser.get("/admin/live")).status_code == 403
        assert (await browser.get("/admin")).headers["location"] == "/admin/disputes"


async def test_a_database_that_is_silent_for_a_while_ends_no_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "SAMPLE_SECONDS", 0.01)
    answers: list[bool | None] = [None, None, True]

    async def is_welcome() -> bool:
        answer = answers.pop(0)
        if answer is None:
            raise DatabaseBusyError("The database did not take the transaction.")
        return answer

    async with aclosing(live_of(world.app).follow(is_welcome)) as changes:  # type: ignore[type-var]
        assert "board" in await anext(changes)
