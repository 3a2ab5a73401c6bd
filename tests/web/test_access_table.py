"""Every endpoint × scope × state, against the real application: the published table is what happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.life_cycle import CLOSED_STATES, Event, State
from monero_escrow.store.records import Scope
from monero_escrow.web.access import (
    ACTIONS,
    AFTER_DISPUTE,
    endpoint_table_markdown,
    path_of,
    scopes_of,
    status_for,
)
from web.world import Coin, World

ENDPOINTS: tuple[Event | None, ...] = (None, *ACTIONS)


def body_of(event: Event, world: World) -> dict[str, Any]:
    """A well-formed body for the action."""
    match event:
        case Event.DISPUTE | Event.DISMISS:
            return {"reason": "not received"}
        case Event.EXTEND:
            deadline = datetime.fromtimestamp(world.clock.now() + 10 * 86_400, UTC)
            return {"deadline": deadline.isoformat()}
        case Event.RULING:
            return {"buyer_share": 3000, "vendor_share": 7000}
        case _:
            return {}


async def call(world: World, event: Event | None, scope: Scope, escrow_id: str) -> httpx2.Response:
    """One request of a caller with this scope."""
    path = f"/api/escrows/{escrow_id}"
    async with world.client(scope.value) as client:
        if event is None:
            return await client.get(path)
        return await client.post(f"{path}/{path_of(event)}", json=body_of(event, world))


def coins_for(event: Event | None, state: State) -> tuple[Coin, ...]:
    """Coins with which the transition's `when` holds."""
    empty = state in (State.SETTING_UP, State.PAYING_OUT) or event in (None, Event.CANCEL)
    return () if empty else (Coin(),)


def histories(scope: Scope, state: State) -> Iterator[bool]:
    """Whether it was in dispute: both, for the states in which it makes a difference."""
    if state is not State.DISPUTED:
        yield False
    if state in AFTER_DISPUTE:
        yield True


@pytest.mark.parametrize("event", ENDPOINTS, ids=lambda event: path_of(event) if event else "read")
async def test_every_scope_in_every_state_gets_the_status_that_the_table_says(
    world: World, event: Event | None
) -> None:
    tried = 0
    for scope in Scope:
        for state in State:
            for disputed in histories(scope, state):
                escrow_id = await world.add_escrow(state, coins_for(event, state), disputed=disputed)
                expected = status_for(event, scope, state, disputed=disputed)
                answer = await call(world, event, scope, escrow_id)
                assert answer.status_code == expected, (event, scope, state, disputed, answer.text)
                if expected == 409:
                    assert answer.json()["code"] == "wrong_state"
                if expected != 200:
                    assert await world.state_of(escrow_id) is state
                tried += 1
    with_and_without = len(AFTER_DISPUTE) - 1  # all that a dispute can lead to, a dispute itself only with one
    assert tried == len(Scope) * (len(State) + with_and_without)


@pytest.mark.parametrize("event", ENDPOINTS, ids=lambda event: path_of(event) if event else "read")
async def test_another_shops_escrow_is_unknown_in_every_state(world: World, event: Event | None) -> None:
    for state in State:
        escrow_id = await world.add_escrow(state, coins_for(event, state), shop="other")
        if event in (Event.RULING, Event.DISMISS):
            continue
        theirs = await call(world, event, Scope.SHOP, escrow_id)
        unknown = await call(world, event, Scope.SHOP, "f" * 24)
        assert theirs.status_code == unknown.status_code == 404
        request = {"instance": None}  # of each its own
        assert theirs.json() | request == unknown.json() | request
        assert await world.state_of(escrow_id) is state


SITUATIONS: dict[str, Sequence[Coin]] = {
    "nothing": (),
    "pending": (Coin(status=OutputStatus.PENDING),),
    "counted": (Coin(),),
    "counted and pending": (Coin(), Coin(status=OutputStatus.PENDING)),
    "returnable": (Coin(status=OutputStatus.RETURNABLE),),
    "dust": (Coin(1, OutputStatus.DUST),),
    "time-locked": (Coin(status=OutputStatus.TIME_LOCKED),),
}


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_actions_are_exactly_what_the_caller_can_do_now(world: World, situation: str) -> None:
    for state in State:
        coins = () if state is State.SETTING_UP else SITUATIONS[situation]
        if state in (State.FUNDED, State.DISPUTED) and not any(coin.status is OutputStatus.COUNTED for coin in coins):
            continue  # the life cycle does not lead there without coins that count
        for event in ACTIONS:
            for scope in scopes_of(event):
                escrow_id = await world.add_escrow(state, coins, disputed=state in AFTER_DISPUTE)
                async with world.client(scope.value) as client:
                    shown = await client.get(f"/api/escrows/{escrow_id}")
                actions = shown.json()["actions"] if shown.status_code == 200 else []
                answer = await call(world, event, scope, escrow_id)
                assert (answer.status_code == 200) == (path_of(event) in actions), (state, event, answer.text)


async def test_while_a_payout_of_late_coins_is_under_way_nothing_more_is_offered(world: World) -> None:
    for state in CLOSED_STATES:
        escrow_id = await world.add_escrow(state, (Coin(),))
        first = await call(world, Event.REFUND, Scope.SHOP, escrow_id)
        assert first.status_code == 200
        assert first.json()["state"] == state.value
        assert not {"refund", "release"} & set(first.json()["actions"])
        assert first.json()["payouts"][0]["kind"] == "return"
        assert (await call(world, Event.RELEASE, Scope.SHOP, escrow_id)).status_code == 409


async def test_the_operator_is_offered_no_action_at_all(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, (Coin(),))
    assert (await call(world, None, Scope.OPERATOR, escrow_id)).json()["actions"] == []


def test_the_published_table_has_a_row_for_every_endpoint_and_a_cell_for_every_state() -> None:
    rows = [line for line in endpoint_table_markdown().splitlines() if line.startswith("| `")]
    assert len(rows) == len(Scope) + sum(len(scopes_of(event)) for event in ACTIONS)
    assert {row.count("|") for row in rows} == {len(State) + 3}
    dispute = next(row for row in rows if "/dispute`" in row)
    assert [cell.strip() for cell in dispute.split("|")[3:-1]].count("200") == 1


def test_the_actions_of_the_life_cycle_and_the_endpoints_are_the_same(world: World) -> None:
    paths = world.app.openapi()["paths"]
    prefix = "/api/escrows/{escrow_id}/"
    below = {path.removeprefix(prefix) for path in paths if path.startswith(prefix)}
    decides_nothing = {"evidence"}
    assert {path for path in below if "/" not in path} - decides_nothing == {path_of(event) for event in ACTIONS}
