"""Amounts: the strict decimal strings, their exact piconero, and everything that is refused."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from monero_escrow.core.money import (
    MAX_SUPPLY_PICONERO,
    PICONERO_PER_XMR,
    InvalidAmountError,
    format_xmr,
    parse_xmr,
    part_of,
    require_piconero,
)

MAX_SUPPLY_TEXT = "18446744.073709551615"


@pytest.mark.parametrize(
    ("text", "piconero"),
    [
        ("0.000000000001", 1),
        ("1.25", 1_250_000_000_000),
        ("3", 3 * PICONERO_PER_XMR),
        ("0.1", 100_000_000_000),
        ("123456.789012345678", 123_456_789_012_345_678),
        (MAX_SUPPLY_TEXT, MAX_SUPPLY_PICONERO),
    ],
)
def test_an_amount_is_read_and_written_exactly(text: str, piconero: int) -> None:
    assert parse_xmr(text) == piconero
    assert format_xmr(piconero) == text


@pytest.mark.parametrize(("text", "piconero"), [("3.0", 3 * 10**12), ("1.250", 1_250_000_000_000)])
def test_trailing_zeros_may_be_given_and_are_not_written(text: str, piconero: int) -> None:
    assert parse_xmr(text) == piconero
    assert format_xmr(piconero) == text.rstrip("0").rstrip(".")


def test_zero_can_be_written_but_not_ordered() -> None:
    assert format_xmr(0) == "0"
    for text in ("0", "0.0", "0.000000000000"):
        with pytest.raises(InvalidAmountError, match="zero"):
            parse_xmr(text)


@pytest.mark.parametrize(
    "text",
    [
        "-1", "+1", "1e3", "1E-3", "0x10", "1_000", "1,000", "1,5", "1.2.3", "1.", ".5", ".", "01", "00.5", " 1", "1 ",
        "1\n", "\t1", "1 000", "NaN", "inf", "Infinity", "one", "1XMR", "١", "１", "1.２", "²", "½", "1\u200b", "1\x00",
    ],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_plain_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidAmountError, match="not a plain decimal number"):
        parse_xmr(text)


def test_an_empty_amount_is_refused_as_empty() -> None:
    with pytest.raises(InvalidAmountError, match="empty"):
        parse_xmr("")


@pytest.mark.parametrize(
    "value", [1.5, 1, 0, True, None, b"1", Decimal(1), ["1"]], ids=lambda value: type(value).__name__
)
def test_numbers_of_python_are_no_amounts_even_where_they_would_be_exact(value: object) -> None:
    with pytest.raises(InvalidAmountError, match=f"not a value of type {type(value).__name__}"):
        parse_xmr(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["0.0000000000001", "1.0000000000000"])
def test_more_than_twelve_decimals_are_refused_and_never_rounded(text: str) -> None:
    with pytest.raises(InvalidAmountError, match="13 decimals; XMR has 12"):
        parse_xmr(text)


@pytest.mark.parametrize("text", ["18446744.073709551616", "18446745", "9" * 64])
def test_more_than_monero_can_express_is_refused(text: str) -> None:
    with pytest.raises(InvalidAmountError, match="larger than any amount"):
        parse_xmr(text)


@pytest.mark.parametrize("text", ["9" * 5_000_000, "0" * 5_000_000, "0." + "0" * 5_000_000, "x" * 5_000_000])
def test_a_very_long_text_is_refused_before_it_is_read(text: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidAmountError, match="characters long"):
        parse_xmr(text)
    assert time.process_time() - began < 0.1  # a conversion of so many digits would take minutes


def test_a_refused_amount_has_a_stable_code_and_says_what_to_do() -> None:
    with pytest.raises(InvalidAmountError) as caught:
        parse_xmr("1e3")

    assert caught.value.code == "invalid_amount"
    assert "decimal string" in caught.value.what_to_do


@pytest.mark.parametrize("value", [-1, MAX_SUPPLY_PICONERO + 1, 1.0, True, "1", None], ids=repr)
def test_what_is_no_amount_in_piconero_is_refused_everywhere(value: int) -> None:
    for refusing in (require_piconero, format_xmr, lambda amount: part_of(amount, 1)):
        with pytest.raises(InvalidAmountError):
            refusing(value)


@pytest.mark.parametrize(
    ("total_piconero", "parts", "part_piconero"),
    [
        (10_000, 1, 1),
        (9_999, 1, 0),
        (19_999, 1, 1),
        (1, 9_999, 0),
        (1, 10_000, 1),
        (3, 5_000, 1),
        (0, 10_000, 0),
        (5 * PICONERO_PER_XMR, 250, 125_000_000_000),
        (MAX_SUPPLY_PICONERO, 10_000, MAX_SUPPLY_PICONERO),
        (MAX_SUPPLY_PICONERO, 9_999, 18_444_899_399_302_180_659),
        (MAX_SUPPLY_PICONERO, 0, 0),
    ],
)
def test_a_part_is_rounded_down_to_a_whole_piconero(total_piconero: int, parts: int, part_piconero: int) -> None:
    assert part_of(total_piconero, parts) == part_piconero


@pytest.mark.parametrize("parts", [-1, 10_001, 2.5, True, "250", None], ids=repr)
def test_a_share_is_an_integer_number_of_parts_of_ten_thousand(parts: int) -> None:
    with pytest.raises(InvalidAmountError, match="0 to 10000") as caught:
        part_of(PICONERO_PER_XMR, parts)
    assert "parts of 10,000" in caught.value.what_to_do
