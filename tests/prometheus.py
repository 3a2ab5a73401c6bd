"""Prometheus's programs, as scripts/get-prometheus finds or brings them."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"


@cache
def programs_folder() -> Path:
    """The folder with prometheus and promtool."""
    found = subprocess.run([ROOT / "scripts" / "get-prometheus"], check=True, capture_output=True, text=True)
    return Path(found.stdout.splitlines()[-1])


def promtool(*arguments: str | Path, given: bytes = b"") -> None:
    """Run `promtool`; fails with all it says if it finds anything wrong."""
    done = subprocess.run([programs_folder() / "promtool", *arguments], input=given, capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
