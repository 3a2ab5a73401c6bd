"""What a run says: a line now and then while it lasts, and figures at the end (shown with `-s`)."""

from __future__ import annotations

import sys
import time

_SECONDS_BETWEEN_LINES = 2.0
_last = [0.0]


def say(line: str, *, often: bool = False) -> None:
    """A line; of those that come `often`, no more than one in two seconds, each in the place of the one before."""
    now = time.monotonic()
    if often and now - _last[0] < _SECONDS_BETWEEN_LINES:
        return
    _last[0] = now
    on_the_spot = often and sys.stdout.isatty()
    sys.stdout.write(f"\r\x1b[K{line}" if on_the_spot else f"{line}\n")
    sys.stdout.flush()


def bound(tries: int) -> str:
    """What no failure in so many tries shows: with 95 of 100 chances, a rate below about 3/N."""
    return f"no failure in {tries} tries shows a rate below about {3 / tries:.1e}" if tries else "nothing was tried"
