"""No memory of ours in a file: a core dump would have the database's key in it, and spend keys.

Two things, because each leaves something out. RLIMIT_CORE 0 is inherited by the wallet processes, but the kernel does
not ask it when cores go to a program (core_pattern with a `|`). PR_SET_DUMPABLE 0 stops those too, and with them
other processes of the same user that would read our memory (ptrace, /proc/PID/mem); a new program loses it, so it is
the wallet processes' limit alone that counts for them, and systemd-coredump honours it.
"""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def forbid_core_dumps() -> None:
    """For this process, until it ends, and what it starts. Where the system has no such thing, it is left as it is."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
