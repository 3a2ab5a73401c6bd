"""Charts as SVG, drawn here: lines over the last hours, in classes that the style sheet colours. No script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monero_escrow.core.words import lasting, percentile
from monero_escrow.web.live import HISTORY_SECONDS, SetUp, Usage

WIDTH, HEIGHT = 640, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 10, 24
_BUCKET_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: its class in the style sheet, and an SVG path."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing and what it says, for whoever does not see it. `ticks` are (y, label), `hours` (x, label)."""

    title: str
    summary: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    hours: tuple[tuple[float, str], ...]
    legend: tuple[tuple[str, str], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw yet."""
        return not self.lines


def usage_chart(now: float, usage: Sequence[Usage]) -> Chart:
    """How much of the slots' time was leased, in per cent."""
    title = "Slots leased, share of their time"
    if not usage:
        return Chart(title, "Nothing noted yet: the first point comes a minute after the start.", (), (), ())
    points = [(point.at, point.share * 100) for point in usage]
    summary = f"Now {points[-1][1]:.0f} %, at most {max(share for _, share in points):.0f} %."
    ticks = tuple((_y(percent, 100), f"{percent} %") for percent in (0, 50, 100))
    return Chart(title, summary, (Line("first", _path(now, points, 100)),), ticks, _hours(now))


def set_up_chart(now: float, set_ups: Sequence[SetUp]) -> Chart:
    """How long set-ups took, the median and what nine of ten stay under, in parts of ten minutes."""
    title = "Set-ups, from their beginning to the address"
    if not set_ups:
        return Chart(title, "No set-up has ended in the last hours.", (), (), ())
    buckets: dict[int, list[float]] = {}
    for set_up in set_ups:
        buckets.setdefault(int(set_up.at // _BUCKET_SECONDS), []).append(set_up.seconds)
    middles = [((number + 0.5) * _BUCKET_SECONDS, percentile(took, 50)) for number, took in sorted(buckets.items())]
    slowest = [((number + 0.5) * _BUCKET_SECONDS, percentile(took, 90)) for number, took in sorted(buckets.items())]
    most = max(seconds for _, seconds in slowest) or 1.0
    everything = [set_up.seconds for set_up in set_ups]
    half, most_of_them = lasting(percentile(everything, 50)), lasting(percentile(everything, 90))
    summary = f"{len(set_ups)} set-ups, half of them within {half}, nine of ten within {most_of_them}."
    lines = (Line("second", _path(now, slowest, most)), Line("first", _path(now, middles, most)))
    ticks = tuple((_y(part, most), lasting(part) if part else "0 s") for part in (0.0, most / 2, most))
    legend = (("first", "half are faster"), ("second", "nine of ten are faster"))
    return Chart(title, summary, lines, ticks, _hours(now), legend)


def _path(now: float, points: Sequence[tuple[float, float]], most: float) -> str:
    """A line through the points; a single one is a dash, for a line needs two ends."""
    drawn = [(_x(now, at), _y(value, most)) for at, value in points]
    if len(drawn) == 1:
        (x, y) = drawn[0]
        drawn = [(x - 3, y), (x + 3, y)]
    return "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in drawn)


def _x(now: float, at: float) -> float:
    share = 1 - min(max(now - at, 0.0), HISTORY_SECONDS) / HISTORY_SECONDS
    return _LEFT + share * (WIDTH - _LEFT - _RIGHT)


def _y(value: float, most: float) -> float:
    return HEIGHT - _BOTTOM - min(value / most, 1.0) * (HEIGHT - _TOP - _BOTTOM)


def _hours(now: float) -> tuple[tuple[float, str], ...]:
    whole = int(HISTORY_SECONDS // 3600)
    return tuple((_x(now, now - hours * 3600), f"−{hours} h" if hours else "now") for hours in range(whole, -1, -2))
