"""What the tests of the bench share: a report with a figure of each kind."""

from __future__ import annotations

from typing import Any

from monero_escrow.bench.figures import Aim, Chart, Figure, Findings, On, Series, Unit
from monero_escrow.bench.machine import Machine
from monero_escrow.bench.report import Form, Report

MACHINE = Machine(
    cores=2,
    cpu="A CPU <of a kind> & more",
    memory_bytes=8 * 2**30,
    system="Debian",
    python="3.11.7",
    monero=("0.18.5.3",),
    monero_escrow="0.1.0",
    load=0.25,
)
FIGURES = (
    Figure("a good one", 0.012, Unit.SECONDS, On.REAL, Aim(0.015), "of 20"),
    Figure("a slow <one>", 0.112, Unit.SECONDS, On.FAKE, Aim(0.1)),
    Figure("busy", 0.95, Unit.SHARE, On.REAL, Aim(0.9, at_least=True)),
    Figure("no aim", 32e6, Unit.BYTES, On.MEMORY),
)


def report(bench: str = "lease", chart: Chart = Chart.BARS, form: Form = Form.TABLE, **changes: Any) -> Report:
    findings = Findings(
        figures=changes.pop("figures", FIGURES),
        series=changes.pop("series", (Series("calls", Unit.SECONDS, tuple(n / 1000 for n in range(1, 101))),)),
        chart=chart,
        notes=("A note.",),
    )
    return Report(
        bench=bench,
        title="lease & release",
        form=form,
        at="2026-01-02T03:04:05+00:00",
        seconds=61.5,
        command=f"monero-escrow bench {bench}",
        machine=MACHINE,
        findings=findings,
        **changes,
    )
