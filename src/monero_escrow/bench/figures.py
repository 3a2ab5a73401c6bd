"""What a bench finds: figures, each with its aim, and the values they were made of. Pure: nothing is measured here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Unit(StrEnum):
    """What a value counts. The values are written to files: never rename one."""

    SECONDS = "seconds"
    SHARE = "share"
    BYTES = "bytes"
    BLOCKS = "blocks"
    COUNT = "count"
    BLOCKS_A_SECOND = "blocks a second"
    TIMES = "times"


class On(StrEnum):
    """What a value was measured on, so that no figure of a stand-in passes for a real one."""

    REAL = "real programs"
    FAKE = "the fake"
    MEMORY = "no programs"


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure should be: at most `limit`, or with `at_least` not less. In the figure's own unit."""

    limit: float
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        """Whether the value is good enough; the limit itself is."""
        return value >= self.limit if self.at_least else value <= self.limit

    def text(self, unit: Unit) -> str:
        """As tables show it: "≤ 15 ms"."""
        return f"{'≥' if self.at_least else '≤'} {shown(self.limit, unit)}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a bench's table. `note` says what a reader must know to take the value for what it is."""

    name: str
    value: float
    unit: Unit
    on: On
    aim: Aim | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without an aim."""
        return None if self.aim is None else self.aim.met_by(self.value)


@dataclass(frozen=True, slots=True)
class Series:
    """Every single value of something that was measured many times, in the order of measuring."""

    name: str
    unit: Unit
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """How the values of a series lie."""

    count: int
    least: float
    p50: float
    p99: float
    most: float


class Chart(StrEnum):
    """How a bench's picture is drawn: a bar a figure of one unit, or a curve a series (share of values up to x)."""

    BARS = "bars"
    CURVES = "curves"


@dataclass(frozen=True, slots=True)
class Findings:
    """What one bench found. The picture shows the figures, or the series, that have the first one's unit."""

    figures: tuple[Figure, ...]
    series: tuple[Series, ...] = ()
    chart: Chart = Chart.BARS
    notes: tuple[str, ...] = ()


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all do not exceed (nearest rank). ValueError without values.

    With few values a high percentile is the largest of them: no value is made up between two that were measured.
    """
    if not values:
        raise ValueError("nothing was measured")
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(0, rank - 1)]


def spread(values: Sequence[float]) -> Spread:
    """The median, the 99th percentile and the ends. ValueError without values."""
    return Spread(len(values), min(values, default=0.0), statistics.median(values), percentile(values, 99), max(values))


def p50_and_p99(
    name: str, values: Sequence[float], unit: Unit, on: On, aims: tuple[Aim | None, Aim | None] = (None, None)
) -> tuple[Figure, Figure]:
    """The two figures of a series that most tables show."""
    lie = spread(values)
    note = f"of {lie.count}"
    return (
        Figure(f"{name}, p50", lie.p50, unit, on, aims[0], note),
        Figure(f"{name}, p99", lie.p99, unit, on, aims[1], note),
    )


_SECOND_PREFIXES: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_BYTE_PREFIXES: Final = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def shown(value: float, unit: Unit) -> str:
    """For people: three digits that count, with the unit."""
    match unit:
        case Unit.SECONDS:
            return _prefixed(value, _SECOND_PREFIXES)
        case Unit.BYTES:
            return _prefixed(value, _BYTE_PREFIXES)
        case Unit.SHARE:
            return f"{_digits(100 * value)}%"
        case Unit.COUNT:
            return _digits(value)
        case Unit.TIMES:
            return f"{_digits(value)} ×"
        case Unit.BLOCKS | Unit.BLOCKS_A_SECOND:
            return f"{_digits(value)} {unit}"


def _prefixed(value: float, prefixes: Sequence[tuple[float, str]]) -> str:
    size, name = next((row for row in prefixes if abs(value) >= row[0]), prefixes[-1])
    return f"{_digits(value / size)} {name}"


def _digits(number: float) -> str:
    """Three digits that count, no more: 1234 → 1,234; 12.345 → 12.3; 0.1234 → 0.123."""
    if number == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(number))))
    text = f"{number:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
