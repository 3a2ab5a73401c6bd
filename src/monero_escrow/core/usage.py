"""How a role class was used lately, from looks at its load: what `core/growth.py` decides by.

Fed with one look after another; the time between two looks counts as the earlier of them showed it. Utilisation starts
anew whenever the class gets another size: what a smaller class suffered says nothing of the larger one. How many slots
were needed at once does not depend on the size, and is remembered.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from monero_escrow.core.growth import ClassLoad

WINDOW_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Span:
    """The time between two looks, and the slot-seconds in it."""

    until: float
    seconds: float
    leased_seconds: float
    usable_seconds: float
    ended: int


class Usage:
    """Of one class. Times are of a monotonic clock, in seconds."""

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._spans: deque[_Span] = deque()
        self._last: ClassLoad | None = None
        self._looked_at = 0.0
        self._since = 0.0
        self._needed_at: dict[int, float] = {}

    def look(self, now: float, load: ClassLoad, leases_ended: int) -> None:
        """Take note of the load at `now`, and of how many leases of the class have ended since the look before."""
        if self._last is None or load.slots != self._last.slots:
            self._spans.clear()
            self._since = now
            if self._last is None or load.slots > self._last.slots:
                self._needed_at[load.slots] = now  # or it would not have grown
        else:
            seconds, last = now - self._looked_at, self._last
            self._spans.append(_Span(now, seconds, last.leased * seconds, last.usable * seconds, leases_ended))
            while now - self._spans[0].until >= self._window_seconds:
                self._spans.popleft()
        self._needed_at[load.leased + load.waiting] = now
        self._last, self._looked_at = load, now

    @property
    def utilisation(self) -> float | None:
        """How much of their time the usable slots were leased in the last window; None before there was a whole one."""
        usable_seconds = sum(span.usable_seconds for span in self._spans)
        if self._looked_at - self._since < self._window_seconds or usable_seconds <= 0:
            return None
        return sum(span.leased_seconds for span in self._spans) / usable_seconds

    @property
    def turnover_per_second(self) -> float:
        """How many leases ended in a second, over the last window or as far back as there are looks."""
        seconds = sum(span.seconds for span in self._spans)
        return sum(span.ended for span in self._spans) / seconds if seconds > 0 else 0.0

    def quiet_seconds(self, slots: int) -> float:
        """How long fewer than so many slots were needed at once, as far as the looks show."""
        return self._looked_at - max((at for needed, at in self._needed_at.items() if needed >= slots), default=0.0)
