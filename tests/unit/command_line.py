"""What the tests of commands share: a service's settings in the environment, and nothing else there."""

from __future__ import annotations

from pathlib import Path

import pytest

from monero_escrow.config import Settings
from unit.rows import MASTER_KEY, NETWORK


def set_environment(monkeypatch: pytest.MonkeyPatch, folder: Path, **more: str) -> None:
    """As on the machine of a service whose DATA_DIR is the folder."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(folder)
    settings = {"DATA_DIR": str(folder), "DB_ENCRYPTION_KEY": MASTER_KEY.hex(), "MONERO_NETWORK": NETWORK.value}
    for name, value in (settings | more).items():
        monkeypatch.setenv(name, value)
