"""`monero-escrow doctor`: every setting beside what is really there, and what to do about each finding.

It looks and touches nothing, so it may run beside the service.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from monero_escrow.cli.doctor_callers import look_at_callers
from monero_escrow.cli.doctor_database import database_findings
from monero_escrow.cli.findings import Finding, Level
from monero_escrow.cli.options import Json
from monero_escrow.cli.production import production_findings
from monero_escrow.config import Settings, load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.money import format_xmr
from monero_escrow.core.roles import ROLES
from monero_escrow.escrows.keep_elsewhere import require_second_place
from monero_escrow.escrows.mainnet import require_ready_for_mainnet, value_limits
from monero_escrow.fleet.fleet import require_slots, suitable_programs
from monero_escrow.fleet.inspection import examine
from monero_escrow.fleet.local import LEAST_FREE_BYTES, FleetFolderError
from monero_escrow.fleet.memory import TRIO_BYTES, fleet_memory_bytes
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.programs import find_programs
from monero_escrow.service import slots_of
from monero_escrow.store.second_place import trouble_with

_MOST_CLOCK_DIFFERENCE_SECONDS = 2 * 3600  # what Monero's own rules let a block's time differ


def doctor(*, production: Annotated[bool, Parameter(negative="")] = False, json_output: Json = False) -> int:
    """Check settings, database, wallet-rpc processes, daemon, port and clock, and say what to do about each finding.

    Parameters
    ----------
    production
        Also go through the hardening checklist of docs/hardening.md, line by line.
    """
    findings = asyncio.run(_all_findings(production))
    if json_output:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        _print(findings)
    return 1 if any(finding.level is Level.ERROR for finding in findings) else 0


def _print(findings: list[Finding]) -> None:
    console = Console()
    marks = {
        Level.OK: "[green]ok     [/green]",
        Level.WARNING: "[yellow]warning[/yellow]",
        Level.ERROR: "[red]error  [/red]",
    }
    for finding in findings:
        console.print(f"{marks[finding.level]} {finding.what}: {finding.message}", highlight=False, soft_wrap=True)
        if finding.what_to_do:
            console.print(f"        → {finding.what_to_do}", highlight=False, soft_wrap=True)
    errors = sum(finding.level is Level.ERROR for finding in findings)
    wrong = f"{errors} to be mended. README.md, “Run it”, has settings to start from."
    console.print("All is well." if not errors else wrong, highlight=False)


async def _all_findings(production: bool) -> list[Finding]:
    try:
        settings = load_settings()
        settings.token_of_metrics()
    except EscrowError as error:
        return [Finding.of("settings", error)]
    findings = [Finding(Level.OK, "settings", f"network {settings.monero_network}")]
    findings.extend(_own_fleet(settings))
    findings.extend(await database_findings(settings))
    findings.extend(_mainnet(settings))
    findings.extend(_second_place(settings))
    findings.extend([finding async for finding in _slots(settings)])
    findings.extend(await _daemon(settings))
    findings.append(_port(settings))
    findings += look_at_callers(settings)
    findings.extend(_wallet_dir(settings))
    if production:
        findings.extend(production_findings(settings))
    return findings


def _own_fleet(settings: Settings) -> Iterator[Finding]:
    """What the service needs to run wallet-rpc processes itself; where it runs none, programs are a convenience."""
    own = settings.runs_own_fleet
    try:
        found = suitable_programs(settings) if own else find_programs(settings.monero_bin_dir)
        yield Finding(Level.OK, "programs", f"Monero {found.version} in {found.folder}")
    except EscrowError as error:
        if own:
            yield Finding.of("programs", error)
        else:
            message = f"{error.message} Fine if they run elsewhere."
            yield Finding(Level.WARNING, "programs", message, error.what_to_do)
    try:
        require_slots(settings)
    except EscrowError as error:
        yield Finding.of("fleet", error)
        return
    if not own:
        return
    trouble = _not_writable(settings.fleet_folder)
    if trouble is not None:
        yield Finding(Level.ERROR, "fleet", trouble, FleetFolderError.what_to_do)
        return
    least, most = settings.fleet_min_trios, settings.fleet_max_trios
    memory = f"{least * TRIO_BYTES >> 20} to {most * TRIO_BYTES >> 20} MiB of {fleet_memory_bytes(settings) >> 20} MiB"
    yield Finding(Level.OK, "fleet", f"{least} to {most} trios of its own, about {memory}")


def _not_writable(folder: Path) -> str | None:
    """Why nothing can be written there, looked at without writing: the folder itself, or what it will be made in."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return f"{there} cannot be written"
    free = shutil.disk_usage(there).free
    return f"the disk of {there} is full: {free >> 20} MiB are left" if free < LEAST_FREE_BYTES else None


def _mainnet(settings: Settings) -> list[Finding]:
    if settings.monero_network is not Network.MAINNET:
        return []
    try:
        require_ready_for_mainnet(settings)
    except EscrowError as error:
        return [Finding.of("mainnet", error)]
    limits = value_limits(settings)
    one, all_ = map(_limit, (limits.per_escrow_piconero, limits.at_once_piconero))
    return [Finding(Level.OK, "mainnet", f"acknowledged; {one} an escrow, {all_} at once")]


def _limit(piconero: int | None) -> str:
    return "unlimited value" if piconero is None else f"at most {format_xmr(piconero)} XMR"


def _second_place(settings: Settings) -> list[Finding]:
    name = "BACKUP_URL"
    try:
        require_second_place(settings.monero_network, configured=settings.backup_url is not None)
    except EscrowError as error:
        return [Finding.of(name, error)]
    if settings.backup_url is None:
        return []
    trouble = trouble_with(settings)
    if trouble is not None:
        hint = "Name a folder on another disk, and make it first; docs/backups.md says what it is for."
        return [Finding(Level.WARNING, name, trouble, hint)]
    return [Finding(Level.OK, name, f"{settings.second_place_folder} takes the keys of new addresses")]


async def _slots(settings: Settings) -> AsyncIterator[Finding]:
    try:
        slots = slots_of(settings)
    except EscrowError as error:
        yield Finding.of("wallet processes", error)
        return
    for slot in slots:
        yield await _slot(slot, settings)
    for spare in slots[len(slots) // len(ROLES) * len(ROLES) :]:
        yield Finding(Level.WARNING, spare.name, "beyond whole trios: used only as a spare of its class")


async def _slot(slot: Slot, settings: Settings) -> Finding:
    try:
        found = await examine(slot, settings.monero_network)
    except EscrowError as error:
        return Finding.of(slot.name, error)
    finally:
        await slot.rpc.aclose()
    version = f"Monero {found.probed.at_least} or newer"
    if found.open_address is not None:
        return Finding(Level.WARNING, slot.name, f"{version}; it has a wallet open at the moment")
    return Finding(Level.OK, slot.name, version)


async def _daemon(settings: Settings) -> list[Finding]:
    name = "daemon"
    if settings.monero_daemon_url is None:
        hint = "Set MONERO_DAEMON_URL to your own monerod. Until then escrows are set up, and deposits wait."
        return [Finding(Level.WARNING, name, "none is configured", hint)]
    daemon = DaemonClient(settings.monero_daemon_url)
    try:
        info = await daemon.get_info()
        tip = await daemon.get_last_block_header()
    except EscrowError as error:
        return [Finding.of(name, error)]
    finally:
        await daemon.aclose()
    if info.network is not settings.monero_network:
        hint = "Correct MONERO_NETWORK or MONERO_DAEMON_URL."
        return [Finding(Level.ERROR, name, f"serves {info.network}, not {settings.monero_network}", hint)]
    if not info.synchronized:
        hint = "Wait: deposits and payouts wait for it too."
        return [Finding(Level.WARNING, name, f"is at block {info.height} of {info.target_height}", hint)]
    findings = [Finding(Level.OK, name, f"synchronised at block {info.height}")]
    ahead = tip.timestamp_seconds - time.time()
    if ahead > _MOST_CLOCK_DIFFERENCE_SECONDS:
        findings.append(Finding(Level.ERROR, "clock", "is hours behind the chain's", "Set the machine's clock (NTP)."))
    return findings


def _port(settings: Settings) -> Finding:
    where = f"{settings.server_host}:{settings.server_port}"
    family = socket.AF_INET6 if ":" in settings.server_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.server_host, settings.server_port))
        except OSError:
            hint = "Fine if that is this service; otherwise stop the other program or set SERVER_PORT."
            return Finding(Level.WARNING, "port", f"{where} is taken", hint)
    return Finding(Level.OK, "port", f"{where} is free")


def _wallet_dir(settings: Settings) -> list[Finding]:
    folder = settings.wallet_dir
    if folder is None:
        return []
    if not folder.is_dir():
        hint = "Make it, or correct WALLET_DIR; it is the processes' --wallet-dir."
        return [Finding(Level.ERROR, "WALLET_DIR", f"{folder} is no folder", hint)]
    if folder.stat().st_mode & 0o077:
        return [Finding(Level.WARNING, "WALLET_DIR", f"{folder} may be read by others", f"chmod 700 {folder}")]
    return [Finding(Level.OK, "WALLET_DIR", str(folder))]
