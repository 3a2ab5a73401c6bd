"""What a run was made on: without it a figure says nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monero_escrow import __version__


@dataclass(frozen=True, slots=True)
class Machine:
    """The computer and the versions. `load` is how many programs wanted a core in the minute before the run."""

    cores: int
    cpu: str
    memory_bytes: int
    system: str
    python: str
    monero: tuple[str, ...]
    monero_escrow: str
    load: float


def this_machine(monero_versions: Sequence[str] = ()) -> Machine:
    """The one we run on, as its kernel describes it."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu=_cpu_model() or platform.machine(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=_system(),
        python=platform.python_version(),
        monero=tuple(monero_versions),
        monero_escrow=__version__,
        load=round(os.getloadavg()[0], 2),
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
