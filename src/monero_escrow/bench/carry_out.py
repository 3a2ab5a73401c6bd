"""Carry out one bench: measure, show the table, write the report and its picture, clear everything away."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from monero_escrow.bench.catalog import BENCHES, Bench
from monero_escrow.bench.figures import Figure, Findings, shown
from monero_escrow.bench.machine import Machine, this_machine
from monero_escrow.bench.pictures import picture_of
from monero_escrow.bench.report import Form, Report, write_report
from monero_escrow.bench.run import Run
from monero_escrow.bench.teller import Teller

RESULTS: Final = Path("bench/results")
_QUICK_RESULTS: Final = "quick"


def carry_out(bench: Bench, form: Form, console: Console, *, results: Path = RESULTS, keep: bool = False) -> Report:
    """Run it to its end. Raises what kept it from one, and says then, or with `keep`, where the logs are.

    What a quick run found goes into a folder of its own, so that it never takes the place of a figure.
    """
    if form is Form.QUICK:
        results = results / _QUICK_RESULTS
    folder = Path(tempfile.mkdtemp(prefix=f"monero-escrow-bench-{bench.name}-"))
    load = this_machine().load
    begun, at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    console.print(f"[bold]{bench.name}[/]: {bench.title}")
    run = None
    try:
        with Teller(console) as teller:
            run = Run(form, folder, results, teller)
            findings = asyncio.run(_ended_by_signals(bench.measure, run))
        keep_folder = keep
    except BaseException:
        keep_folder = True
        raise
    finally:
        if keep_folder:
            console.print(f"The logs are kept in {folder}", soft_wrap=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    versions = [str(programs.version) for programs in run.used]
    report = Report(
        bench=bench.name,
        title=bench.title,
        form=form,
        at=at,
        seconds=time.monotonic() - begun,
        command=command_of(bench, form),
        machine=_with_load(load, versions),
        findings=findings,
    )
    path = write_report(report, results)
    path.with_suffix(".svg").write_text(picture_of(report))
    console.print(table_of(report))
    for note in findings.notes:
        console.print(f"  {note}", highlight=False)
    console.print(
        f"  Written to {path} and {path.with_suffix('.svg').name}, in {report.seconds:.0f} s.\n", highlight=False
    )
    return report


def command_of(bench: Bench, form: Form) -> str:
    """What makes this report again."""
    return f"monero-escrow bench {bench.name}" + ("" if form is Form.TABLE else f" --{form}")


def table_of(report: Report) -> Table:
    """The figures beside their aims."""
    table = Table(title=None, caption=None, show_edge=False, pad_edge=True)
    for heading in ("what", "measured", "aim", "", "on"):
        table.add_column(heading, justify="right" if heading == "measured" else "left")
    for figure in report.findings.figures:
        aim = "" if figure.aim is None else figure.aim.text(figure.unit)
        name = f"{figure.name} ({figure.note})" if figure.note else figure.name
        table.add_row(name, shown(figure.value, figure.unit), aim, _verdict(figure, report.form), str(figure.on))
    return table


def _verdict(figure: Figure, form: Form) -> str:
    if figure.met is None or form is Form.QUICK:
        return ""
    return "[green]met[/]" if figure.met else "[red]not met[/]"


def list_of_benches() -> Table:
    """Every bench in a line."""
    table = Table(show_edge=False)
    for heading in ("name", "what it measures", "takes", "--long"):
        table.add_column(heading)
    for bench in BENCHES:
        table.add_row(bench.name, bench.title, bench.takes, bench.long)
    return table


def _with_load(load: float, versions: list[str]) -> Machine:
    return replace(this_machine(versions), load=load)


async def _ended_by_signals(measure: Callable[[Run], Awaitable[Findings]], run: Run) -> Findings:
    """SIGTERM ends it as Ctrl-C does: everything that was started is stopped on the way out."""
    task = asyncio.ensure_future(measure(run))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
