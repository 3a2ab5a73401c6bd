"""A run's picture as SVG: bars beside their aims, or curves of how values lie. Text in, text out.

Drawn by hand because two kinds of chart need no plotting library. Colours come in pairs that differ in lightness too,
and every bar and curve is labelled where it ends, so that nothing hangs on telling colours apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from monero_escrow.bench.figures import Chart, Figure, Series, Unit, percentile, shown
from monero_escrow.bench.report import Form, Report

_WIDTH: Final = 760
_MARGIN: Final = 24
_TITLE_HEIGHT: Final = 64
_BAR_HEIGHT: Final = 16
_ROW_HEIGHT: Final = 46
_PLOT_HEIGHT: Final = 240
_LABEL_WIDTH: Final = 120
_GOOD, _MISSED, _PLAIN = "#2f7d5b", "#c2603a", "#4a6fa5"
_CURVES: Final = ("#1f4e79", "#c2603a", "#2f7d5b", "#8a6d9c", "#7a7a7a")
_INK, _FAINT, _GRID = "#22272e", "#6b7280", "#e3e6ea"
_FONT: Final = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


def picture_of(report: Report) -> str:
    """The whole SVG document."""
    figures, series = report.findings.figures, report.findings.series
    if report.findings.chart is Chart.CURVES and series:
        unit = series[0].unit
        drawn, height = _curves([row for row in series if row.unit is unit], unit)
    else:
        drawn, height = _bars([figure for figure in figures if figure.unit is figures[0].unit])
    below = f"{report.command} · {report.machine.cores} cores, {report.machine.cpu} · {report.at[:10]}"
    title = report.title if report.form is not Form.QUICK else f"{report.title} (quick: sizes too small to publish)"
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' "
            f"height='{height}' role='img' {_FONT}>",
            f"<title>{escape(title)}</title>",
            f"<rect width='{_WIDTH}' height='{height}' rx='8' fill='#ffffff'/>",
            _text(_MARGIN, 30, title, size=17, weight=600),
            _text(_MARGIN, 49, below, size=11, colour=_FAINT),
            *drawn,
            "</svg>\n",
        ]
    )


def _bars(figures: Sequence[Figure]) -> tuple[list[str], int]:
    """A bar a figure, its value behind it, its aim as a line across it."""
    most = max((max(f.value, f.aim.limit if f.aim else 0.0) for f in figures), default=0.0) or 1.0
    room = _WIDTH - 2 * _MARGIN - _LABEL_WIDTH
    drawn = []
    for number, figure in enumerate(figures):
        top = _TITLE_HEIGHT + number * _ROW_HEIGHT
        width = max(2.0, room * max(0.0, figure.value) / most)
        colour = {True: _GOOD, False: _MISSED, None: _PLAIN}[figure.met]
        drawn += [
            _text(_MARGIN, top + 12, figure.name, size=12),
            f"<rect x='{_MARGIN}' y='{top + 18}' width='{width:.1f}' height='{_BAR_HEIGHT}' rx='3' fill='{colour}'/>",
        ]
        label = shown(figure.value, figure.unit)
        if figure.aim is not None:
            x = _MARGIN + room * figure.aim.limit / most
            drawn.append(
                f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{top + 15}' y2='{top + 37}' stroke='{_INK}' "
                "stroke-width='1.5' stroke-dasharray='3 2'/>"
            )
            label += f"  (aim {figure.aim.text(figure.unit)})"
            width = max(width, x - _MARGIN)
        drawn.append(_text(_MARGIN + width + 6, top + 31, label, size=11, colour=_FAINT))
    return drawn, _TITLE_HEIGHT + len(figures) * _ROW_HEIGHT + 8


def _curves(series: Sequence[Series], unit: Unit) -> tuple[list[str], int]:
    """For each series, how many of its values (upwards) are at most so much (to the right; logarithmic if wide)."""
    values = [value for row in series for value in row.values]
    axis = _Axis(values)
    top, bottom = _TITLE_HEIGHT + 8, _TITLE_HEIGHT + 8 + _PLOT_HEIGHT
    drawn = []
    for share in (0.0, 0.5, 0.9, 1.0):
        y = bottom - share * _PLOT_HEIGHT
        drawn.append(f"<line x1='{axis.left}' x2='{axis.right}' y1='{y:.1f}' y2='{y:.1f}' stroke='{_GRID}'/>")
        drawn.append(_text(axis.left - 6, y + 4, f"{share:.0%}", size=11, colour=_FAINT, anchor="end"))
    for tick in axis.ticks():
        x = axis.x(tick)
        drawn.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{top}' y2='{bottom}' stroke='{_GRID}'/>")
        drawn.append(_text(x, bottom + 16, shown(tick, unit), size=11, colour=_FAINT, anchor="middle"))
    for number, row in enumerate(series):
        colour = _CURVES[number % len(_CURVES)]
        points = " ".join(
            f"{axis.x(percentile(row.values, percent)):.1f},{bottom - percent / 100 * _PLOT_HEIGHT:.1f}"
            for percent in range(101)
        )
        y = bottom + 40 + 18 * number
        lie = (
            f"{row.name}: p50 {shown(percentile(row.values, 50), unit)}, p99 {shown(percentile(row.values, 99), unit)}"
        )
        drawn += [
            f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2'/>",
            f"<rect x='{axis.left}' y='{y - 9}' width='14' height='4' fill='{colour}'/>",
            _text(axis.left + 20, y - 3, lie, size=12),
        ]
    return drawn, bottom + 40 + 18 * len(series) + 6


class _Axis:
    """Where a value stands, left to right. Values that differ by more than thirty times get a logarithmic axis."""

    left: Final = _MARGIN + 40
    right: Final = _WIDTH - _MARGIN - 20

    def __init__(self, values: Sequence[float]) -> None:
        self._least, self._most = min(values), max(values)
        self._log = self._least > 0 and self._most / self._least > 30
        if self._log:
            self._least = 10.0 ** math.floor(math.log10(self._least))
        else:
            self._least = min(0.0, self._least)
        if self._most <= self._least:
            self._most = self._least + 1.0

    def x(self, value: float) -> float:
        return self.left + (self.right - self.left) * self._place(max(self._least, min(value, self._most)))

    def _place(self, value: float) -> float:
        if self._log:
            return math.log(value / self._least) / math.log(self._most / self._least)
        return (value - self._least) / (self._most - self._least)

    def ticks(self) -> list[float]:
        """Round values, a handful."""
        if self._log:
            first = round(math.log10(self._least))
            return [10.0**power for power in range(first, math.floor(math.log10(self._most)) + 1)]
        step = 10.0 ** math.floor(math.log10((self._most - self._least) / 2))
        step *= next(factor for factor in (1, 2, 5, 10) if (self._most - self._least) / (step * factor) <= 6)
        count = math.floor((self._most - self._least) / step + 1e-9)
        return [self._least + number * step for number in range(count + 1)]


def _text(
    x: float, y: float, text: str, *, size: int, colour: str = _INK, weight: int = 400, anchor: str = "start"
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' font-weight='{weight}' fill='{colour}' "
        f"text-anchor='{anchor}'>{escape(text)}</text>"
    )
