"""The life cycle's table against what the money rules and the issue promise, written out here a second time."""

from __future__ import annotations

import pytest

from monero_escrow.core.life_cycle import (
    CLOSED_STATES,
    TRANSITIONS,
    Caller,
    Event,
    State,
    WrongStateError,
    callers_of,
    transition,
    waits_for,
)

EXPECTED = {
    State.SETTING_UP: {
        Event.ADDRESS_READY: State.AWAITING_DEPOSIT,
        Event.CANCEL: State.CANCELLED,
    },
    State.AWAITING_DEPOSIT: {
        Event.DEPOSIT_COMPLETE: State.FUNDED,
        Event.DEADLINE_PASSED_SHORT: State.SHORT,
        Event.DEADLINE_PASSED_EMPTY: State.EXPIRED,
        Event.ACCEPT_SHORT: State.FUNDED,
        Event.EXTEND: State.AWAITING_DEPOSIT,
        Event.REFUND: State.PAYING_OUT,
        Event.CANCEL: State.CANCELLED,
    },
    State.SHORT: {
        Event.ACCEPT_SHORT: State.FUNDED,
        Event.EXTEND: State.AWAITING_DEPOSIT,
        Event.REFUND: State.PAYING_OUT,
    },
    State.FUNDED: {
        Event.RELEASE: State.PAYING_OUT,
        Event.REFUND: State.PAYING_OUT,
        Event.DISPUTE: State.DISPUTED,
        Event.DEPOSIT_FELL_OUT: State.AWAITING_DEPOSIT,
    },
    State.DISPUTED: {Event.RULING: State.PAYING_OUT, Event.DISMISS: State.FUNDED},
    State.PAYING_OUT: {
        Event.PAYOUT_SETTLED: State.SETTLED,
        Event.PAYOUT_CALLED_OFF: State.AWAITING_DEPOSIT,
        Event.RULING_CALLED_OFF: State.DISPUTED,
        Event.PAYOUT_WRITTEN_OFF: State.SETTLED,
    },
    State.SETTLED: {
        Event.PAYOUT_FELL_OUT: State.PAYING_OUT,
        Event.LATE_COINS_REFUNDED: State.SETTLED,
        Event.REFUND: State.SETTLED,
        Event.RELEASE: State.SETTLED,
    },
    State.EXPIRED: {
        Event.EXTEND: State.AWAITING_DEPOSIT,
        Event.LATE_COINS_REFUNDED: State.EXPIRED,
        Event.REFUND: State.EXPIRED,
        Event.RELEASE: State.EXPIRED,
    },
    State.CANCELLED: {
        Event.LATE_COINS_REFUNDED: State.CANCELLED,
        Event.REFUND: State.CANCELLED,
        Event.RELEASE: State.CANCELLED,
    },
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_each_event_in_each_state_leads_where_it_should_or_is_refused(state: State, event: Event) -> None:
    expected = EXPECTED[state].get(event)

    if expected is None:
        with pytest.raises(WrongStateError):
            transition(state, event)
    else:
        assert transition(state, event).next_state is expected


def test_only_the_arbiter_ends_a_dispute_and_the_arbiter_does_nothing_else() -> None:
    assert callers_of(Event.RULING) == callers_of(Event.DISMISS) == {Caller.ARBITER}
    assert {row.event for row in TRANSITIONS if row.caller is Caller.ARBITER} == {Event.RULING, Event.DISMISS}


def test_what_happens_on_the_chain_or_by_the_clock_is_caused_by_the_service_alone() -> None:
    by_itself = {
        Event.ADDRESS_READY,
        Event.DEPOSIT_COMPLETE,
        Event.DEADLINE_PASSED_SHORT,
        Event.DEADLINE_PASSED_EMPTY,
        Event.DEPOSIT_FELL_OUT,
        Event.PAYOUT_SETTLED,
        Event.PAYOUT_FELL_OUT,
        Event.LATE_COINS_REFUNDED,
    }

    assert {event for event in Event if callers_of(event) == {Caller.SERVICE}} == by_itself
    assert {event for event in Event if Caller.SERVICE in callers_of(event)} == by_itself


def test_once_a_dispute_is_open_the_shop_can_decide_nothing() -> None:
    for event in Event:
        if Caller.SHOP in callers_of(event):
            with pytest.raises(WrongStateError):
                transition(State.DISPUTED, event)


def test_once_a_payout_is_under_way_no_party_can_decide_anything() -> None:
    assert {row.caller for row in TRANSITIONS if row.state is State.PAYING_OUT} == {Caller.SERVICE, Caller.OPERATOR}


def test_late_coins_never_reopen_a_closed_escrow() -> None:
    for row in TRANSITIONS:
        if row.state in CLOSED_STATES and row.event not in (Event.EXTEND, Event.PAYOUT_FELL_OUT):
            assert row.next_state is row.state


def test_a_refusal_says_what_was_asked_and_names_what_is_possible_instead() -> None:
    with pytest.raises(WrongStateError) as caught:
        transition(State.FUNDED, Event.EXTEND)

    assert caught.value.code == "wrong_state"
    assert "funded" in caught.value.message
    assert "extend" in caught.value.message
    assert caught.value.what_to_do == "In this state one can: dispute, refund, release."


def test_where_only_the_service_acts_a_refusal_says_that_one_can_only_wait() -> None:
    with pytest.raises(WrongStateError) as caught:
        transition(State.PAYING_OUT, Event.REFUND)

    assert caught.value.what_to_do == "In this state one can only wait."


@pytest.mark.parametrize("state", State)
def test_every_state_says_whom_or_what_it_waits_for(state: State) -> None:
    actors = {row.caller for row in TRANSITIONS if row.state is state}
    sentence = waits_for(state)

    assert sentence.endswith(".")
    if state in CLOSED_STATES:
        assert sentence.startswith("Nobody")
    elif Caller.ARBITER in actors:
        assert "arbiter" in sentence
    elif actors == {Caller.SHOP}:
        assert "shop" in sentence


def test_the_stored_names_of_states_and_events_have_not_changed() -> None:
    """They stand in databases and in what shops were told: renaming one loses escrows."""
    assert {state.value for state in State} == {
        "setting_up", "awaiting_deposit", "short", "funded", "disputed", "paying_out", "settled", "expired",
        "cancelled",
    }  # fmt: skip
    assert {event.value for event in Event} == {
        "address_ready", "deposit_complete", "deadline_passed_short", "deadline_passed_empty", "accept_short", "extend",
        "cancel", "release", "refund", "dispute", "ruling", "payout_settled", "late_coins_refunded",
        "deposit_fell_out", "payout_fell_out", "payout_called_off", "ruling_called_off", "dismiss",
        "payout_written_off",
    }  # fmt: skip
