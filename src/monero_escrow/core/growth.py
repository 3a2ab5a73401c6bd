"""How large the local fleet should be: the decision, apart from the starting and stopping.

A class grows when work waits for it and will not be served soon by slots that come back, and when its slots were busy
for more than `GROW_ABOVE` of the time. It shrinks when for a quiet time one slot fewer would have done, and that
smaller class would have been busy for no more than `SHRINK_BELOW`: what is taken away is not missed a moment later.

A spike is no reason to start a trio an order. Wallet work keeps a core busy, so that beyond about two processes a core
more of them only share the same time (the reasoning, and the formula, of HikariCP's "About Pool Sizing"). A queue
alone therefore lets a class grow no further than `spike_slots`; from there on only lasting use does, a slot a window.
And a process takes its time to start: those whom slots that come back will have served by then need none (as
HikariCP counts who still waits before each connection it makes).

Nothing here starts anything: `fleet/supervisor.py` looks, asks, acts and keeps the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from monero_escrow.core.roles import ROLES, Role

GROW_ABOVE: Final = 0.8
SHRINK_BELOW: Final = 0.7
WAIT_SECONDS: Final = 1.0
"""Who waits less is no sign of anything: most work is over in seconds."""


@dataclass(frozen=True, slots=True)
class ClassLoad:
    """How the slots of one role class stand this moment. Draining slots are in none of the numbers.

    `slots`: all of them; `leased`: those that somebody holds; `usable`: those that serve, leased or free, so neither
    sick nor resting; `waiting`: how many requests for the class are not served yet; `longest_wait_seconds`: how long
    the first of those waits, 0 if nobody does.
    """

    slots: int
    leased: int
    usable: int
    waiting: int
    longest_wait_seconds: float


@dataclass(frozen=True, slots=True)
class ClassState:
    """What the decision knows of one class: its load, the managed part of it, and how it was used lately.

    `managed`: slots whose processes we started, draining ones not counted; `starting`: more of them on the way.
    `utilisation`: how much of their time the usable slots were leased in the last window, 0 to 1; None until the class
    has had its present size for a whole window. `turnover_per_second`: how many of its leases ended in a second.
    `quiet_seconds`: how long one usable slot fewer would have served everybody. `draining`: managed slots on their way
    out.
    """

    load: ClassLoad
    managed: int
    starting: int = 0
    utilisation: float | None = None
    turnover_per_second: float = 0.0
    quiet_seconds: float = 0.0
    draining: int = 0

    @property
    def coming(self) -> int:
        """How many managed slots there are as soon as everything that starts has started."""
        return self.managed + self.starting

    @property
    def short_by(self) -> int:
        """How many of those that wait are served neither by a free slot nor by one that is being started."""
        return max(0, self.load.waiting - (self.load.usable - self.load.leased) - self.starting)


@dataclass(frozen=True, slots=True)
class GrowthLimits:
    """What the operator allows, and what the machine is. `min_trios` and `max_trios` bound each class's managed slots.

    `start_seconds`: how long a process takes from its start to its first lease, as measured.
    """

    min_trios: int
    max_trios: int
    memory_max_bytes: int
    quiet_seconds: float
    cores: int
    start_seconds: float = 2.0

    @property
    def starts_at_once(self) -> int:
        """How many processes start side by side: whole trios, one for two cores, which is what a trio at work uses."""
        return len(ROLES) * max(1, self.cores // 2)

    @property
    def spike_slots(self) -> int:
        """How far a queue alone lets a class grow: two processes a core and one more, over the three classes."""
        return -(-(2 * self.cores + 1) // len(ROLES))


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: what the managed processes use, how much of that goes with those that drain, and what one more needs."""

    used_bytes: int
    per_slot_bytes: int
    draining_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """One slot more for each role in `grow` (a role may stand there twice), one fewer for each in `shrink`.

    `denied`: the classes that should be larger and cannot be. `reason` says why in each case; it is empty when the
    fleet is as it should be.
    """

    grow: tuple[Role, ...] = ()
    shrink: tuple[Role, ...] = ()
    reason: str = ""
    denied: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True)
class _Wish:
    """So many slots more of a class, why, and what stands in the way of more. `least`: without them it has too few."""

    slots: int = 0
    reason: str = ""
    hindrance: str = ""
    least: bool = False


def decide(classes: Mapping[Role, ClassState], limits: GrowthLimits, memory: Memory) -> Decision:
    """What to start and what to stop now. Every bound holds after it: least, most, memory, and starts side by side.

    Example: one trio, fifty orders that have waited 1.2 s, four cores: two buyers, two vendors and two arbiters more.
    """
    wishes = {role: _wish(state, limits) for role, state in classes.items()}
    starting = sum(state.starting for state in classes.values())
    memory_room = _memory_room(memory, starting, limits)
    grow = _deal(wishes, min(memory_room, limits.starts_at_once - starting))
    shrink = {role: why for role, state in classes.items() if (why := _why_smaller(state, limits)) is not None}
    if not shrink and (over := _over_memory(classes, limits, memory)) is not None:
        shrink = over
    reasons = [f"{role} +{grow.count(role)}: {wishes[role].reason}" for role in ROLES if role in grow]
    reasons += [f"{role} -1: {why}" for role, why in shrink.items()]
    denied = {
        role: wish.hindrance or f"FLEET_MEMORY_MAX is {_mib(limits.memory_max_bytes)}"
        for role, wish in wishes.items()
        if wish.hindrance or (grow.count(role) < wish.slots and len(grow) == memory_room)
    }
    reasons += [f"{role} stays although {wishes[role].reason}: {hindrance}" for role, hindrance in denied.items()]
    return Decision(grow, tuple(shrink), "; ".join(reasons), tuple(denied))


def _wish(state: ClassState, limits: GrowthLimits) -> _Wish:
    """What the class would get if there were memory for everybody, and processes started in no time."""
    missing = limits.min_trios - state.coming
    if missing > 0:
        return _Wish(missing, f"{state.coming} of at least {limits.min_trios} are there", least=True)
    unserved = _unserved(state, limits)
    busy = state.utilisation is not None and state.utilisation > GROW_ABOVE and state.starting == 0
    if not unserved and not busy:
        return _Wish()
    reason = _queue(state) if unserved else f"it was in use for {state.utilisation:.0%} of the time"
    if state.coming >= limits.max_trios:
        return _Wish(0, reason, f"there are {state.coming}, and {limits.max_trios} are allowed")
    wanted = min(unserved, limits.spike_slots - state.coming)
    if wanted <= 0 and not busy:
        hindrance = (
            f"more than {limits.spike_slots} only share the {limits.cores} cores, unless they are lastingly used"
        )
        return _Wish(0, reason, hindrance)
    return _Wish(min(max(wanted, 1), limits.max_trios - state.coming), reason)


def _unserved(state: ClassState, limits: GrowthLimits) -> int:
    """How many wait in earnest, and will not have been served by slots that come back before a new one is ready."""
    if state.load.longest_wait_seconds < WAIT_SECONDS:
        return 0
    return max(0, state.short_by - int(state.turnover_per_second * limits.start_seconds))


def _queue(state: ClassState) -> str:
    return f"{state.load.waiting} wait, the first for {state.load.longest_wait_seconds:.0f} s"


def _why_smaller(state: ClassState, limits: GrowthLimits) -> str | None:
    """Why the class can do without one of its managed slots, or None."""
    if state.managed <= limits.min_trios or state.starting or state.draining:
        return None  # one step at a time
    if state.managed > limits.max_trios:
        return f"no more than {limits.max_trios} are allowed"
    left = state.load.usable - 1
    if left < 1 or state.load.waiting or state.utilisation is None or state.quiet_seconds < limits.quiet_seconds:
        return None
    if state.utilisation * state.load.usable > SHRINK_BELOW * left:
        return None
    return f"{left} would have been enough for {state.quiet_seconds:.0f} s"


def _over_memory(classes: Mapping[Role, ClassState], limits: GrowthLimits, memory: Memory) -> dict[Role, str] | None:
    """The largest class gives one up when the processes have grown beyond what is allowed."""
    if memory.used_bytes - memory.draining_bytes <= limits.memory_max_bytes:
        return None
    larger = [role for role, state in classes.items() if state.managed > limits.min_trios]
    if not larger:
        return None
    largest = max(larger, key=lambda role: classes[role].managed)
    return {largest: f"{_mib(memory.used_bytes)} are used, and {_mib(limits.memory_max_bytes)} allowed"}


def _memory_room(memory: Memory, starting: int, limits: GrowthLimits) -> int:
    """How many processes more there is memory for, those on the way counted as if they used none yet."""
    free = limits.memory_max_bytes - memory.used_bytes
    return max(0, free // max(1, memory.per_slot_bytes) - starting)


def _deal(wishes: Mapping[Role, _Wish], room: int) -> tuple[Role, ...]:
    """One to each class in turn, those below their least first, as long as there is room."""
    left = {role: wish.slots for role, wish in sorted(wishes.items(), key=lambda item: not item[1].least)}
    dealt: list[Role] = []
    while len(dealt) < room and any(left.values()):
        for role in [role for role, slots in left.items() if slots]:
            if len(dealt) < room:
                dealt.append(role)
                left[role] -= 1
    return tuple(dealt)


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.0f} MiB"
