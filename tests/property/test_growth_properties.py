"""Growth for all loads and all histories: no bound is ever broken, and steady load leaves the fleet as it is."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from monero_escrow.core.growth import ClassLoad, ClassState, GrowthLimits, Memory, decide
from monero_escrow.core.roles import ROLES, Role
from unit.fleet_model import LIMITS, MIB, SLOT_BYTES, Trios

quick = settings(deadline=None, max_examples=300)
slow = settings(deadline=None, max_examples=15)

limits = st.builds(
    lambda least, more, memory_slots, quiet, cores: GrowthLimits(
        least, least + more, memory_slots * SLOT_BYTES, quiet, cores
    ),
    st.integers(0, 5),
    st.integers(0, 10),
    st.integers(0, 60),
    st.floats(0, 1000),
    st.integers(1, 64),
)


@st.composite
def class_states(draw: st.DrawFn) -> ClassState:
    """Any state, also one that no good history leads to."""
    managed, static = draw(st.integers(0, 20)), draw(st.integers(0, 5))
    slots = managed + static
    usable = draw(st.integers(0, slots))
    waiting = draw(st.integers(0, 60))
    load = ClassLoad(slots, draw(st.integers(0, usable)), usable, waiting, draw(st.floats(0, 900)) if waiting else 0.0)
    return ClassState(
        load,
        managed,
        starting=draw(st.integers(0, 6)),
        utilisation=draw(st.none() | st.floats(0, 1)),
        turnover_per_second=draw(st.floats(0, 20)),
        quiet_seconds=draw(st.floats(0, 2000)),
    )


fleets = st.fixed_dictionaries({role: class_states() for role in ROLES})


@quick
@given(fleets, limits, st.integers(0, 4000), st.integers(1, 200))
def test_whatever_was_before_no_bound_is_broken_by_what_is_decided(
    classes: dict[Role, ClassState], bounds: GrowthLimits, used_mib: int, slot_mib: int
) -> None:
    memory = Memory(used_mib * MIB, slot_mib * MIB)
    found = decide(classes, bounds, memory)

    starting = sum(state.starting for state in classes.values())
    for role, state in classes.items():
        grown, shrunk = found.grow.count(role), found.shrink.count(role)
        assert not (grown and shrunk), "one at a time"
        assert grown == 0 or state.coming + grown <= bounds.max_trios
        assert shrunk == 0 or state.managed - shrunk >= bounds.min_trios
        assert shrunk <= 1
        assert role not in found.denied or found.reason
    if found.grow:
        assert starting + len(found.grow) <= bounds.starts_at_once
        assert memory.used_bytes + (starting + len(found.grow)) * memory.per_slot_bytes <= bounds.memory_max_bytes
    assert bool(found.reason) == bool(found.grow or found.shrink or found.denied)


@quick
@given(fleets, limits)
def test_a_class_that_may_grow_and_lacks_its_least_grows(classes: dict[Role, ClassState], bounds: GrowthLimits) -> None:
    ample = replace(bounds, memory_max_bytes=1 << 50)
    still = {role: replace(state, starting=0) for role, state in classes.items()}
    found = decide(still, ample, Memory(0, SLOT_BYTES))

    lacking = [role for role, state in still.items() if state.managed < bounds.min_trios]
    assert set(lacking) <= set(found.grow)


@quick
@given(fleets, limits)
def test_only_a_quiet_class_shrinks_unless_a_bound_says_so(
    classes: dict[Role, ClassState], bounds: GrowthLimits
) -> None:
    ample = replace(bounds, memory_max_bytes=1 << 50)
    for role in decide(classes, ample, Memory(0, SLOT_BYTES)).shrink:
        state = classes[role]
        over = state.managed > bounds.max_trios
        assert over or (state.quiet_seconds >= bounds.quiet_seconds and state.load.waiting == 0)


HOUR = 3600.0
MANY_CORES = replace(LIMITS, cores=64, quiet_seconds=120)


@st.composite
def storms(draw: st.DrawFn) -> list[float]:
    """Orders in bursts and lulls over half an hour."""
    times: list[float] = []
    for at in draw(st.lists(st.integers(0, 1799), max_size=8)):
        times += [float(at)] * draw(st.integers(1, 60))
    return sorted(times)


@slow
@given(storms(), st.integers(1, 3), st.integers(0, 6), st.integers(1, 16), st.integers(1, 10))
def test_through_any_storm_the_fleet_stays_within_its_bounds_and_serves_everybody(
    arrivals: list[float], least: int, more: int, cores: int, memory_trios: int
) -> None:
    memory_trios = max(memory_trios, least)
    bounds = replace(
        LIMITS,
        min_trios=least,
        max_trios=least + more,
        cores=cores,
        memory_max_bytes=memory_trios * len(ROLES) * SLOT_BYTES,
        quiet_seconds=120,
    )
    fleet = Trios(bounds)
    fleet.run(arrivals, 0.5 * HOUR)
    while fleet.ended < len(arrivals):
        fleet.run([], fleet.now + 60)
    fleet.run([], fleet.now + bounds.quiet_seconds + 70 * more)

    for _, size in fleet.sizes:
        assert least <= size <= min(least + more, memory_trios)
    assert fleet.size == least, "everything is quiet in the end"


@slow
@example(busy_slots=0.75, service_seconds=17.0)
@given(st.floats(0.05, 12), st.floats(0.3, 20))
def test_under_steady_load_the_fleet_finds_its_size_and_keeps_it(busy_slots: float, service_seconds: float) -> None:
    """An order every so many seconds to the end, so that `busy_slots` are needed on average."""
    every = service_seconds / busy_slots
    fleet = Trios(MANY_CORES, service_seconds=service_seconds, shares_cores=False)
    fleet.run((number * every for number in range(math.ceil(HOUR / every))), HOUR)

    assert [at for at, _ in fleet.sizes if at > 0.8 * HOUR] == []


@slow
@given(st.integers(0, 1 << 32), st.floats(0.2, 6))
def test_under_random_load_of_one_rate_nothing_is_taken_away_as_soon_as_it_was_given(
    seed: int, busy_slots: float
) -> None:
    """Chance alone brings bunches of orders, and each may ask for a slot."""
    random, at, arrivals = Random(seed), 0.0, list[float]()
    while at < HOUR:
        at += random.expovariate(busy_slots / 4.0)
        arrivals.append(at)
    fleet = Trios(MANY_CORES, shares_cores=False)
    fleet.run(arrivals, HOUR)

    steps = [(at, after - before) for (_, before), (at, after) in pairwise([(0.0, 1), *fleet.sizes])]
    ups, downs = [at for at, step in steps if step > 0], [at for at, step in steps if step < 0]
    assert not any(up <= down < up + MANY_CORES.quiet_seconds for up in ups for down in downs)
