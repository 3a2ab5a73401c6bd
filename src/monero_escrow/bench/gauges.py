"""What the kernel knows of a process: the CPU it used and the memory it holds. Linux only, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME = 11, 12


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes together. One that has ended counts no more."""
    return sum(_ticks(pid) for pid in pids) / _TICKS_A_SECOND


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[_UTIME]) + int(fields[_STIME])


def busy_seconds() -> float:
    """The time all cores together did not idle since the machine started, whoever used it (/proc/stat)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / _TICKS_A_SECOND


def resident_bytes(pid: int) -> int:
    """The memory it holds in RAM, shared libraries included; 0 if it has ended."""
    return _status_bytes(pid, "VmRSS")


def most_resident_bytes(pid: int) -> int:
    """The most it ever held; 0 if it has ended."""
    return _status_bytes(pid, "VmHWM")


def _status_bytes(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
