"""deploy/systemd: units that systemd takes, sandboxed, and whose commands run as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from monero_escrow.config import Settings
from monero_escrow.core.roles import ROLES
from monero_escrow.monero.processes import free_port
from prometheus import DEPLOY
from unit.systemd_socket import Listener, heard

FOLDER = DEPLOY / "systemd"
SERVICE, MONEROD = FOLDER / "monero-escrow.service", FOLDER / "monerod.service"
BACKUP = FOLDER / "monero-escrow-backup.service"
UNITS = pytest.mark.parametrize("unit", [SERVICE, MONEROD, BACKUP], ids=lambda unit: unit.name)
TOKEN = "a-token-for-prometheus-alone"
_MOST_EXPOSURE_TENTHS = 20


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`systemd-analyze`, which needs no running systemd."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("There is no systemd-analyze: scripts/get-deploy-checkers, as root.")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def lines_of(unit: Path, name: str) -> list[str]:
    """What a setting of the unit is, line by line."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.M)


@UNITS
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    """But for the programs, which are not where the unit has them on the machine that tests it."""
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/sh", unit.read_text(), flags=re.M))
    done = analyze("verify", copy)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@UNITS
def test_the_unit_is_locked_in_to_at_most_2_0(unit: Path, tmp_path: Path) -> None:
    threshold = f"--threshold={_MOST_EXPOSURE_TENTHS}"
    done = analyze("security", "--offline=true", threshold, unit)
    assert done.returncode == 0, done.stdout.splitlines()[-1]
    open_to_all = tmp_path / unit.name
    open_to_all.write_text("[Service]\nExecStart=/bin/sh\n")
    assert analyze("security", "--offline=true", threshold, open_to_all).returncode != 0


@UNITS
def test_no_unit_leaves_a_core_dump_or_has_a_secret_in_it(unit: Path) -> None:
    assert lines_of(unit, "LimitCORE") == ["0"]
    assert not re.search(r"(?i)(key|token|login|password|database_url)\S*=(?!/)\S*\S{16}", unit.read_text())


def test_every_credential_and_every_line_of_the_settings_is_a_setting() -> None:
    names = [line.partition(":")[0] for line in lines_of(SERVICE, "LoadCredential")]
    assert names == ["db_encryption_key", "metrics_token"]
    example = re.findall(r"^([A-Z_]+)=", (FOLDER / "settings.example").read_text(), re.M)
    assert len(example) > 3
    for name in (*names, *example):
        assert name.lower() in Settings.model_fields


async def test_the_units_command_serves_says_so_reloads_and_ends(tmp_path: Path) -> None:
    """As systemd would run it: its environment, its credentials, its socket. No wallet process answers; it serves."""
    listener = Listener(str(tmp_path / "notify"))
    credentials, home = tmp_path / "credentials", tmp_path / "home"
    credentials.mkdir(mode=0o700)
    home.mkdir(mode=0o700)
    (credentials / "db_encryption_key").write_text("22" * 32 + "\n")
    (credentials / "metrics_token").write_text(TOKEN + "\n")
    port = free_port()
    (tmp_path / "settings").write_text(
        f"SERVER_PORT={port}\nMONERO_RPC_URLS={','.join(f'http://127.0.0.1:{free_port()}' for _ in ROLES)}\n"
    )
    environment = dict(line.split("=", 1) for line in lines_of(SERVICE, "Environment")[0].split())
    environment |= {"MONERO_ESCROW_CONFIG": str(tmp_path / "settings"), "DATA_DIR": str(home)}
    environment |= {"CREDENTIALS_DIRECTORY": str(credentials), "WATCHDOG_USEC": "300000", **listener.environment()}
    environment |= {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    (command,) = lines_of(SERVICE, "ExecStart")
    (_, *words) = shlex.split(command)
    service = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monero_escrow", *words),
        env=environment,
        cwd=home,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await heard(listener, "READY", "1")
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as api:
            assert (await api.get("/readyz")).status_code == 200
            metrics = await api.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
            assert metrics.status_code == 200
        await heard(listener, "WATCHDOG", "1")
        assert resource.prlimit(service.pid, resource.RLIMIT_CORE) == (0, 0)
        before = len(listener.listen())
        service.send_signal(signal.SIGHUP)
        await heard(listener, "RELOADING", "1")
        await heard(listener, "READY", "1", since=before)
        service.send_signal(signal.SIGTERM)
        await heard(listener, "STOPPING", "1")
        _, said = await asyncio.wait_for(service.communicate(), 20)
    finally:
        if service.returncode is None:
            service.kill()
            await service.wait()
        listener.close()
    assert service.returncode == 0, said.decode()
    assert listener.heard[0]["STATUS"].startswith("Starting")
    assert any("3 wallet processes" in told.get("STATUS", "") for told in listener.heard)
    assert TOKEN not in said.decode()
