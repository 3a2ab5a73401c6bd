"""Many deadlines, one timer: a crowd that waits for slots costs no task each.

What is called must not await. Deadlines that were met by something else are put away in passing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from monero_escrow.clock import Clock

_FEW = 64


@dataclass(slots=True, order=True)
class Deadline:
    """`call` is called when the monotonic clock reaches `at`, unless it was cancelled before."""

    at: float
    number: int
    call: Callable[[], None] | None = field(compare=False)


class Deadlines:
    """The deadlines of one owner, who calls `aclose` in the end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[Deadline] = []
        self._cancelled = 0
        self._numbers = itertools.count()
        self._timer: asyncio.Task[None] | None = None
        self._wakes_at = 0.0

    def add(self, seconds: float, call: Callable[[], None]) -> Deadline:
        """Call this in so many seconds."""
        deadline = Deadline(self._clock.monotonic() + seconds, next(self._numbers), call)
        heapq.heappush(self._heap, deadline)
        if self._timer is None or self._timer.done() or deadline.at < self._wakes_at:
            self._set_timer(deadline.at)
        return deadline

    def cancel(self, deadline: Deadline) -> None:
        """It is not needed any more."""
        if deadline.call is None:
            return
        deadline.call = None
        self._cancelled += 1
        if self._cancelled > _FEW and 2 * self._cancelled > len(self._heap):
            self._heap = [kept for kept in self._heap if kept.call is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = at
        self._timer = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while self._heap:
            self._wakes_at = self._heap[0].at
            await self._clock.sleep(max(0.0, self._wakes_at - self._clock.monotonic()))
            while self._heap and self._heap[0].at <= self._clock.monotonic():
                due = heapq.heappop(self._heap)
                call, due.call = due.call, None
                if call is None:
                    self._cancelled -= 1
                else:
                    call()

    async def aclose(self) -> None:
        """Nothing is called any more."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.wait([self._timer])
