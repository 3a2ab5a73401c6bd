"""Reports and pictures of the bench, and the page that is made of them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from monero_escrow.bench.catalog import BENCHES, UnknownBenchError, bench_named
from monero_escrow.bench.figures import Chart, Figure, On, Series, Unit
from monero_escrow.bench.page import BEGIN, END, published, with_figures
from monero_escrow.bench.pictures import picture_of
from monero_escrow.bench.report import BadReportError, Form, read_report, write_report
from unit.bench_reports import report

_SVG = "{http://www.w3.org/2000/svg}"


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    made = report()
    assert read_report(write_report(made, tmp_path)) == made


def test_a_report_says_what_its_values_add_up_to_and_whether_aims_are_met(tmp_path: Path) -> None:
    content = json.loads(write_report(report(), tmp_path).read_text())
    assert [figure["met"] for figure in content["figures"]] == [True, False, True, None]
    series = content["series"][0]
    assert (series["count"], series["p50"], series["p99"], series["most"]) == (100, 0.0505, 0.099, 0.1)
    assert content["machine"]["monero"] == ["0.18.5.3"]


def test_of_very_many_values_a_report_keeps_some_and_counts_all(tmp_path: Path) -> None:
    many = Series("many", Unit.SECONDS, tuple(float(n) for n in range(10_001)))
    path = write_report(report(series=(many,)), tmp_path)
    series = json.loads(path.read_text())["series"][0]
    assert series["count"] == 10_001
    assert series["p99"] == 9_900
    assert len(series["values"]) <= 2_000


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"bench": "lease"}', "\x00"])
def test_what_is_no_report_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lease.json"
    path.write_text(text)
    with pytest.raises(BadReportError, match=r"lease\.json"):
        read_report(path)


@pytest.mark.parametrize("chart", Chart)
@pytest.mark.parametrize("form", Form)
def test_a_picture_is_sound_xml_that_names_its_bench(chart: Chart, form: Form) -> None:
    root = ElementTree.fromstring(picture_of(report(chart=chart, form=form)))  # noqa: S314  our own
    assert root.tag == f"{_SVG}svg"
    texts = " ".join(text.text or "" for text in root.iter(f"{_SVG}text"))
    assert "lease & release" in texts
    assert ("too small to publish" in texts) is (form is Form.QUICK)
    height = float(root.attrib["height"])
    assert all(0 <= float(text.attrib["y"]) <= height for text in root.iter(f"{_SVG}text"))


def test_a_bar_is_as_long_as_its_value() -> None:
    figures = tuple(Figure(name, value, Unit.SECONDS, On.REAL) for name, value in (("a", 1.0), ("b", 4.0)))
    root = ElementTree.fromstring(picture_of(report(figures=figures)))  # noqa: S314  our own
    short, long = (float(bar.attrib["width"]) for bar in list(root.iter(f"{_SVG}rect"))[1:])
    assert long == pytest.approx(4 * short, rel=0.01)


@pytest.mark.parametrize("values", [(1.0,), (0.0, 0.0), (1e-6, 1e-3, 5.0), (2.0, 2.0, 2.0)])
def test_a_curve_can_be_drawn_of_any_values(values: tuple[float, ...]) -> None:
    drawn = report(chart=Chart.CURVES, series=(Series("calls", Unit.SECONDS, values),))
    root = ElementTree.fromstring(picture_of(drawn))  # noqa: S314  our own
    points = next(iter(root.iter(f"{_SVG}polyline"))).attrib["points"].split()
    places = [tuple(map(float, point.split(","))) for point in points]
    assert places == sorted(places, key=lambda place: (place[0], -place[1]))
    assert all(0 <= x <= float(root.attrib["width"]) for x, _ in places)


def test_the_page_gets_its_figures_between_the_marks_and_keeps_the_rest() -> None:
    page = f"# Benchmarks\n\n{BEGIN}\nold\n{END}\nthe end\n"
    made = with_figures(page, [report()], "../bench/results")
    assert made.startswith("# Benchmarks\n\n")
    assert made.endswith(f"{END}\nthe end\n")
    assert "old" not in made
    assert "| [lease](#lease) | a good one | 12 ms | ≤ 15 ms | met |" in made
    assert "| a slow <one> | 112 ms | ≤ 100 ms | **not met** | the fake |  |" in made
    assert "![lease & release](../bench/results/lease.svg)" in made
    assert with_figures(made, [report()], "../bench/results") == made


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_its_marks_is_not_written(page: str) -> None:
    with pytest.raises(ValueError, match="marks"):
        with_figures(page, [], "results")


def test_quick_runs_are_never_published(tmp_path: Path) -> None:
    write_report(report("lease", form=Form.QUICK), tmp_path)
    write_report(report("ten", form=Form.LONG), tmp_path)
    write_report(report("stock"), tmp_path)
    assert [one.bench for one in published(tmp_path)] == ["stock", "ten"]


def test_a_long_form_is_published_beside_the_tables_and_replaces_nothing(tmp_path: Path) -> None:
    write_report(report("ten", form=Form.LONG), tmp_path)
    write_report(report("ten"), tmp_path)
    assert [one.name for one in published(tmp_path)] == ["ten", "ten-long"]
    made = with_figures(f"{BEGIN}{END}", published(tmp_path), "results")
    assert "[ten-long](#ten-long)" in made
    assert "results/ten-long.svg" in made


def test_every_bench_can_be_loaded_and_has_a_name_of_its_own() -> None:
    assert len({bench.name for bench in BENCHES}) == len(BENCHES)
    assert all(callable(bench.measure) for bench in BENCHES)
    assert bench_named("lease").name == "lease"
    with pytest.raises(UnknownBenchError, match="no bench nonsense"):
        bench_named("nonsense")
