"""Amounts for all values: exact both ways, strict for any text, and shares that never make or lose a piconero."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from monero_escrow.core.money import MAX_SUPPLY_PICONERO, InvalidAmountError, format_xmr, parse_xmr, part_of

amounts = st.integers(1, MAX_SUPPLY_PICONERO)
shares = st.integers(0, 10_000)
near_amounts = st.text(alphabet="0123456789.-+eE_, \u0661", max_size=30)


@given(amounts)
def test_writing_and_reading_an_amount_gives_it_back(piconero: int) -> None:
    assert parse_xmr(format_xmr(piconero)) == piconero


@given(amounts)
def test_a_written_amount_is_plain_short_and_exactly_the_decimal(piconero: int) -> None:
    text = format_xmr(piconero)

    assert re.fullmatch(r"[0-9]+(\.[0-9]*[1-9])?", text)
    with localcontext(prec=50):
        assert Decimal(text) == Decimal(piconero).scaleb(-12)


@given(st.one_of(near_amounts, st.text(), st.decimals(0, 20_000_000, places=12).map(str)))
def test_any_text_is_either_read_as_the_decimal_it_is_or_refused(text: str) -> None:
    try:
        piconero = parse_xmr(text)
    except InvalidAmountError:
        return
    assert set(text) <= set("0123456789.")
    assert 0 < piconero <= MAX_SUPPLY_PICONERO
    with localcontext(prec=50):
        assert Decimal(text).scaleb(12) == piconero


@given(amounts, shares)
def test_two_shares_of_an_amount_miss_at_most_one_piconero_and_never_exceed_it(total_piconero: int, parts: int) -> None:
    together = part_of(total_piconero, parts) + part_of(total_piconero, 10_000 - parts)

    assert total_piconero - 1 <= together <= total_piconero


@given(amounts, shares)
def test_a_share_is_the_largest_whole_piconero_that_is_not_too_much(total_piconero: int, parts: int) -> None:
    part_piconero = part_of(total_piconero, parts)

    assert part_piconero * 10_000 <= total_piconero * parts < (part_piconero + 1) * 10_000
