"""Token buckets: whatever is asked for when, no more comes through than the rate allows, and waiting helps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monero_escrow.core.buckets import Level, Rate, full, given_back, refilled, take, taken_elsewhere

RATES = st.builds(Rate, st.floats(0.01, 1000), st.floats(1, 5000))
PAUSES = st.floats(0, 100)
COSTS = st.integers(1, 50)
ASKED = st.lists(st.tuples(PAUSES, COSTS), max_size=60)
SLACK = 1e-6


def let_through(rate: Rate, asked: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """When how much came through."""
    level, now, through = full(rate, 0.0), 0.0, []
    for pause, cost in asked:
        now += pause
        level, wait_seconds = take(rate, level, now, cost)
        if wait_seconds == 0:
            through.append((now, cost))
    return through


@given(RATES, ASKED)
def test_in_no_span_of_time_more_comes_through_than_a_full_bucket_and_the_rate(
    rate: Rate, asked: list[tuple[float, int]]
) -> None:
    through = let_through(rate, asked)
    for first, (since, _) in enumerate(through):
        for last in range(first, len(through)):
            until, largest = through[last][0], max(cost for _, cost in through[first : last + 1])
            total = sum(cost for _, cost in through[first : last + 1])
            debt = max(0.0, largest - rate.capacity)  # what is larger than the bucket comes through whole
            assert total <= (rate.capacity + (until - since) * rate.per_second + debt) * (1 + SLACK)


@given(RATES, ASKED, COSTS)
def test_whoever_waits_as_long_as_told_comes_through_and_not_much_sooner(
    rate: Rate, asked: list[tuple[float, int]], cost: int
) -> None:
    level, now = full(rate, 0.0), 0.0
    for pause, each in asked:
        now += pause / 1000
        level, _ = take(rate, level, now, each)
    after, wait_seconds = take(rate, level, now, cost)
    if wait_seconds > 0:
        assert take(rate, after, now + wait_seconds + SLACK, cost)[1] == 0
        assert take(rate, after, now + wait_seconds * 0.99 - SLACK, cost)[1] > 0


@given(RATES, st.floats(-5000, 5000), PAUSES, COSTS)
def test_what_is_refused_takes_nothing(rate: Rate, tokens: float, pause: float, cost: int) -> None:
    level = Level(min(tokens, rate.capacity), 0.0)
    after, wait_seconds = take(rate, level, pause, cost)
    if wait_seconds > 0:
        assert after == refilled(rate, level, pause)


@given(RATES, PAUSES, COSTS)
def test_what_is_given_back_was_never_taken(rate: Rate, pause: float, cost: int) -> None:
    taken, wait_seconds = take(rate, full(rate, 0.0), 0.0, cost)
    assert wait_seconds == 0
    back = given_back(rate, taken, 0.0, cost)
    assert abs(back.tokens - rate.capacity) < SLACK
    assert refilled(rate, back, pause).tokens <= rate.capacity


@given(RATES, st.lists(st.tuples(PAUSES, st.floats(0, 10_000)), max_size=30))
def test_what_others_let_through_counts_here_but_bars_nobody_longer_than_two_fillings(
    rate: Rate, elsewhere: list[tuple[float, float]]
) -> None:
    level, now = full(rate, 0.0), 0.0
    for pause, cost in elsewhere:
        now += pause
        before = refilled(rate, level, now)
        level = taken_elsewhere(rate, level, now, cost)
        assert level.tokens <= before.tokens
    _, wait_seconds = take(rate, level, now, 1)
    assert wait_seconds <= 2 * rate.seconds_to_fill + SLACK


@given(RATES, PAUSES)
def test_a_clock_that_stands_or_goes_back_adds_nothing(rate: Rate, pause: float) -> None:
    level = Level(0.0, pause)
    assert refilled(rate, level, pause) == level
    assert refilled(rate, level, pause - 1) == level
