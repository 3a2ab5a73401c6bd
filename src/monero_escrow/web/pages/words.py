"""How the pages put amounts, times and identifiers into words. Times are UTC, amounts are XMR with every digit."""

from __future__ import annotations

from datetime import UTC, datetime

from monero_escrow.core.money import format_xmr

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def xmr(piconero: int) -> str:
    """An amount as people read it: "1.25 XMR"."""
    return f"{format_xmr(piconero)} XMR"


def grouped(piconero: int) -> str:
    """An amount in piconero, its digits in threes by narrow spaces that do not break: readable, not to be copied."""
    return f"{piconero:,}".replace(",", "\u202f")


def shortened(text: str, head: int = 8, tail: int = 6) -> str:
    """The two ends of an address or txid; whoever needs the whole finds it on the escrow's page."""
    return text if len(text) <= head + tail + 1 else f"{text[:head]}…{text[-tail:]}"


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


def moment(seconds: float | None) -> str:
    """A moment in UTC: "2026-01-31 12:00:00"."""
    return "–" if seconds is None else datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")


def sentence(name: str) -> str:
    """A stored name as words: "deposit_complete" → "Deposit complete"."""
    return name.replace("_", " ").replace("-", " ").capitalize()
