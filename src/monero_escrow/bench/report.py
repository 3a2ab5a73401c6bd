"""A run as it is kept: bench/results/NAME.json, or NAME-long.json. The page and other benches read it back here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from monero_escrow.bench.figures import Aim, Chart, Figure, Findings, On, Series, Unit, spread
from monero_escrow.bench.machine import Machine
from monero_escrow.core.errors import InvalidInputError

_MOST_VALUES = 2_000


class Form(StrEnum):
    """How much is measured: only whether the bench works, what the published table shows, or the long form of it."""

    QUICK = "quick"
    TABLE = "table"
    LONG = "long"


class BadReportError(InvalidInputError):
    """A file that should be a bench's report is none."""

    code = "bad_bench_report"
    what_to_do = "Remove it, or run the bench again."


@dataclass(frozen=True, slots=True)
class Report:
    """One run of one bench. `at` is a date and time in UTC, ISO 8601."""

    bench: str
    title: str
    form: Form
    at: str
    seconds: float
    command: str
    machine: Machine
    findings: Findings

    @property
    def name(self) -> str:
        """Of its files and its heading: a long form replaces no table form."""
        return f"{self.bench}-long" if self.form is Form.LONG else self.bench


def write_report(report: Report, folder: Path) -> Path:
    """Write NAME.json into the folder, whole or not at all; answers its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.name}.json"
    draft = path.with_suffix(".json.new")
    draft.write_text(json.dumps(_content(report), indent=1, ensure_ascii=False) + "\n")
    return draft.replace(path)


def read_report(path: Path) -> Report:
    """Raises BadReportError."""
    try:
        return _report(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadReportError(f"{path.name} is not a bench's report: {type(error).__name__}.") from None


def _content(report: Report) -> dict[str, Any]:
    return {
        "bench": report.bench,
        "title": report.title,
        "form": report.form,
        "at": report.at,
        "seconds": round(report.seconds, 1),
        "command": report.command,
        "machine": {name: getattr(report.machine, name) for name in Machine.__slots__},
        "figures": [_figure_content(figure) for figure in report.findings.figures],
        "chart": report.findings.chart,
        "notes": list(report.findings.notes),
        "series": [_series_content(series) for series in report.findings.series],
    }


def _figure_content(figure: Figure) -> dict[str, Any]:
    aim = figure.aim
    return {
        "name": figure.name,
        "value": _rounded(figure.value),
        "unit": figure.unit,
        "on": figure.on,
        "aim": None if aim is None else {"at_least" if aim.at_least else "at_most": aim.limit},
        "met": figure.met,
        "note": figure.note,
    }


def _series_content(series: Series) -> dict[str, Any]:
    """All values, or of very many every n-th in order; what they add up to is of all of them."""
    lie = spread(series.values)
    every = -(-len(series.values) // _MOST_VALUES)
    return {
        "name": series.name,
        "unit": series.unit,
        "count": lie.count,
        "least": _rounded(lie.least),
        "p50": _rounded(lie.p50),
        "p99": _rounded(lie.p99),
        "most": _rounded(lie.most),
        "values": [_rounded(value) for value in series.values[::every]],
    }


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _report(content: Mapping[str, Any]) -> Report:
    machine = {**content["machine"], "monero": tuple(content["machine"]["monero"])}
    return Report(
        bench=content["bench"],
        title=content["title"],
        form=Form(content["form"]),
        at=content["at"],
        seconds=content["seconds"],
        command=content["command"],
        machine=Machine(**machine),
        findings=Findings(
            figures=tuple(_figure(figure) for figure in content["figures"]),
            series=tuple(
                Series(row["name"], Unit(row["unit"]), tuple(map(float, row["values"]))) for row in content["series"]
            ),
            chart=Chart(content["chart"]),
            notes=tuple(content["notes"]),
        ),
    )


def _figure(content: Mapping[str, Any]) -> Figure:
    aim = content["aim"]
    limits = None if aim is None else Aim(float(*aim.values()), at_least="at_least" in aim)
    unit, on = Unit(content["unit"]), On(content["on"])
    return Figure(content["name"], float(content["value"]), unit, on, limits, content["note"])
