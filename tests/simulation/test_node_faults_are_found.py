"""The simulation of nodes can fail: each fault put into the product's code here is one that it finds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monero_escrow.nodes.node import Node
from monero_escrow.store.work_table import WorkTable
from simulation.storage import quick_folder
from simulation.takeovers import live_together


def _found(tmp_path: Path) -> str:
    folder = quick_folder(tmp_path) / f"monero-escrow-node-faults-{os.getpid()}"
    return "\n".join(live_together(1, 1, folder, failovers=False).problems)


def test_a_write_that_does_not_look_at_its_fence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(WorkTable, "require", lambda *_: None)
    monkeypatch.setattr(Node, "require", lambda _node: None)
    assert "A write under the stale fence" in _found(tmp_path)


def test_a_node_that_trusts_a_lease_that_is_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Node, "trusted", property(lambda node: bool(node.id)))
    assert "and does not hold it" in _found(tmp_path)
