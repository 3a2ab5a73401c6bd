"""What can happen to a call on its way: lost, late, or the process dies of it. The caller's plan decides, per call.

A plan is asked twice a call: when it arrives, before anything ran, and when its answer is about to leave, after it took
effect. It may wait in between on its own clock, which makes a call slow; if the process is killed or the caller gives
up meanwhile, the call is lost at that very place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """Where on its way a call is."""

    ARRIVING = "arriving"
    ANSWERING = "answering"


class Fault(Enum):
    """What happens to the call there.

    `LOST` gives the caller no answer: the call never runs (arriving), or has run (answering). `LATE` is for arriving
    only: no answer either, and the call runs at `run_late_calls`, whatever wallet is open by then. `KILL` kills the
    process. `UNREACHABLE` is for arriving only: nobody listens, and the caller knows that nothing was sent.
    """

    NONE = "none"
    LOST = "lost"
    LATE = "late"
    KILL = "kill"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Moment:
    """One of the two times a plan is asked about a call."""

    url: str
    method: str
    phase: Phase


FaultPlan = Callable[[Moment], Awaitable[Fault]]


async def no_faults(_moment: Moment) -> Fault:
    """The plan of a quiet day."""
    return Fault.NONE
