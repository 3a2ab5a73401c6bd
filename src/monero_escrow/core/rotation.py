"""Which process of the local fleet is replaced next by one with fresh credentials: the decision, apart from the doing.

One at a time in the whole fleet, and none while any process starts or is on its way out: so a class never has two on
their way, whatever happens to the others meanwhile. What nobody holds goes first; one that is always held goes when no
other is due, and is given back before it ends.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Standing:
    """One process: how long it has had its credentials, and whether somebody holds it or it is on its way out."""

    age_seconds: float
    leased: bool = False
    draining: bool = False


def next_to_rotate(processes: Mapping[S, Standing], *, every_seconds: float, starting: int) -> S | None:
    """The one to replace now, or None. `every_seconds` 0: never. `starting`: processes that are on their way.

    Example: of an idle one of 25 h, a leased one of 26 h and an idle one of 23 h, with 24 h, the first.
    """
    if every_seconds <= 0 or starting or any(standing.draining for standing in processes.values()):
        return None
    due = {process: standing for process, standing in processes.items() if standing.age_seconds >= every_seconds}
    return min(due, key=lambda process: (due[process].leased, -due[process].age_seconds), default=None)
