"""The figures of docs/benchmarks.md, written from the reports in bench/results: no number there is typed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from monero_escrow.bench.catalog import BENCHES
from monero_escrow.bench.figures import Figure, shown
from monero_escrow.bench.machine import Machine
from monero_escrow.bench.report import Form, Report, read_report

BEGIN: Final = "<!-- bench: made by `make docs` from bench/results. Run the benches again, do not change this. -->"
END: Final = "<!-- /bench -->"
_OF_FORM: Final = {Form.QUICK: "", Form.TABLE: "", Form.LONG: ", in its long form"}


def with_figures(page: str, reports: Sequence[Report], pictures: str) -> str:
    """The page with everything between the two marks written anew. `pictures` is the way from the page to the SVGs.

    ValueError if the page has not each mark once.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError("the page must have each of the two marks once")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{_figures(reports, pictures)}\n{END}{after}"


def published(results: Path) -> list[Report]:
    """The reports that may be published, in the table's order: quick ones are not. Raises BadReportError."""
    paths = [results / f"{name}.json" for bench in BENCHES for name in (bench.name, f"{bench.name}-long")]
    reports = [read_report(path) for path in paths if path.exists()]
    return [report for report in reports if report.form is not Form.QUICK]


def _figures(reports: Sequence[Report], pictures: str) -> str:
    if not reports:
        return "No bench has been run yet.\n"
    parts = [_summary(reports)]
    parts += [_section(report, pictures) for report in reports]
    return "\n".join(parts)


def _summary(reports: Sequence[Report]) -> str:
    lines = ["| bench | what | measured | aim | |", "|---|---|---|---|---|"]
    for report in reports:
        link = f"[{report.name}](#{report.name})"
        lines += [f"| {link} | {_row(figure)} |" for figure in report.findings.figures if figure.aim is not None]
    return "\n".join(lines) + "\n"


def _section(report: Report, pictures: str) -> str:
    lines = [
        f"### {report.name}",
        "",
        f"{report.title[:1].upper()}{report.title[1:]}{_OF_FORM[report.form]}.",
        f"`{report.command}`, {report.at[:10]}, {_duration(report.seconds)}.",
        _machine(report.machine),
        "",
        "| what | measured | aim | | on | |",
        "|---|---|---|---|---|---|",
        *(f"| {_row(figure)} | {figure.on} | {figure.note} |" for figure in report.findings.figures),
        "",
        *(f"- {note}" for note in report.findings.notes),
        *([""] if report.findings.notes else []),
        f"![{report.title}]({pictures}/{report.name}.svg)",
        "",
    ]
    return "\n".join(lines)


def _row(figure: Figure) -> str:
    aim = "" if figure.aim is None else figure.aim.text(figure.unit)
    verdict = {True: "met", False: "**not met**", None: ""}[figure.met]
    return f"{figure.name} | {shown(figure.value, figure.unit)} | {aim} | {verdict}"


def _machine(machine: Machine) -> str:
    monero = f", Monero {' and '.join(machine.monero)}" if machine.monero else ""
    memory = machine.memory_bytes / 2**30
    return (
        f"{machine.cores} cores ({machine.cpu}), {memory:.0f} GiB, {machine.system}, Python {machine.python}{monero}, "
        f"monero-escrow {machine.monero_escrow}; load before it {machine.load:g}."
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
