"""The bench's statistics, and how values look to people."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monero_escrow.bench.figures import Aim, Figure, On, Unit, p50_and_p99, percentile, shown, spread

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)


@given(VALUES, st.integers(0, 100))
def test_a_percentile_is_a_measured_value_that_so_many_do_not_exceed(values: list[float], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values)
    below = [value for value in values if value < found]
    assert not below or percent == 0 or len(below) < percent / 100 * len(values)


def test_the_highest_percentile_of_few_values_is_the_largest() -> None:
    assert percentile([3.0, 1.0, 2.0], 99) == 3.0


@given(VALUES)
def test_a_spread_lies_in_order(values: list[float]) -> None:
    lie = spread(values)
    assert lie.least <= lie.p50 <= lie.most
    assert lie.p99 <= lie.most
    assert (lie.count, lie.p50) == (len(values), statistics.median(values))


def test_nothing_measured_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 50)


@pytest.mark.parametrize(
    ("value", "aim", "met"),
    [(15, Aim(15), True), (15.01, Aim(15), False), (0.9, Aim(0.9, at_least=True), True), (0.89, Aim(0.9, True), False)],
)
def test_the_limit_itself_meets_an_aim(value: float, aim: Aim, met: bool) -> None:
    assert Figure("f", value, Unit.COUNT, On.REAL, aim).met is met


def test_a_figure_without_an_aim_neither_meets_nor_misses_it() -> None:
    assert Figure("f", 1, Unit.COUNT, On.REAL).met is None


def test_both_figures_of_a_series_say_how_many_values_there_were() -> None:
    p50, p99 = p50_and_p99("lease", [1.0, 2.0, 9.0], Unit.SECONDS, On.MEMORY, (Aim(3), None))
    assert (p50.value, p50.note, p50.met) == (2.0, "of 3", True)
    assert (p99.value, p99.met) == (9.0, None)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0000123, Unit.SECONDS, "12.3 µs"),
        (0.015, Unit.SECONDS, "15 ms"),
        (3.456, Unit.SECONDS, "3.46 s"),
        (123.4, Unit.SECONDS, "123 s"),
        (0, Unit.SECONDS, "0 µs"),
        (0.512, Unit.SHARE, "51.2%"),
        (1.15, Unit.SHARE, "115%"),
        (0.0004, Unit.SHARE, "0.04%"),
        (300e6, Unit.BYTES, "300 MB"),
        (1234, Unit.COUNT, "1,234"),
        (7, Unit.COUNT, "7"),
        (12.34, Unit.BLOCKS_A_SECOND, "12.3 blocks a second"),
    ],
)
def test_values_are_shown_with_three_digits_that_count(value: float, unit: Unit, text: str) -> None:
    assert shown(value, unit) == text


@given(st.floats(0, 1e12), st.sampled_from(Unit))
def test_every_value_can_be_shown(value: float, unit: Unit) -> None:
    assert shown(value, unit)
