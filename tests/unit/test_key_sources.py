"""The database's key, and other secrets, from where they lie: a command's output, or a folder of credentials."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from monero_escrow.config import Settings, SettingsError, credential_of, load_settings
from monero_escrow.config.key_command import KeyCommandError, key_printed_by
from monero_escrow.monero.waiting import until

KEY = bytes(range(200, 232))
PYTHON = sys.executable


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting from the environment, no `.env`, and no command asked before."""
    for name in list(os.environ):
        if name.lower() in Settings.model_fields or name in ("MONERO_ESCROW_CONFIG", "CREDENTIALS_DIRECTORY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    key_printed_by.cache_clear()


def program(folder: Path, text: str) -> Path:
    """A command that is this Python text."""
    file = folder / "print key"
    file.write_text(f"#!{PYTHON}\n{text}\n")
    file.chmod(0o700)
    return file


def test_a_command_prints_the_key(tmp_path: Path) -> None:
    command = program(tmp_path, f"import sys; print({KEY.hex()!r}); print('a secret of its own', file=sys.stderr)")
    assert load_settings(db_encryption_key_command=f"'{command}' --now").master_key() == KEY


def test_a_command_is_asked_once_however_often_the_key_is_wanted(tmp_path: Path) -> None:
    times = tmp_path / "times"
    command = program(tmp_path, f"open({str(times)!r}, 'a').write('x'); print({KEY.hex()!r})")
    for _ in range(3):
        assert load_settings(db_encryption_key_command=f"'{command}'").master_key() == KEY
    assert times.read_text() == "x"


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    settings = load_settings(db_encryption_key_command=f"echo {KEY.hex()} > {tmp_path / 'key'}")
    with pytest.raises(SettingsError, match="not 256 bits"):
        settings.master_key()
    assert not (tmp_path / "key").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"print({KEY.hex()!r}); raise SystemExit(3)", "ended with 3"),
        (f"print({KEY.hex()!r} * 1000)", "much more than a key"),
        (
            f"import os, signal; print({KEY.hex()!r}, flush=True); os.kill(os.getpid(), signal.SIGTERM)",
            "ended with -15",
        ),
    ],
)
def test_a_command_that_does_not_end_well_gives_no_key_and_its_output_is_in_no_error(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(KeyCommandError, match=says) as refused:
        key_printed_by(f"'{program(tmp_path, text)}'")
    assert KEY.hex() not in str(refused.value) + refused.value.what_to_do
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("command", "says"),
    [("/no/such/program", "No such file"), ("", "is empty"), ("'pass show", "quote without its end")],
)
def test_a_command_that_is_none_is_told(command: str, says: str) -> None:
    with pytest.raises(KeyCommandError, match=says):
        load_settings(db_encryption_key_command=command).master_key()


async def test_a_command_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    command = tmp_path / "command"
    command.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/started\nsleep 600\n")
    command.chmod(0o700)
    began = time.monotonic()
    with pytest.raises(KeyCommandError, match="did not end within 2 s"):
        key_printed_by(str(command), limit_seconds=2)
    assert time.monotonic() - began < 60
    started = int((tmp_path / "started").read_text())

    async def it_ended() -> bool:
        return not runs(started)

    await until(it_ended, limit_seconds=10)


def runs(pid: int) -> bool:
    """Whether it does, and is not only waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_key_comes_from_one_place() -> None:
    with pytest.raises(SettingsError, match="set one of"):
        load_settings(db_encryption_key=KEY.hex(), db_encryption_key_command="print-it")


# Credentials: files called as the settings are


def test_a_file_of_the_credentials_folder_is_the_setting_it_is_called_as(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "db_encryption_key").write_text(KEY.hex() + "\n")
    (tmp_path / "METRICS_TOKEN").write_text("a-token-for-prometheus-alone\n")
    (tmp_path / "somebody_elses").write_text("whatever")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = load_settings()
    assert settings.master_key() == KEY
    assert credential_of("metrics_token") == tmp_path / "METRICS_TOKEN"
    assert credential_of("database_url") is None
    assert settings.metrics_token is not None
    assert settings.metrics_token.get_secret_value() == "a-token-for-prometheus-alone"
    assert KEY.hex() not in repr(settings)


def test_the_environment_and_the_files_of_settings_win_over_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server_port").write_text("1")
    (tmp_path / "log_level").write_text("error")
    (tmp_path / ".env").write_text("LOG_LEVEL=debug\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("SERVER_PORT", "2")
    settings = load_settings()
    assert (settings.server_port, settings.log_level) == (2, "debug")


def test_a_folder_of_credentials_that_is_not_there_is_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "gone"))
    assert load_settings().db_encryption_key is None


def test_a_credential_that_cannot_be_read_is_told_and_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "db_encryption_key").write_bytes(b"\xff\xfe")  # as root reads everything else
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(SettingsError, match="CREDENTIALS_DIRECTORY names"):
        load_settings()


# Core dumps


def test_a_command_of_ours_leaves_no_core_dump_and_cannot_be_looked_into(tmp_path: Path) -> None:
    """The limit is inherited by what it starts; that nobody of the same user may look into it is its own."""
    look = (
        "import ctypes, resource, subprocess, sys\n"
        "from monero_escrow.no_core_dumps import forbid_core_dumps\n"
        "forbid_core_dumps()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'import resource; print(resource.getrlimit(resource.RLIMIT_CORE))'])\n"
    )
    said = subprocess.run([PYTHON, "-c", look], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["(0, 0) 0", "(0, 0)"]
