"""Whole runs, in their quick form, of benches that need no programs; and what reads what programs left behind."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from monero_escrow.bench.carry_out import carry_out, list_of_benches
from monero_escrow.bench.catalog import BENCHES, Bench, bench_named
from monero_escrow.bench.figures import Findings
from monero_escrow.bench.gauges import busy_seconds, cpu_seconds, most_resident_bytes, resident_bytes
from monero_escrow.bench.latencies import Latencies, read_latencies, write_latencies
from monero_escrow.bench.report import Form, read_report
from monero_escrow.bench.run import BenchFailedError, Run
from monero_escrow.bench.service_log import LoggedCall, covered_seconds, logged_calls
from monero_escrow.bench.stand_ins import own_seconds

_NO_PROCESS = 2**22 + 1


def console() -> Console:
    return Console(file=StringIO(), width=120)


@pytest.mark.parametrize("name", ["lease", "fake-thousand", "watching"])
def test_a_quick_run_leaves_a_report_and_a_picture_and_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "work"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "work").mkdir()
    told = console()
    report = carry_out(bench_named(name), Form.QUICK, told, results=tmp_path)
    assert read_report(tmp_path / "quick" / f"{name}.json").findings.figures
    assert (tmp_path / "quick" / f"{name}.svg").exists()
    assert not list((tmp_path / "work").iterdir())
    assert report.command == f"monero-escrow bench {name} --quick"
    assert isinstance(told.file, StringIO)
    assert report.findings.figures[0].name in told.file.getvalue()


def test_all_of_the_fake_set_ups_get_their_addresses(tmp_path: Path) -> None:
    report = carry_out(bench_named("fake-thousand"), Form.QUICK, console(), results=tmp_path)
    without, ratio = report.findings.figures[:2]
    assert without.value == 0
    assert ratio.value >= 1, "no set-up can be faster than its own calls"


def test_a_bench_that_fails_keeps_its_folder_and_writes_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(run: Run) -> Findings:
        (run.folder / "service.log").write_text("why")
        raise BenchFailedError("It did not work.")

    monkeypatch.setattr(Bench, "measure", property(lambda _self: fails))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told = console()
    with pytest.raises(BenchFailedError):
        carry_out(BENCHES[0], Form.TABLE, told, results=tmp_path / "results")
    assert isinstance(told.file, StringIO)
    kept = next(tmp_path.glob("monero-escrow-bench-*"))
    assert str(kept) in told.file.getvalue()
    assert (kept / "service.log").exists()
    assert not (tmp_path / "results").exists()


def test_every_bench_is_listed_with_how_long_it_takes() -> None:
    told = console()
    told.print(list_of_benches())
    assert isinstance(told.file, StringIO)
    for bench in BENCHES:
        assert bench.name in told.file.getvalue()
        assert bench.takes


def test_recorded_latencies_are_drawn_from_what_was_measured(tmp_path: Path) -> None:
    calls = [LoggedCall("open_wallet", "url", 10.0, 10.0 + n / 100, ok=True) for n in range(1, 1001)]
    write_latencies(Latencies.of(calls), tmp_path)
    read = read_latencies(tmp_path)
    drawn = [read.drawn("open_wallet", Random(seed)) for seed in range(300)]
    assert len(read.by_method["open_wallet"]) == 100
    assert 0.01 <= min(drawn) < 1.5
    assert 8.5 < max(drawn) <= 10.0
    assert read.drawn("never_recorded", Random(1)) == 0.0


def test_without_recorded_latencies_it_is_said_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(BenchFailedError) as raised:
        read_latencies(tmp_path)
    assert "bench ten" in raised.value.what_to_do


def test_a_set_up_takes_as_long_as_the_slowest_wallet_of_each_round() -> None:
    buyer = [("generate_from_keys", 5.0), ("prepare_multisig", 0.0), ("make_multisig", 1.0)]
    vendor = [("generate_from_keys", 2.0), ("prepare_multisig", 3.0), ("make_multisig", 1.0), ("get_address", 0.5)]
    assert own_seconds([buyer, vendor]) == 5.0 + 3.0 + 1.5
    assert own_seconds([buyer]) == 6.0


def test_calls_are_read_from_the_services_log_and_other_lines_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text(
        'not json "rpc"\n'
        '{"event": "request", "milliseconds": 3}\n'
        '{"method": "open_wallet", "url": "u", "milliseconds": 1500, "outcome": "ok", "event": "rpc", '
        '"timestamp": "1970-01-01T00:00:10.000000Z"}\n'
        '{"method": "close_wallet", "url": "u", "milliseconds": 1, "outcome": "call_abandoned", "event": "rpc", '
        '"timestamp": "1970-01-01T00:00:20.000000Z"}\n'
        '{"event": "rpc", "method": "half a li'
    )
    first, second = logged_calls(log)
    assert (first.method, first.begun, first.ended, first.ok) == ("open_wallet", 8.5, 10.0, True)
    assert not second.ok
    assert logged_calls(log, since=10.0) == [second]


def test_time_covered_by_calls_counts_once_where_they_overlap() -> None:
    calls = [LoggedCall("m", "u", begun, ended, ok=True) for begun, ended in ((5, 7), (0, 2), (6, 8), (1, 1.5))]
    assert covered_seconds(calls, 0, 10) == 2 + 3
    assert covered_seconds(calls, 1, 6) == 1 + 1
    assert covered_seconds([], 0, 10) == 0


def test_the_kernel_is_asked_about_ourselves_and_about_nobody() -> None:
    ourselves = os.getpid()
    before = cpu_seconds([ourselves])
    busy = busy_seconds()
    while cpu_seconds([ourselves]) < before + 0.05:
        sum(range(10_000))
    assert busy_seconds() > busy
    assert most_resident_bytes(ourselves) >= resident_bytes(ourselves) > 1_000_000
    assert (cpu_seconds([_NO_PROCESS]), resident_bytes(_NO_PROCESS)) == (0.0, 0)
