"""docs/deploy.md, as far as it can be read without walking it: `make walk-deploy` does that."""

from __future__ import annotations

import re
import subprocess

import pytest

from prometheus import DEPLOY, ROOT

PAGE = (ROOT / "docs" / "deploy.md").read_text()
BLOCKS = re.findall(r"^```sh(?: online)?\n(.*?)^```$", PAGE, re.M | re.S)
WALK = (ROOT / "scripts" / "walk-deploy").read_text()
SOURCE = "/opt/monero-escrow/source-0.1.0"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-1][:40])
def test_every_block_is_shell_and_the_files_of_ours_that_it_takes_are_there(block: str) -> None:
    subprocess.run(["sh", "-n"], input=block, check=True, text=True)
    folder = re.search(rf"^cd {SOURCE}/(\S+)$", block, re.M)
    named = re.findall(rf"{SOURCE}/(\S+)", block)
    if folder:
        installed = re.findall(r"^install -m \d+ ([a-z.].*) /", block, re.M)
        named += [f"{folder[1]}/{name}" for line in installed for name in line.split()]
    assert [name for name in named if not list(ROOT.glob(name))] == []


def test_everything_the_page_asks_to_be_looked_at_is_looked_at() -> None:
    asked = re.findall(r"^<!-- walk: (\w+) -->$", PAGE, re.M)
    assert len(asked) > 5
    assert set(asked) == set(re.findall(r"^walk_(\w+)\(\)", WALK, re.M))


def test_the_units_are_installed_where_the_page_and_their_files_say() -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version is not None
    assert f"/opt/monero-escrow/{version[1]}" in PAGE
    assert f"monero-escrow:{version[1]}" in (DEPLOY / "compose" / "compose.yaml").read_text()
    for unit in ("monero-escrow.service", "monero-escrow-backup.service"):
        assert "ExecStart=/opt/monero-escrow/current/bin/monero-escrow " in (DEPLOY / "systemd" / unit).read_text()


def test_the_filter_of_system_calls_lets_setpriv_start_the_wallet_processes() -> None:
    """Without capset it ends before it becomes one; only a walk under a real systemd shows that."""
    filters = re.findall(r"^SystemCallFilter=(.*)$", (DEPLOY / "systemd" / "monero-escrow.service").read_text(), re.M)
    assert filters[-1] == "capset"
