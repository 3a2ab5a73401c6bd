"""How much memory the local fleet may use, and whether the sizes that are set fit into it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from monero_escrow.config import Settings, SettingsError
from monero_escrow.core.roles import ROLES

SLOT_BYTES: Final = 40 << 20
"""What a process has in memory after an escrow, as measured (0.18.5.3; an idle one 37 MiB)."""
TRIO_BYTES: Final = len(ROLES) * SLOT_BYTES

_CGROUP_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_memory_bytes() -> int:
    """The memory of this machine, or of the container the service runs in."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):
            sizes.append(int(Path(file).read_text()))
    return min(sizes)


def fleet_memory_bytes(settings: Settings) -> int:
    """What all managed processes together may use: FLEET_MEMORY_MAX, or half of the machine's."""
    return settings.fleet_memory_max or machine_memory_bytes() // 2


def require_enough_memory(settings: Settings) -> None:
    """Raises SettingsError if the trios that are always kept, or the most that were asked for, cannot all be had."""
    allowed, there = fleet_memory_bytes(settings), machine_memory_bytes()
    if allowed > there:
        raise SettingsError(
            f"FLEET_MEMORY_MAX is {_shown(allowed)}, more than the {_shown(there)} this machine has.",
            what_to_do="Set it to less, or leave it out: then it is half of the machine's.",
        )
    sizes = {"FLEET_MIN_TRIOS": settings.fleet_min_trios}
    if "fleet_max_trios" in settings.model_fields_set:
        sizes["FLEET_MAX_TRIOS"] = settings.fleet_max_trios
    for name, trios in sizes.items():
        needed = trios * TRIO_BYTES
        if needed > allowed:
            raise SettingsError(
                f"{name} is {trios}: so many processes use about {_shown(needed)}, and {_shown(allowed)} are allowed.",
                what_to_do=f"Set {name} to at most {allowed // TRIO_BYTES}, or FLEET_MEMORY_MAX to more.",
            )


def _shown(size_bytes: int) -> str:
    """For people: "120 MiB", "11.8 GiB"."""
    return f"{size_bytes / (1 << 30):.1f} GiB" if size_bytes >= 1 << 30 else f"{size_bytes / (1 << 20):.0f} MiB"
