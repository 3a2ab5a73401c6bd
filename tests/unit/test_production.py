"""The hardening checklist: each line says well of a hardened set-up, and finds the fault it is about."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from monero_escrow.cli import production
from monero_escrow.cli.doctor import doctor
from monero_escrow.cli.findings import Level
from monero_escrow.cli.production import CHECKLIST, checklist_markdown, production_findings
from monero_escrow.config import ACKNOWLEDGEMENT, Settings, load_settings

Change = Callable[[dict[str, object], Path], object]


@pytest.fixture
def hardened(tmp_path: Path) -> dict[str, object]:
    """Settings, files and a folder as they should be, all but the second disk and the user."""
    key = tmp_path / "database.key"
    key.write_text("a0" * 32)
    key.chmod(0o600)
    for name in ("data", "second", "data/backups"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "data/backups/last.backup").touch()
    return {
        "monero_network": "mainnet",
        "mainnet_acknowledgement": ACKNOWLEDGEMENT,
        "most_xmr_per_escrow": "1",
        "most_xmr_at_once": "20",
        "db_encryption_key_file": key,
        "data_dir": tmp_path / "data",
        "backup_url": f"file://{tmp_path}/second",
        "monero_daemon_url": "http://127.0.0.1:18081",
        "metrics_token": "0123456789abcdef",
    }


@pytest.fixture(autouse=True)
def hardened_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another disk, a user of its own, no core dumps."""
    monkeypatch.setattr(production, "trouble_with", lambda _settings: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (0, 0))


def found(settings: Settings) -> dict[str, Level]:
    return {finding.what: finding.level for finding in production_findings(settings)}


def test_a_hardened_service_has_no_fault(hardened: dict[str, object]) -> None:
    wrong = {
        name: level
        for name, level in found(load_settings(**hardened)).items()
        if level is not Level.OK and name not in ("user", "memory")  # of this machine
    }
    assert wrong == {}


def _readable(settings: dict[str, object], folder: Path) -> None:
    (folder / "database.key").chmod(0o644)


def _readable_by_the_group(settings: dict[str, object], folder: Path) -> None:
    (folder / "database.key").chmod(0o640)


def _token_in_a_file(settings: dict[str, object], folder: Path) -> None:
    del settings["metrics_token"]
    (folder / "token").write_text("0123456789abcdef")
    settings["metrics_token_file"] = folder / "token"


def _open_folder(settings: dict[str, object], folder: Path) -> None:
    (folder / "data").chmod(0o755)


def _key_in_environment(settings: dict[str, object], folder: Path) -> None:
    del settings["db_encryption_key_file"]
    settings["db_encryption_key"] = "a0" * 32


def _key_beside_the_data(settings: dict[str, object], folder: Path) -> None:
    settings["db_encryption_key_file"] = (folder / "database.key").rename(folder / "data/database.key")


def _old_backup(settings: dict[str, object], folder: Path) -> None:
    os.utime(folder / "data/backups/last.backup", (1.7e9, 1.7e9))


def _set(**changes: object) -> Change:
    return lambda settings, _folder: settings.update(changes)


@pytest.mark.parametrize(
    ("line", "level", "change"),
    [
        ("network", Level.ERROR, _set(mainnet_acknowledgement="")),
        ("network", Level.WARNING, _set(monero_network="stagenet")),
        ("limits", Level.WARNING, _set(most_xmr_at_once=None)),
        ("limits", Level.WARNING, _set(most_xmr_at_once="unlimited")),
        ("database key", Level.ERROR, _readable),
        ("database key", Level.ERROR, _key_in_environment),
        ("database key", Level.ERROR, _key_beside_the_data),
        ("data folder", Level.ERROR, _open_folder),
        ("database", Level.ERROR, _set(database_url="postgresql://u@db.example.com/escrow?sslmode=require")),
        ("database", Level.ERROR, _set(database_url="postgresql:///escrow?host=db.example.com")),
        ("database", Level.OK, _set(database_url="postgresql:///escrow?host=/run/postgresql")),
        ("database", Level.OK, _set(database_url="postgresql://u@db.example.com/escrow?sslmode=verify-full")),
        ("database key", Level.ERROR, _readable_by_the_group),
        ("metrics", Level.OK, _token_in_a_file),
        ("second place", Level.ERROR, _set(backup_url=None)),
        ("backup", Level.WARNING, _old_backup),
        ("daemon", Level.ERROR, _set(monero_daemon_url=None)),
        ("daemon", Level.WARNING, _set(monero_daemon_url="https://node.example.com:18089")),
        (
            "wallets",
            Level.ERROR,
            _set(monero_rpc_urls=tuple(f"http://w.example.com:{port}" for port in (1, 2, 3))),
        ),
        ("wallets", Level.WARNING, _set(monero_rpc_urls=tuple(f"http://127.0.0.1:{port}" for port in (1, 2, 3)))),
        ("callers", Level.ERROR, _set(server_host="0.0.0.0")),  # noqa: S104  what is looked for
        ("metrics", Level.WARNING, _set(metrics_token=None)),
        ("log", Level.WARNING, _set(log_level="debug")),
    ],
)
def test_each_fault_is_found_by_its_line(
    hardened: dict[str, object], tmp_path: Path, line: str, level: Level, change: Change
) -> None:
    change(hardened, tmp_path)
    assert found(load_settings(**hardened))[line] is level


def test_root_and_core_dumps_are_found(hardened: dict[str, object]) -> None:
    settings = load_settings(**hardened)
    with patch.object(os, "geteuid", lambda: 0):
        assert found(settings)["user"] is Level.ERROR
    with patch.object(resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY)):
        assert found(settings)["memory"] is Level.WARNING


def test_the_docs_have_every_line() -> None:
    page = (Path(__file__).parents[2] / "docs" / "hardening.md").read_text()
    assert checklist_markdown() in page
    assert len({line.name for line in CHECKLIST}) == len(CHECKLIST)


def test_doctor_goes_through_the_list_only_when_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    doctor()
    assert "second place" not in capsys.readouterr().out
    doctor(production=True)
    said = capsys.readouterr().out
    assert all(f"{line.name}: " in said for line in CHECKLIST)
