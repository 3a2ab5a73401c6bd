"""How long to wait before a step that failed is tried again: longer each time, up to a bound."""

from __future__ import annotations

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
_MOST_DOUBLINGS = 9


def pause_seconds(failures: int) -> float:
    """The pause after so many failures in a row before this one: 1, 2, 4 … 300 seconds."""
    return min(FIRST_PAUSE_SECONDS * (1 << min(failures, _MOST_DOUBLINGS)), LONGEST_PAUSE_SECONDS)
