"""The life cycle under random events: an escrow is moved as the use cases move it, and only the table moves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from monero_escrow.core.life_cycle import CLOSED_STATES, TRANSITIONS, Caller, Event, State, WrongStateError
from monero_escrow.core.payout import Terms
from monero_escrow.escrows.context import move
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.transaction import Transaction
from monero_escrow.telemetry.metrics import Metrics

ALLOWED = {(row.state, row.event): row.next_state for row in TRANSITIONS}


class Recorder:
    """Stands in for the tables: what a transaction would have written, in order."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Any]] = []
        self.escrows = self.audit = self.outbox = self

    def change(self, _escrow_id: str, *, expected: State, now: float, **values: Any) -> None:
        self.written.append(("escrow", (expected, values["state"])))

    def after_commit(self, tell: Callable[[], None]) -> None:
        """What would be logged is nothing that is written."""

    def measure(self, observe: Callable[[Metrics], None]) -> None:
        """Nor is what would be counted."""

    def add(self, *row: Any, **values: Any) -> None:
        """An audit row has `from_state` beside its names; an event has its states in its data."""
        if "to_state" in values:
            self.written.append(("audit", (values["from_state"], values["to_state"])))
        else:
            self.written.append(("event", (row[3]["from_state"], row[3]["state"])))


class AnEscrow(RuleBasedStateMachine):
    """One escrow and whoever may cause events, wanted and unwanted ones alike."""

    @initialize()
    def begin(self) -> None:
        self.visited = [State.SETTING_UP]
        self.left_settled_by: set[Event] = set()
        self.escrow = EscrowRecord(
            id="1", shop_id="shop", order_id="order", request_fingerprint="", state=State.SETTING_UP,
            terms=Terms(10**12, "buyer", "vendor"), deposit_window_seconds=60, deposit_deadline=None,
            deposit_address=None, trio_id=None, due_at=None, failures=0, trouble=None, created_at=0, updated_at=0,
        )  # fmt: skip

    @rule(event=st.sampled_from(Event))
    def something_happens(self, event: Event) -> None:
        tables, before = Recorder(), self.escrow.state
        if (before, event) in ALLOWED:
            after = move(cast("Transaction", tables), self.escrow, event, "someone", 1.0)
            assert after is ALLOWED[before, event]
            assert tables.written == [(kind, (before, after)) for kind in ("escrow", "audit", "event")]
            self.escrow = replace(self.escrow, state=after)
            self.visited.append(after)
            if before is State.SETTLED and after is not before:
                self.left_settled_by.add(event)
        else:
            with pytest.raises(WrongStateError) as caught:
                move(cast("Transaction", tables), self.escrow, event, "someone", 1.0)
            assert tables.written == []
            for row in TRANSITIONS:
                if row.state is before and row.caller in (Caller.SHOP, Caller.ARBITER):
                    assert row.event.value.replace("_", "-") in caught.value.what_to_do

    @rule(data=st.data())
    def something_possible_happens(self, data: st.DataObject) -> None:
        """So that walks go deep, and do not only knock on closed doors."""
        possible = [event for state, event in ALLOWED if state is self.escrow.state]
        self.something_happens(data.draw(st.sampled_from(possible)))

    @invariant()
    def every_step_was_one_of_the_table(self) -> None:
        steps = set(zip(self.visited, self.visited[1:], strict=False))
        assert steps <= {(row.state, row.next_state) for row in TRANSITIONS}

    @invariant()
    def coins_leave_only_after_they_came(self) -> None:
        if State.PAYING_OUT in self.visited:
            before = self.visited[: self.visited.index(State.PAYING_OUT)]
            assert State.AWAITING_DEPOSIT in before

    @invariant()
    def what_was_settled_stays_so_unless_the_chain_takes_it_back(self) -> None:
        assert self.left_settled_by <= {Event.PAYOUT_FELL_OUT}


TestAnEscrow = AnEscrow.TestCase
TestAnEscrow.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def reachable_from(start: State) -> set[State]:
    found, left = {start}, [start]
    while left:
        here = left.pop()
        further = {row.next_state for row in TRANSITIONS if row.state is here} - found
        found |= further
        left += further
    return found


def test_every_state_can_be_reached_from_the_first() -> None:
    assert reachable_from(State.SETTING_UP) == set(State)


@pytest.mark.parametrize("state", sorted(set(State) - CLOSED_STATES))
def test_from_every_open_state_a_closed_one_can_be_reached(state: State) -> None:
    assert reachable_from(state) & CLOSED_STATES


def test_there_is_exactly_one_row_for_a_state_and_an_event() -> None:
    rows = Counter((row.state, row.event) for row in TRANSITIONS)

    assert {pair for pair, count in rows.items() if count > 1} == set()


def test_every_event_has_its_place_in_the_table() -> None:
    assert {row.event for row in TRANSITIONS} == set(Event)
