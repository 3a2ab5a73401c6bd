"""How times, durations, counts and identifiers are put into words, wherever a person reads them. Times are UTC.

Amounts are `money.py`'s. Pure: what the time is now, the caller says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import quantiles
from typing import Final

from monero_escrow.core.errors import InvalidInputError

_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


class NoMomentError(InvalidInputError):
    """A date or a time is expected, and this is none."""

    code = "no_moment"
    what_to_do = "Write 2026-01-31, or 2026-01-31T12:00; it is taken for UTC unless it says otherwise."


def lasting(seconds: float | None) -> str:
    """A duration in one or two units: "8 s", "3 min 20 s", "2 d 4 h"."""
    if seconds is None:
        return "–"
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole // _MINUTE, "min", whole % _MINUTE, "s")
    if whole < _DAY:
        return _two(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return _two(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def _two(large: int, unit: str, small: int, smaller_unit: str) -> str:
    return f"{large} {unit}" + (f" {small} {smaller_unit}" if small else "")


def moment(seconds: float | None, nothing: str = "–") -> str:
    """Seconds since the epoch as tables show them, "2026-01-31 12:00:00"; `nothing` where there is no such moment."""
    return nothing if seconds is None else datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")


def iso_time(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601, to the second: "2026-01-31T12:00:00Z"."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def parse_moment(text: str) -> float:
    """A date or a time as a person writes it, in seconds since the epoch. Raises NoMomentError."""
    try:
        at = datetime.fromisoformat(text.strip())
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise NoMomentError("That is no date and no time.") from None


def many(count: int, what: str) -> str:
    """How many of a thing: "1 row", "12,000 rows"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def short(text: str) -> str:
    """The two ends of an address or txid, as logs, audit rows and tables show it."""
    return text if len(text) <= 12 else f"{text[:6]}…{text[-4:]}"


def percentile(values: Sequence[float], percent: int) -> float:
    """What `percent` of the values stay under, between two of them if need be. There is at least one value."""
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]
