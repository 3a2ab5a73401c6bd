"""The service as a child process: its settings, its API keys, its start and its end.

It is started as anybody would start it: `python -m monero_escrow serve` with environment variables. Nothing of the
user's own settings reaches it, neither their environment nor a `.env` file: it runs in the demo's folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2

from monero_escrow.config import Settings
from monero_escrow.monero.processes import LOOPBACK, ChildProcess, ProgramFailedError

SHOP: Final = "demo-shop"
_COMMAND_LIMIT_SECONDS: Final = 60.0
_START_LIMIT_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 1.0
"""What a look at one configured wallet process takes at most while all others are looked at as well."""
_POLL_SECONDS: Final = 0.1
_MOST_KILLED: Final = 5


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """One key a scope."""

    shop: str = field(repr=False)
    arbiter: str = field(repr=False)
    operator: str = field(repr=False)


def service_environment(folder: Path) -> dict[str, str]:
    """The environment for `keys` and, with the URLs added, for `serve`. Makes the folders and a fresh database key."""
    key_file = folder / "database.key"
    descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return {
        **_without_settings(os.environ),
        "PYTHONUNBUFFERED": "1",
        "MONERO_NETWORK": "regtest",
        "DB_ENCRYPTION_KEY_FILE": str(key_file),
        "DATA_DIR": str(folder / "data"),
        "SERVER_HOST": LOOPBACK,
        # A private chain's blocks come in bursts, and nobody wants to wait for the service to notice.
        "CHAIN_POLL_SECONDS": "0.3",
    }


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    ours = {"monero_escrow_config", "credentials_directory", *Settings.model_fields}
    return {name: value for name, value in environment.items() if name.lower() not in ours}


async def make_keys(folder: Path, environment: Mapping[str, str]) -> ApiKeys:
    """Make the three keys, one after another, for the first also makes the database."""
    return ApiKeys(
        shop=await _make_key(folder, environment, "shop", "--shop", SHOP),
        arbiter=await _make_key(folder, environment, "arbiter"),
        operator=await _make_key(folder, environment, "operator"),
    )


async def start_service(
    folder: Path,
    environment: Mapping[str, str],
    port: int,
    *,
    log_name: str = "service",
    within: Sequence[str] = (),
) -> ChildProcess:
    """Start `serve` on this port and wait until it is ready. `url` is the API's. It logs to LOG_NAME.log.

    `within` goes before the command, and becomes it: something that chooses where it runs.
    """
    log_file = folder / f"{log_name}.log"
    with log_file.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *_command("serve", within=within),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**environment, "SERVER_PORT": str(port)},
            start_new_session=True,
        )
    service = ChildProcess(
        "the service", process, f"http://{environment.get('SERVER_HOST', LOOPBACK)}:{port}", log_file
    )
    processes = environment.get("MONERO_RPC_URLS", "").count("://")
    try:
        await _until_ready(service, _START_LIMIT_SECONDS + processes * _LOOK_SECONDS)
    except BaseException:
        await service.stop()
        raise
    return service


async def _until_ready(service: ChildProcess, limit_seconds: float) -> None:
    deadline = time.monotonic() + limit_seconds
    async with httpx2.AsyncClient(trust_env=False) as http:
        while service.running and time.monotonic() < deadline:
            with suppress(httpx2.HTTPError):
                if (await http.get(f"{service.url}/readyz")).is_success:
                    return
            await asyncio.sleep(_POLL_SECONDS)
    went = "is not ready in time" if service.running else "ended by itself"
    raise ProgramFailedError(f"The service {went}:\n{service.wrote()}")


async def _make_key(folder: Path, environment: Mapping[str, str], scope: str, *more: str) -> str:
    """Make one key. A command that was killed is called again: a key nobody was told of opens nothing."""
    arguments = ("keys", "create", "--scope", scope, *more, "--json")
    for _ in range(_MOST_KILLED):
        code, said, complained = await _command_output(folder, environment, arguments)
        if code == 0:
            key: str = json.loads(said)["key"]
            return key
        if code > 0:
            break
    end = complained.decode(errors="replace").strip()[-2000:]
    raise ProgramFailedError(f"`monero-escrow keys create --scope {scope}` failed:\n{end}")


async def _command_output(
    folder: Path, environment: Mapping[str, str], arguments: Sequence[str]
) -> tuple[int, bytes, bytes]:
    """Its exit code (minus the signal that ended it), what it said and what it complained of."""
    process = await asyncio.create_subprocess_exec(
        *_command(*arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_COMMAND_LIMIT_SECONDS):
            said, complained = await process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return process.returncode or 0, said, complained


def _command(*arguments: str, within: Sequence[str] = ()) -> Sequence[str]:
    """This Python's `monero-escrow`, told by the kernel to end should the demo die."""
    setpriv = shutil.which("setpriv")
    watched = (setpriv, "--pdeathsig", "TERM", "--") if setpriv else ()
    return (*watched, *within, sys.executable, "-m", "monero_escrow", *arguments)
