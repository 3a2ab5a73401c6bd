"""Wallet-rpc processes of ours that outlived the service that had started them: found, and ended.

A process of the fleet is started with a configuration file of its own, in a folder with a random name in the fleet's
folder, and that path stands on its command line for as long as it lives. So /proc tells which processes are ours, also
when nothing was written down about them, and none that merely has the same name, number or path is ever touched
(docs/decisions/0018-an-orphan-is-known-by-its-configuration.md). Whoever calls this holds the lock of the data folder:
no other service of the same folder runs.

Without /proc (it is Linux's) no orphan is found.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from monero_escrow.monero.waiting import until

log = structlog.get_logger(__name__)

CONFIG_NAME: Final = "wallet-rpc.conf"
"""What the file is called; the folder around it has the random name."""

_PROCESS_FOLDERS: Final = "*/process-*"
_END_LIMIT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class FleetProcess:
    """A process that was started with this configuration file, whoever did it."""

    pid: int
    config: Path


def processes_of(folder: Path) -> list[FleetProcess]:
    """Every process that was started from this folder, whatever path it knows it by.

    The random name decides: it is found in this folder on this disk, and in no other that merely has the same path (in
    a container, say).
    """
    ours = {path.name for path in folder.glob(_PROCESS_FOLDERS)}
    if not ours:
        return []
    return [process for process in _with_a_configuration() if process.config.parent.name in ours]


async def end_orphans(folder: Path) -> int:
    """End every process of this folder: how many there were. One that cannot be ended is told of in the log.

    They are killed, not asked: what they were doing, nobody waits for any more, and the database can make it again.
    """
    orphans = processes_of(folder)
    for orphan in orphans:
        log.warning("orphan", pid=orphan.pid, process=orphan.config.parent.name, reason="from an earlier run; ended")
    await asyncio.gather(*(_end(orphan) for orphan in orphans))
    return len(orphans)


async def _end(orphan: FleetProcess) -> None:
    try:
        await _kill(orphan)
    except ProcessLookupError:
        return  # it has ended by itself
    except OSError as error:  # a time that is up is one, too
        log.error("orphan_stays", pid=orphan.pid, reason=str(error) or "it does not end")  # noqa: TRY400


async def _kill(orphan: FleetProcess) -> None:
    """Kill exactly this process: its handle is taken first and its command line read once more, so that its number
    cannot have become another's in between. Raises OSError, and TimeoutError when it does not end.
    """

    async def gone() -> bool:
        return _configuration_of(orphan.pid) != orphan.config

    handle = os.pidfd_open(orphan.pid)
    try:
        if not await gone():
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            await until(gone, limit_seconds=_END_LIMIT_SECONDS)
    finally:
        os.close(handle)


def _with_a_configuration() -> Iterator[FleetProcess]:
    """All processes that were started with a configuration file of our name."""
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if (config := _configuration_of(pid)) is not None:
            yield FleetProcess(pid, config)


def _configuration_of(pid: int) -> Path | None:
    """The configuration file of our name with which a process was started. One that has ended has none."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"--config-file" in words[:-1]:
            config = Path(os.fsdecode(words[words.index(b"--config-file") + 1]))
            if config.name == CONFIG_NAME:
                return config
    return None
