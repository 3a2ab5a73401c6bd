"""When an escrow is looked at next: due, woken, looked at, and never forgotten in between."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from monero_escrow.core.life_cycle import State
from monero_escrow.store.records import PayoutState
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import on_both_engines
from unit.rows import add_funded, address, decide, escrow, output, plan

pytestmark = on_both_engines

NOBODY: frozenset[str] = frozenset()


async def add(store: SqlStore, name: str, state: State = State.AWAITING_DEPOSIT, due_at: float | None = 100.0) -> None:
    """An escrow with an address, in a state."""

    def work(tx: Transaction) -> None:
        tx.escrows.add(escrow(name, due_at=due_at))
        tx.escrows.change(name, expected=State.SETTING_UP, now=100.0, state=state, deposit_address=address(name))

    await store.write(work)


async def due_at(store: SqlStore, name: str) -> float | None:
    return (await store.read(lambda tx: tx.escrows.get(name))).due_at


async def test_a_look_that_is_over_sets_the_next_one_and_what_came_of_it(store: SqlStore) -> None:
    await add(store, "one")
    seen = await store.read(lambda tx: tx.escrows.get("one"))

    await store.write(lambda tx: tx.escrows.looked_at(seen, 700.0, failures=2, trouble="no slot"))

    after = await store.read(lambda tx: tx.escrows.get("one"))
    assert (after.due_at, after.failures, after.trouble) == (700.0, 2, "no slot")
    await store.write(lambda tx: tx.escrows.looked_at(after, None))
    after = await store.read(lambda tx: tx.escrows.get("one"))
    assert (after.due_at, after.failures, after.trouble) == (None, 0, None)


async def test_an_escrow_that_was_woken_during_a_look_is_looked_at_once_more(store: SqlStore) -> None:
    await add(store, "one")
    seen = await store.read(lambda tx: tx.escrows.get("one"))
    await store.write(lambda tx: tx.escrows.wake_watched(105.0))

    await store.write(lambda tx: tx.escrows.looked_at(seen, 700.0))

    assert await due_at(store, "one") == 100.0  # as early as it was: those who wait longest come first


async def test_a_wake_at_the_very_time_an_escrow_was_due_is_not_lost(store: SqlStore) -> None:
    await add(store, "one")
    seen = await store.read(lambda tx: tx.escrows.get("one"))
    await store.write(lambda tx: tx.escrows.wake_watched(100.0))

    await store.write(lambda tx: tx.escrows.looked_at(seen, 700.0))

    assert await due_at(store, "one") == 100.0


async def test_an_escrow_that_moved_during_a_look_is_looked_at_once_more(store: SqlStore) -> None:
    await add(store, "one")
    seen = await store.read(lambda tx: tx.escrows.get("one"))
    await store.write(
        lambda tx: tx.escrows.change("one", expected=State.AWAITING_DEPOSIT, now=104.0, state=State.DISPUTED)
    )

    await store.write(lambda tx: tx.escrows.looked_at(seen, 700.0))

    assert await due_at(store, "one") == 100.0


_SIGNED, _BROADCAST = PayoutState.SIGNED, PayoutState.BROADCAST
_LIVES = {
    "paying": (_SIGNED, _BROADCAST),
    "paid": (_SIGNED, _BROADCAST, PayoutState.SETTLED),
    "held": (_SIGNED, PayoutState.HELD),
}


def live(tx: Transaction, name: str, states: Sequence[PayoutState]) -> None:
    """A payout of the escrow of that name, taken through these states."""
    decide(tx, name, name, plan(name))
    for state in states:
        tx.payouts.move(tx.payouts.get(name), state)


async def look_at_height(store: SqlStore, name: str, height: int) -> None:
    await store.write(lambda tx: tx.escrows.look_at_height(name, height))


async def test_a_block_wakes_those_who_wait_for_its_height_and_those_with_a_payout_under_way(store: SqlStore) -> None:
    await add(store, "waiting", due_at=900.0)
    await add(store, "waiting longer", due_at=900.0)
    await add(store, "no longer watched", due_at=None)
    for name, height in (("waiting", 500), ("waiting longer", 501), ("no longer watched", 500)):
        await look_at_height(store, name, height)
    await add(store, "disputed", State.DISPUTED, due_at=900.0)
    await store.write(lambda tx: tx.escrows.add(escrow("no address", due_at=900.0)))
    for name, states in _LIVES.items():
        await add(store, name, State.SETTLED, due_at=900.0)
        await store.write(lambda tx, name=name, states=states: live(tx, name, states))  # type: ignore[misc]

    await store.write(lambda tx: tx.escrows.wake_at_height(500, 105.0))

    assert await due_at(store, "waiting") == 105.0
    assert await due_at(store, "paying") == 105.0
    for name in ("waiting longer", "disputed", "no address", "paid", "held"):
        assert await due_at(store, name) == 900.0
    assert await due_at(store, "no longer watched") is None


async def test_a_hint_wakes_also_those_whom_nobody_meant_to_look_at_again(store: SqlStore) -> None:
    await add(store, "at rest", State.SETTLED, due_at=None)
    await add(store, "other", State.SETTLED, due_at=None)
    await store.write(lambda tx: tx.escrows.wake_hinted({"at rest"}, 105.0))
    assert (await due_at(store, "at rest"), await due_at(store, "other")) == (105.0, None)


async def test_a_height_wakes_once_and_a_look_that_was_overtaken_forgets_no_height(store: SqlStore) -> None:
    await add(store, "one", due_at=900.0)
    await look_at_height(store, "one", 500)
    await store.write(lambda tx: tx.escrows.wake_at_height(600, 105.0))
    seen = await store.read(lambda tx: tx.escrows.get("one"))
    await store.write(lambda tx: tx.escrows.looked_at(seen, 900.0))
    await store.write(lambda tx: tx.escrows.wake_at_height(601, 105.0))
    assert await due_at(store, "one") == 900.0


async def test_a_reorganisation_wakes_whatever_stands_on_blocks_that_are_not_final(store: SqlStore) -> None:
    for name, final_at in (("moving", None), ("final", 104.0)):
        await add(store, name, State.FUNDED, due_at=900.0)
        coin = output(f"coin of {name}", name, final_at=final_at)
        await store.write(lambda tx, coin=coin: tx.outputs.add(coin))  # type: ignore[misc]
    for name in ("paid", "paid for good"):
        await add(store, name, State.SETTLED, due_at=900.0)
        await store.write(lambda tx, name=name: live(tx, name, _LIVES["paid"]))  # type: ignore[misc]
    await store.write(lambda tx: tx.payouts.final("paid for good", 104.0))

    await store.write(lambda tx: tx.escrows.wake_not_final(105.0))

    dues = [await due_at(store, name) for name in ("moving", "final", "paid", "paid for good")]
    assert dues == [105.0, 900.0, 105.0, 900.0]


async def test_what_a_clock_that_was_ahead_put_off_for_days_is_due_at_once(store: SqlStore) -> None:
    await add(store, "one", due_at=500.0)
    assert await store.read(lambda tx: tx.escrows.due(100.0, 9, frozenset(), look_horizon_seconds=600.0)) == []
    assert await store.read(lambda tx: tx.escrows.due(100.0, 9, frozenset(), look_horizon_seconds=300.0)) == ["one"]


async def test_work_is_put_off_by_a_wrong_clock_for_less_long_than_a_mere_look(store: SqlStore) -> None:
    await add(store, "look", due_at=500.0)
    await add(store, "payout", State.PAYING_OUT, due_at=500.0)
    await store.write(lambda tx: tx.outputs.add(output("coin", "payout")))
    await store.write(lambda tx: decide(tx, "1", "payout", plan("coin")))
    await add(store, "held payout", State.PAYING_OUT, due_at=500.0)  # it waits for a person
    await store.write(lambda tx: tx.escrows.add(escrow("set-up", due_at=500.0)))
    await add(store, "failed", due_at=500.0)
    seen = await store.read(lambda tx: tx.escrows.get("failed"))
    await store.write(lambda tx: tx.escrows.looked_at(seen, 500.0, failures=1, trouble="no slot"))
    due = await store.read(
        lambda tx: tx.escrows.due(100.0, 9, frozenset(), horizon_seconds=300.0, look_horizon_seconds=900.0)
    )
    assert sorted(due) == ["failed", "payout", "set-up"]


async def test_what_is_due_comes_set_ups_and_payouts_first_and_then_the_longest_waiting(store: SqlStore) -> None:
    await add(store, "look", due_at=90.0)
    await add(store, "earlier look", due_at=80.0)
    await add(store, "payout", State.PAYING_OUT, due_at=99.0)
    await add(store, "not yet", due_at=101.0)
    await add(store, "never", due_at=None)
    await store.write(lambda tx: tx.escrows.add(escrow("set-up", due_at=98.0)))

    assert await store.read(lambda tx: tx.escrows.due(100.0, 10, NOBODY)) == [
        "set-up", "payout", "earlier look", "look",
    ]  # fmt: skip
    assert await store.read(lambda tx: tx.escrows.due(100.0, 2, frozenset({"set-up"}))) == ["payout", "earlier look"]
    assert await store.read(lambda tx: tx.escrows.next_due_at(NOBODY)) == 80.0
    assert await store.read(lambda tx: tx.escrows.next_due_at(frozenset({"earlier look"}))) == 90.0


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_pages_show_every_escrow_once_newest_first_also_those_of_one_moment(store: SqlStore, limit: int) -> None:
    for number in range(7):
        await store.write(
            lambda tx, number=number: tx.escrows.add(escrow(f"escrow {number}", created_at=100.0 + number // 3))  # type: ignore[misc]
        )
    seen: list[str] = []
    before: tuple[float, str] | None = None
    while page := await store.read(
        lambda tx: tx.escrows.page(shop_id="shop", states=None, before=before, limit=limit)  # noqa: B023
    ):
        assert len(page) <= limit
        seen += [found.id for found in page]
        before = (page[-1].created_at, page[-1].id)

    assert seen == [f"escrow {number}" for number in (6, 5, 4, 3, 2, 1, 0)]


async def test_a_page_holds_only_the_shops_own_escrows_in_the_states_asked_for(store: SqlStore) -> None:
    await add(store, "waiting")
    await add(store, "funded", State.FUNDED)
    await store.write(lambda tx: tx.escrows.add(escrow("another", shop_id="another shop")))

    async def page(shop_id: str | None, states: frozenset[State] | None) -> set[str]:
        found = await store.read(lambda tx: tx.escrows.page(shop_id=shop_id, states=states, before=None, limit=10))
        return {one.id for one in found}

    assert await page("shop", None) == {"waiting", "funded"}
    assert await page("shop", frozenset({State.FUNDED})) == {"funded"}
    assert await page(None, None) == {"waiting", "funded", "another"}
    assert await page("shop", frozenset()) == set()


async def test_events_come_in_order_after_the_last_one_seen_and_only_the_shops_own(store: SqlStore) -> None:
    def work(tx: Transaction) -> None:
        add_funded(tx)
        tx.escrows.add(escrow("another", shop_id="another shop"))
        for number in range(3):
            tx.outbox.add("shop", "escrow", f"event {number}", {"number": number}, 100.0)
            tx.outbox.add("another shop", "another", "foreign", {}, 100.0)

    await store.write(work)

    events = await store.read(lambda tx: tx.outbox.after("shop", 0, 10))
    assert [event.type for event in events] == ["event 0", "event 1", "event 2"]
    assert [event.id for event in events] == sorted({event.id for event in events})
    rest = await store.read(lambda tx: tx.outbox.after("shop", events[0].id, 1))
    assert [event.data for event in rest] == [{"number": 1}]
    assert len(await store.read(lambda tx: tx.outbox.after(None, 0, 10))) == 6
