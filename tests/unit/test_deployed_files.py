"""deploy/ fits the service: rules and dashboard use metrics there are; every alert fires, is quiet, and is told of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from monero_escrow.telemetry.catalogue import ALL, PREFIX
from prometheus import DEPLOY, ROOT, RULES, promtool

PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "monero-escrow.json"
SERIES = {name: row for row in ALL for name in row.series}
ALERTS = re.findall(r"alert: (\w+)", RULES.read_text())
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()

_SELECTED = re.compile(rf"({PREFIX}[a-z_]+)(?:\{{([^}}]*)\}})?")
_LABEL_OF_ITS_OWN = {"instance", "job", "le"}


def expressions(panels: list[dict[str, Any]]) -> Iterator[str]:
    for panel in panels:
        for target in panel.get("targets", ()):
            yield target["expr"]


def assert_exists(expression: str) -> None:
    """Every metric in it is one of ours, selected by labels that it has."""
    for name, selected in _SELECTED.findall(expression):
        assert name in SERIES, f"{name} does not exist: {expression}"
        labels = set(re.findall(r"(\w+)\s*[=!]", selected))
        assert labels <= {*SERIES[name].labels, *_LABEL_OF_ITS_OWN}, expression
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    used = [SERIES[name] for name, _ in _SELECTED.findall(expression)]
    assert grouped <= _LABEL_OF_ITS_OWN.union(*(row.labels for row in used)), expression


def test_promtool_takes_the_rules_and_the_example() -> None:
    promtool("check", "rules", RULES)
    promtool("check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")


def test_every_alert_fires_when_it_should_and_is_quiet_when_not() -> None:
    tests = (PROMETHEUS / "rules.test.yml").read_text()
    for alert in ALERTS:
        assert f"name: {alert} fires\n" in tests
        assert f"name: {alert} is quiet\n" in tests
    promtool("test", "rules", PROMETHEUS / "rules.test.yml")


def test_the_rules_use_only_metrics_and_labels_that_exist() -> None:
    rules = re.findall(r"expr: >-\n\s+(.*)", RULES.read_text())
    assert len(rules) == len(ALERTS) > 10
    for expression in rules:
        assert_exists(expression)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_section_in_the_runbook(alert: str) -> None:
    (anchor,) = re.findall(rf"alert: {alert}\n(?:.*\n)*?\s+runbook: docs/runbook.md#([a-z-]+)", RULES.read_text())[:1]
    headings = {heading.lower().replace(" ", "-"): heading for heading in re.findall(r"^## (.*)$", RUNBOOK, re.M)}
    assert anchor in headings
    section = RUNBOOK.split(f"## {headings[anchor]}\n")[1].split("\n## ")[0]
    assert f"`{alert}`" in section


def test_the_dashboard_asks_only_for_metrics_and_labels_that_exist() -> None:
    asked = list(expressions(json.loads(DASHBOARD.read_text())["panels"]))
    assert len(asked) > 30
    for expression in asked:
        assert_exists(expression)


def test_every_metric_is_on_the_dashboard_or_says_only_what_others_say() -> None:
    asked = " ".join(expressions(json.loads(DASHBOARD.read_text())["panels"])) + RULES.read_text()
    left_out = {row.name for row in ALL if not any(re.search(rf"\b{name}\b", asked) for name in row.series)}
    assert left_out <= {
        "build_info",
        "slots_configured",
        "leases_waiting",
        "lease_refusals",
        "escrows_in_trouble",
        "chain_height_blocks",
        "database_read_timestamp_seconds",
        "database_errors",
    }
