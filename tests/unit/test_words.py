"""Times, durations, counts and identifiers in words: the same ones in commands, pages, API and books."""

from __future__ import annotations

import pytest

from monero_escrow.core.words import NoMomentError, iso_time, lasting, many, moment, parse_moment, percentile, short

NOON = 1_769_860_800
"""2026-01-31, 12:00 UTC."""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"), (-1, "0 s"), (0, "0 s"), (0.04, "40 ms"), (8.2, "8 s"), (59.9, "1 min"), (250, "4 min 10 s"),
        (3_599.8, "1 h"), (3_600, "1 h"), (3_660, "1 h 1 min"), (190_800, "2 d 5 h"),
    ],
)  # fmt: skip
def test_a_duration_has_two_units_at_most(seconds: float | None, text: str) -> None:
    assert lasting(seconds) == text


def test_a_moment_is_told_in_utc_to_the_second() -> None:
    assert moment(NOON + 0.9) == "2026-01-31 12:00:00"
    assert iso_time(NOON + 0.9) == "2026-01-31T12:00:00Z"
    assert (moment(None), moment(None, "")) == ("–", "")


@pytest.mark.parametrize(
    "text", ["2026-01-31T12:00", "2026-01-31T12:00:00Z", "2026-01-31T13:00+01:00", " 2026-01-31 12:00 "]
)
def test_a_moment_is_read_as_people_write_it(text: str) -> None:
    assert parse_moment(text) == NOON


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30", "0001-01-01T00:00+23:00", "1769860800"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(NoMomentError):
        parse_moment(text)


def test_one_is_one_and_large_numbers_are_easy_to_read() -> None:
    assert [many(count, "row") for count in (0, 1, 2, 12_000)] == ["0 rows", "1 row", "2 rows", "12,000 rows"]


def test_an_identifier_shows_its_two_ends() -> None:
    assert (short("ab" * 32), short("twelve chars")) == ("ababab…abab", "twelve chars")


def test_nine_of_ten_stay_under_the_ninetieth_percentile() -> None:
    assert percentile([7.0], 90) == 7.0
    assert percentile([float(number) for number in range(101)], 90) == 90.0
