"""Amounts: integer piconero inside, decimal XMR strings outside, and nothing else in between.

One XMR is 10**12 piconero (`COIN` in Monero's `src/cryptonote_config.h`), which binary floats cannot count; so a float
is refused even where it would happen to be exact. Rates, currencies and fees are no business of this module.
"""

from __future__ import annotations

import re
from typing import Final

from monero_escrow.core.errors import InvalidInputError

PICONERO_PER_XMR: Final = 10**12
XMR_DECIMALS: Final = 12

MAX_SUPPLY_PICONERO: Final = 2**64 - 1
"""What Monero's amount field of 64 bits holds (`MONEY_SUPPLY`): 18446744.073709551615 XMR. No amount is larger."""

PARTS_OF_WHOLE: Final = 10_000
"""Shares and commissions are integer parts of this: 250 parts are 2.5 per cent."""

# JSON's grammar for numbers, without sign and exponent. [0-9] because \d also matches the digits of other scripts.
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?")
_LONGEST_TEXT: Final = 64  # three times what any amount needs: enough to say precisely what is wrong with a near miss


class InvalidAmountError(InvalidInputError):
    """What was given is not an amount, or not one that can be paid."""

    code = "invalid_amount"
    what_to_do = 'Give the amount in XMR as a decimal string with at most 12 decimals, for example "1.25".'


def parse_xmr(text: str) -> int:
    """The piconero in a decimal XMR string such as "1.25": more than zero, at most `MAX_SUPPLY_PICONERO`.

    Only digits with at most one point between them: no sign, exponent, spaces, grouping or leading zeros, so that an
    amount can be read in one way only. Raises `InvalidAmountError` for everything else, floats and ints included.
    """
    if not isinstance(text, str):
        raise InvalidAmountError(f"An amount in XMR is a decimal string, not {_type_name(text)}.")
    if len(text) > _LONGEST_TEXT:
        raise InvalidAmountError(f"The amount is {len(text)} characters long, which no amount needs.")
    if not text:
        raise InvalidAmountError("The amount is empty.")
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise InvalidAmountError(
            "The amount is not a plain decimal number: digits with at most one point between them, "
            "without sign, exponent, spaces, grouping or leading zeros."
        )
    whole, decimals = match.group(1), match.group(2) or ""
    if len(decimals) > XMR_DECIMALS:
        raise InvalidAmountError(f"The amount has {len(decimals)} decimals; XMR has {XMR_DECIMALS}.")
    piconero = int(whole) * PICONERO_PER_XMR + int(decimals.ljust(XMR_DECIMALS, "0"))
    if piconero == 0:
        raise InvalidAmountError("The amount is zero.")
    return require_piconero(piconero)


def format_xmr(piconero: int) -> str:
    """The exact decimal XMR string of an amount, without exponent and trailing zeros: "1.25", "0.000000000001", "3".

    Raises `InvalidAmountError` for what `require_piconero` refuses.
    """
    whole, rest = divmod(require_piconero(piconero), PICONERO_PER_XMR)
    decimals = f"{rest:0{XMR_DECIMALS}}".rstrip("0")
    return f"{whole}.{decimals}" if decimals else str(whole)


def require_piconero(amount_piconero: int) -> int:
    """The same amount, if it is an int from 0 to `MAX_SUPPLY_PICONERO`; `InvalidAmountError` otherwise."""
    if not isinstance(amount_piconero, int) or isinstance(amount_piconero, bool):
        raise InvalidAmountError(f"An amount in piconero is an integer, not {_type_name(amount_piconero)}.")
    if amount_piconero < 0:
        raise InvalidAmountError("The amount is negative.")
    if amount_piconero > MAX_SUPPLY_PICONERO:
        raise InvalidAmountError("The amount is larger than any amount of Monero can be.")
    return amount_piconero


def part_of(total_piconero: int, parts: int) -> int:
    """`parts` of 10,000 of an amount, rounded down to a whole piconero; who gets the odd one is the caller's rule.

    Raises `InvalidAmountError` if the total is not an amount, or the parts are no integer from 0 to 10,000.
    """
    require_piconero(total_piconero)
    if not isinstance(parts, int) or isinstance(parts, bool) or not 0 <= parts <= PARTS_OF_WHOLE:
        raise InvalidAmountError(
            f"A share is an integer from 0 to {PARTS_OF_WHOLE} parts of {PARTS_OF_WHOLE}.",
            what_to_do="Give the share as an integer number of parts of 10,000, for example 250 for 2.5 per cent.",
        )
    return total_piconero * parts // PARTS_OF_WHOLE


def _type_name(value: object) -> str:
    return f"a value of type {type(value).__name__}"
