"""Which outputs count, what they add up to, and what that means for the order, at the deadline too."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monero_escrow.core.deposits import (
    Assessment,
    Coverage,
    DepositRules,
    OutputStatus,
    SeenOutput,
    assess,
    confirmations_of,
    event_for,
    status_of,
)
from monero_escrow.core.life_cycle import Event

XMR = 10**12
RULES = DepositRules(confirmations=10, dust_piconero=1_000)
MINED = SeenOutput("key", "txid", XMR, height=100, unlock_time=0, unlocked=True)
DEEP, SHALLOW = 110, 109

quick = settings(deadline=None)
statuses = st.sampled_from(OutputStatus)
outputs = st.builds(
    SeenOutput,
    public_key=st.just("key"),
    txid=st.just("txid"),
    amount_piconero=st.integers(1, 2_000),
    height=st.integers(0, 120),
    unlock_time=st.sampled_from((0, 1, 2**64 - 1)),
    unlocked=st.booleans(),
)


# What counts


@pytest.mark.parametrize(("chain_height", "confirmations"), [(99, 0), (100, 0), (101, 1), (110, 10), (130, 30)])
def test_a_block_just_mined_has_one_confirmation_and_one_not_yet_mined_none(
    chain_height: int, confirmations: int
) -> None:
    assert confirmations_of(100, chain_height) == confirmations


def test_an_output_counts_with_exactly_enough_confirmations_and_not_one_earlier() -> None:
    assert status_of(MINED, DEEP, RULES) is OutputStatus.COUNTED
    assert status_of(MINED, SHALLOW, RULES) is OutputStatus.PENDING


def test_an_output_the_wallet_calls_locked_does_not_count_however_deep() -> None:
    assert status_of(replace(MINED, unlocked=False), 10_000, RULES) is OutputStatus.PENDING


@pytest.mark.parametrize("unlock_time", [1, 160, 2_000_000_000, 2**64 - 1])
def test_an_output_with_an_unlock_time_never_counts_and_can_only_be_returned(unlock_time: int) -> None:
    locked = replace(MINED, unlock_time=unlock_time, unlocked=False)

    assert status_of(locked, 10_000, RULES) is OutputStatus.TIME_LOCKED
    assert status_of(replace(locked, unlocked=True), SHALLOW, RULES) is OutputStatus.TIME_LOCKED
    assert status_of(replace(locked, unlocked=True), DEEP, RULES) is OutputStatus.RETURNABLE


def test_the_dust_limit_itself_is_dust_and_one_piconero_more_is_not() -> None:
    assert status_of(replace(MINED, amount_piconero=1_000), DEEP, RULES) is OutputStatus.DUST
    assert status_of(replace(MINED, amount_piconero=1_001), DEEP, RULES) is OutputStatus.COUNTED


def test_the_rules_that_nobody_set_are_ten_confirmations_and_a_thousandth_of_an_xmr() -> None:
    assert DepositRules() == DepositRules(confirmations=10, dust_piconero=XMR // 1_000)


@quick
@given(outputs, st.integers(0, 200))
def test_only_plain_unlocked_deep_outputs_above_dust_count(output: SeenOutput, chain_height: int) -> None:
    counts = (
        output.unlock_time == 0
        and output.unlocked
        and output.amount_piconero > 1_000
        and chain_height - output.height >= 10
    )

    assert (status_of(output, chain_height, RULES) is OutputStatus.COUNTED) == counts


@quick
@given(outputs, st.integers(0, 200), st.integers(0, 50))
def test_what_counts_goes_on_counting_as_the_chain_grows(output: SeenOutput, chain_height: int, blocks: int) -> None:
    if status_of(output, chain_height, RULES) is OutputStatus.COUNTED:
        assert status_of(output, chain_height + blocks, RULES) is OutputStatus.COUNTED


# What it adds up to


def test_several_outputs_make_one_deposit() -> None:
    found = assess(XMR, [(OutputStatus.COUNTED, XMR // 2), (OutputStatus.COUNTED, XMR // 2)])

    assert found == Assessment(XMR, counted_piconero=XMR, pending_piconero=0)
    assert found.complete
    assert found.coverage is Coverage.EXACT


@pytest.mark.parametrize(
    ("counted", "coverage", "complete"),
    [
        (0, Coverage.NOTHING, False),
        (1, Coverage.SHORT, False),
        (XMR - 1, Coverage.SHORT, False),
        (XMR, Coverage.EXACT, True),
        (XMR + 1, Coverage.OVER, True),
    ],
)
def test_one_piconero_decides_between_short_exact_and_over(counted: int, coverage: Coverage, complete: bool) -> None:
    found = Assessment(XMR, counted, pending_piconero=0)

    assert (found.coverage, found.complete) == (coverage, complete)


def test_what_is_missing_leaves_out_what_is_on_its_way() -> None:
    assert Assessment(100, counted_piconero=30, pending_piconero=50).missing_piconero == 20
    assert Assessment(100, counted_piconero=30, pending_piconero=90).missing_piconero == 0


@quick
@given(st.integers(1, 10**13), st.lists(st.tuples(statuses, st.integers(0, 10**13))))
def test_dust_and_locked_coins_add_nothing_and_the_rest_adds_up(
    amount: int, found: list[tuple[OutputStatus, int]]
) -> None:
    assessment = assess(amount, found)

    assert assessment.counted_piconero == sum(part for status, part in found if status is OutputStatus.COUNTED)
    assert assessment.pending_piconero == sum(part for status, part in found if status is OutputStatus.PENDING)
    assert assessment.complete == (assessment.coverage in (Coverage.EXACT, Coverage.OVER))


# What it means


@pytest.mark.parametrize(
    ("counted", "pending", "before", "after"),
    [
        (0, 0, None, Event.DEADLINE_PASSED_EMPTY),
        (XMR - 1, 0, None, Event.DEADLINE_PASSED_SHORT),
        (XMR, 0, Event.DEPOSIT_COMPLETE, Event.DEPOSIT_COMPLETE),
        (2 * XMR, 0, Event.DEPOSIT_COMPLETE, Event.DEPOSIT_COMPLETE),
        (0, XMR, None, None),
        (0, 1, None, None),
        (XMR - 1, 1, None, None),
        (XMR, 1, Event.DEPOSIT_COMPLETE, Event.DEPOSIT_COMPLETE),
    ],
)
def test_the_event_before_and_after_the_deadline(
    counted: int, pending: int, before: Event | None, after: Event | None
) -> None:
    """Coins that are on their way when the deadline passes came in time, and are waited for."""
    assessment = Assessment(XMR, counted, pending)

    assert event_for(assessment, deadline_passed=False) is before
    assert event_for(assessment, deadline_passed=True) is after


@quick
@given(st.integers(1, 100), st.integers(0, 200), st.integers(0, 50), st.booleans())
def test_an_escrow_is_funded_exactly_when_the_amount_counts_and_given_up_only_when_nothing_is_coming(
    amount: int, counted: int, pending: int, deadline_passed: bool
) -> None:
    event = event_for(Assessment(amount, counted, pending), deadline_passed=deadline_passed)

    assert (event is Event.DEPOSIT_COMPLETE) == (counted >= amount)
    if event in (Event.DEADLINE_PASSED_EMPTY, Event.DEADLINE_PASSED_SHORT):
        assert deadline_passed
        assert pending == 0
        assert (event is Event.DEADLINE_PASSED_EMPTY) == (counted == 0)
