"""Reading: one escrow with everything, pages that end, filters, and the outbox."""

from __future__ import annotations

import base64
from itertools import chain

import httpx2
import pytest

from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.life_cycle import State
from web.world import XMR, Coin, World, address, problem_of


async def walk(client: httpx2.AsyncClient, query: str) -> list[list[str]]:
    """The escrow ids of all pages."""
    pages, cursor = [], ""
    while True:
        answer = (await client.get(f"/api/escrows?{query}{cursor}")).json()
        pages.append([escrow["escrow_id"] for escrow in answer["escrows"]])
        if answer["next_cursor"] is None:
            return pages
        cursor = f"&cursor={answer['next_cursor']}"


async def test_pages_show_every_escrow_once_the_newest_first(world: World) -> None:
    now = world.clock.now()
    times = [now, now + 1, now + 1, now + 1, now + 2.5]  # three of one moment, across the end of a page
    made = [await world.add_escrow(State.FUNDED, (Coin(),), created_at=at) for at in times]
    async with world.client() as client:
        pages = await walk(client, "limit=2")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(chain.from_iterable(pages)) == sorted(made)
    assert (pages[0][0], pages[-1][-1]) == (made[-1], made[0])


async def test_a_page_that_is_just_full_has_no_next_one(world: World) -> None:
    for _ in range(2):
        await world.add_escrow(State.FUNDED, (Coin(),))
    async with world.client() as client:
        assert [len(page) for page in await walk(client, "limit=2")] == [2]


async def test_a_filter_of_states_shows_these_and_no_others(world: World) -> None:
    made = {state: await world.add_escrow(state) for state in State}
    async with world.client() as client:
        pages = await walk(client, "state=funded,%20short")
        assert set(chain.from_iterable(pages)) == {made[State.FUNDED], made[State.SHORT]}
    async with world.client("arbiter") as client:
        assert await walk(client, "state=funded") == [[]]


@pytest.mark.parametrize("states", ["open", "", "funded,", "FUNDED", "funded;short", "%00", "funded," * 3000])
async def test_a_filter_of_states_that_there_are_not_is_refused(world: World, states: str) -> None:
    async with world.client() as client:
        answer = await client.get(f"/api/escrows?state={states}")
    problem = problem_of(answer, 422, "unknown_state")
    assert "setting_up" in problem["what_to_do"]


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "",
        "!!!!",
        "%00",
        "%ff",
        "é",
        "A" * 5000,
        encoded("nan " + "0" * 24),
        encoded("1.5 ' or 1=1 --"),
        encoded("1.5 " + "G" * 24),
        encoded("-1.5 " + "0" * 24),
        encoded("[1.5]"),
    ],
)
async def test_a_made_up_cursor_is_refused(world: World, cursor: str) -> None:
    async with world.client() as client:
        problem_of(await client.get(f"/api/escrows?cursor={cursor}"), 422, "invalid_cursor")


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1e2", "9" * 5000])
async def test_a_limit_out_of_bounds_is_refused(world: World, limit: str) -> None:
    async with world.client() as client:
        problem = problem_of(await client.get(f"/api/escrows?limit={limit}"), 422, "invalid_input")
    assert [error["field"] for error in problem["errors"]] == ["limit"]


async def test_an_escrow_shows_its_deposits_dust_and_what_is_missing(world: World) -> None:
    coins = (Coin(XMR), Coin(XMR // 10, OutputStatus.PENDING), Coin(7, OutputStatus.DUST))
    escrow_id = await world.add_escrow(State.AWAITING_DEPOSIT, coins)
    async with world.client() as client:
        escrow = (await client.get(f"/api/escrows/{escrow_id}")).json()
    assert (escrow["counted_piconero"], escrow["pending_piconero"]) == (str(XMR), str(XMR // 10))
    assert (escrow["missing_piconero"], escrow["coverage"]) == (str(XMR * 15 // 100), "short")
    assert escrow["dust_piconero"] == "7"
    assert sorted(deposit["amount"] for deposit in escrow["deposits"]) == ["0.000000000007", "0.1", "1"]
    assert {deposit["payout"] for deposit in escrow["deposits"]} == {None}


async def test_a_decided_payout_shows_who_gets_what_and_its_deposit_is_not_missing(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, (Coin(2 * XMR),))
    async with world.client() as client:
        escrow = (await client.post(f"/api/escrows/{escrow_id}/release")).json()
    [payout] = escrow["payouts"]
    assert (payout["number"], payout["kind"], payout["state"]) == (1, "release", "decided")
    assert payout["total_piconero"] == str(2 * XMR)
    paid = {payment["address"]: payment["amount"] for payment in payout["payments"]}
    assert paid == {address("vendor"): "1.25", address("buyer"): "0.75"}
    assert [deposit["payout"] for deposit in escrow["deposits"]] == [1]
    assert (escrow["counted_piconero"], escrow["missing_piconero"], escrow["coverage"]) == (str(2 * XMR), "0", "over")
    assert escrow["history"][-1]["action"] == "release"
    assert escrow["history"][-1]["actor"].startswith("shop:acme:")


async def test_the_outbox_is_read_in_order_and_to_its_end(world: World) -> None:
    ids = [await world.add_escrow(State.FUNDED, (Coin(),)) for _ in range(3)]
    await world.add_escrow(State.FUNDED, (Coin(),), shop="other")
    async with world.client() as client:
        for escrow_id in ids:
            await client.post(f"/api/escrows/{escrow_id}/dispute", json={"reason": "late"})
        first = (await client.get("/api/events?limit=2")).json()
        rest = (await client.get(f"/api/events?after={first['next_after']}")).json()
        end = (await client.get(f"/api/events?after={rest['next_after']}")).json()
    assert [event["escrow_id"] for event in first["events"] + rest["events"]] == ids
    assert {event["type"] for event in first["events"]} == {"escrow.dispute"}
    assert end == {"events": [], "next_after": rest["next_after"]}


async def test_a_shop_hears_of_its_own_escrows_and_the_operator_of_all(world: World) -> None:
    for shop, name in (("acme", "shop"), ("other", "other shop")):
        escrow_id = await world.add_escrow(State.FUNDED, (Coin(),), shop=shop)
        async with world.client(name) as client:
            await client.post(f"/api/escrows/{escrow_id}/dispute", json={"reason": "late"})
    heard = {}
    for who in ("shop", "other shop", "operator"):
        async with world.client(who) as client:
            heard[who] = len((await client.get("/api/events")).json()["events"])
    assert heard == {"shop": 1, "other shop": 1, "operator": 2}


@pytest.mark.parametrize(
    "query", ["after=-1", f"after={2**63}", "after=x", "limit=0", "limit=1001", f"after={'9' * 4400}"]
)
async def test_a_place_in_the_outbox_that_cannot_be_is_refused(world: World, query: str) -> None:
    async with world.client() as client:
        problem_of(await client.get(f"/api/events?{query}"), 422, "invalid_input")


async def test_the_last_place_that_can_be_is_empty(world: World) -> None:
    async with world.client() as client:
        assert (await client.get(f"/api/events?after={2**63 - 1}")).json()["events"] == []
