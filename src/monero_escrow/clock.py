"""Time as the service sees it: a port, so that a simulation can bring its own."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for people and deadlines, a monotonic one for leases and durations, and waiting."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; ends early only by cancellation."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)  # it goes on while the machine sleeps, and so do others' leases

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
