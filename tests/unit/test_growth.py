"""When the fleet grows and when it shrinks, by how much, and what it says when it cannot."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise

import pytest

from monero_escrow.core.growth import ClassLoad, ClassState, Decision, GrowthLimits, Memory, decide
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.core.usage import WINDOW_SECONDS, Usage
from unit.fleet_model import (
    LIMITS,
    MIB,
    SLOT_BYTES,
    Trios,
    served_after,
    with_trios_from_the_start,
)

AMPLE = Memory(used_bytes=0, per_slot_bytes=SLOT_BYTES)
FOUR_CORES = replace(LIMITS, cores=4)


def idle(slots: int) -> ClassState:
    return ClassState(ClassLoad(slots, 0, slots, 0, 0), managed=slots)


def queued(slots: int, waiting: int, longest_wait_seconds: float = 1.5) -> ClassState:
    """Every slot is leased, and so many wait."""
    return ClassState(ClassLoad(slots, slots, slots, waiting, longest_wait_seconds), managed=slots)


def used(slots: int, utilisation: float, *, quiet_seconds: float = 0) -> ClassState:
    load = ClassLoad(slots, 0, slots, 0, 0)
    return ClassState(load, managed=slots, utilisation=utilisation, quiet_seconds=quiet_seconds)


def decision(
    buyers: ClassState, limits: GrowthLimits = LIMITS, memory: Memory = AMPLE, *, others: ClassState | None = None
) -> Decision:
    others = others or idle(buyers.managed or limits.min_trios)
    return decide({Role.BUYER: buyers, Role.VENDOR: others, Role.ARBITER: others}, limits, memory)


# Growing


def test_a_class_below_its_least_is_filled_up_without_anybody_waiting() -> None:
    found = decision(idle(0), replace(FOUR_CORES, min_trios=2), others=idle(2))
    assert found.grow == (Role.BUYER, Role.BUYER)
    assert "0 of at least 2" in found.reason


def test_what_is_being_started_is_not_started_twice() -> None:
    assert decision(replace(idle(0), starting=1)).grow == ()


def test_a_class_grows_when_somebody_waits_and_the_others_do_not() -> None:
    found = decision(queued(1, waiting=1))
    assert found.grow == (Role.BUYER,)
    assert "1 wait, the first for 2 s" in found.reason


def test_a_wait_of_a_moment_is_no_reason() -> None:
    assert decision(queued(1, waiting=9, longest_wait_seconds=0.9)) == Decision()


def test_who_waits_for_another_class_does_not_make_this_one_larger() -> None:
    """A trio waits in all three classes, and lacks only the buyer."""
    waits_elsewhere = ClassState(ClassLoad(1, 0, 1, 1, 5.0), managed=1)
    assert decision(queued(1, waiting=1), others=waits_elsewhere).grow == (Role.BUYER,)


def test_those_whom_returning_slots_serve_before_a_process_has_started_need_no_new_one() -> None:
    quick_looks = replace(queued(1, waiting=4), turnover_per_second=3.0)
    assert decision(quick_looks, FOUR_CORES) == Decision()
    assert decision(replace(quick_looks, turnover_per_second=1.5), FOUR_CORES).grow == (Role.BUYER,)


@pytest.mark.parametrize(("utilisation", "grows"), [(0.80, False), (0.81, True)])
def test_a_class_grows_by_one_when_it_was_in_use_for_more_than_four_fifths_of_the_time(
    utilisation: float, grows: bool
) -> None:
    assert decision(used(10, utilisation)).grow == (Role.BUYER,) * grows


def test_lasting_use_adds_no_second_slot_before_the_first_has_started() -> None:
    assert decision(replace(used(3, 1.0), starting=1)).grow == ()


# What bounds it


def test_no_more_processes_start_side_by_side_than_a_trio_for_two_cores() -> None:
    waiting = queued(1, waiting=50)
    assert len(decision(waiting, LIMITS, others=waiting).grow) == 3
    assert len(decision(waiting, FOUR_CORES, others=waiting).grow) == 6
    assert decision(replace(waiting, starting=1), LIMITS, others=replace(waiting, starting=1)).grow == ()


def test_a_queue_alone_asks_for_no_more_than_the_cores_can_carry_and_says_so() -> None:
    assert LIMITS.spike_slots == 2
    found = decision(queued(2, waiting=50))
    assert found.grow == ()
    assert found.denied == (Role.BUYER,)
    assert "only share the 2 cores" in found.reason


def test_lasting_use_goes_beyond_it_a_slot_at_a_time() -> None:
    assert decision(replace(queued(2, waiting=50), utilisation=1.0)).grow == (Role.BUYER,)


def test_the_most_that_is_allowed_is_the_most_there_is_and_that_is_said() -> None:
    found = decision(queued(1, waiting=2), replace(LIMITS, max_trios=1))
    assert found.grow == ()
    assert found.denied == (Role.BUYER,)
    assert "there are 1, and 1 are allowed" in found.reason


def test_memory_bounds_it_and_that_is_said() -> None:
    waiting = queued(1, waiting=5)
    full = Memory(used_bytes=3 * SLOT_BYTES, per_slot_bytes=SLOT_BYTES)
    limits = replace(LIMITS, memory_max_bytes=5 * SLOT_BYTES)
    found = decision(waiting, limits, full, others=waiting)
    assert found.grow == (Role.BUYER, Role.VENDOR)
    assert found.denied == (Role.ARBITER,)
    assert "FLEET_MEMORY_MAX is 200 MiB" in found.reason


def test_not_even_the_least_is_a_reason_to_use_more_memory_than_allowed() -> None:
    found = decision(idle(0), replace(LIMITS, memory_max_bytes=10 * MIB), others=idle(0))
    assert found.grow == ()
    assert set(found.denied) == set(ROLES)


def test_a_class_below_its_least_goes_before_one_whose_queue_is_long() -> None:
    limits = replace(LIMITS, memory_max_bytes=SLOT_BYTES)
    assert decision(queued(1, waiting=9), limits, others=idle(0)).grow == (Role.VENDOR,)


# Shrinking


def test_a_class_shrinks_by_one_after_the_quiet_time_and_not_before() -> None:
    assert decision(used(4, 0.1, quiet_seconds=599)) == Decision()
    found = decision(used(4, 0.1, quiet_seconds=600))
    assert found.shrink == (Role.BUYER,)
    assert "3 would have been enough for 600 s" in found.reason


def test_a_class_never_shrinks_below_its_least() -> None:
    assert decision(used(1, 0.0, quiet_seconds=9999)) == Decision()


@pytest.mark.parametrize(("utilisation", "shrinks"), [(0.52, True), (0.53, False)])
def test_a_class_whose_smaller_size_would_be_in_use_for_more_than_seven_tenths_stays(
    utilisation: float, shrinks: bool
) -> None:
    """Four slots at 0.525 are three at 0.7."""
    assert decision(used(4, utilisation, quiet_seconds=600)).shrink == (Role.BUYER,) * shrinks


def test_what_one_slot_fewer_carries_below_seven_tenths_does_not_make_it_grow_again() -> None:
    for slots in range(2, 30):
        for percent in range(100):
            before = used(slots, percent / 100, quiet_seconds=600)
            if decision(before).shrink:
                after = used(slots - 1, percent / 100 * slots / (slots - 1))
                assert decision(after, replace(LIMITS, min_trios=1)).grow == ()


def test_a_class_does_not_shrink_while_somebody_waits_or_something_starts_or_drains() -> None:
    quiet = used(4, 0.1, quiet_seconds=600)
    assert decision(replace(quiet, starting=1)).shrink == ()
    assert decision(replace(quiet, draining=1)).shrink == ()
    assert decision(replace(quiet, load=ClassLoad(4, 1, 4, 1, 0.1))).shrink == ()


def test_when_less_is_allowed_than_there_is_a_class_shrinks_at_once() -> None:
    found = decision(used(4, 1.0), replace(LIMITS, max_trios=2), others=idle(2))
    assert found.shrink == (Role.BUYER,)
    assert found.grow == ()


def test_when_the_processes_have_grown_beyond_the_memory_the_largest_class_gives_one_up() -> None:
    limits = replace(LIMITS, memory_max_bytes=100 * MIB)
    found = decision(idle(4), limits, Memory(200 * MIB, SLOT_BYTES), others=idle(2))
    assert found.shrink == (Role.BUYER,)
    assert "200 MiB are used, and 100 MiB allowed" in found.reason
    drains = Memory(200 * MIB, SLOT_BYTES, draining_bytes=100 * MIB)
    assert decision(idle(3), limits, drains, others=idle(2)).shrink == ()


def test_a_fleet_that_is_as_it_should_be_says_nothing() -> None:
    assert decision(used(3, 0.6)) == Decision()


# How it was used


def test_utilisation_is_known_after_a_whole_window_of_one_size() -> None:
    usage = Usage()
    for second in range(int(WINDOW_SECONDS)):
        usage.look(second, ClassLoad(2, second % 2, 2, 0, 0), 0)
    assert usage.utilisation is None
    usage.look(WINDOW_SECONDS, ClassLoad(2, 0, 2, 0, 0), 0)
    assert usage.utilisation == pytest.approx(0.25)
    usage.look(WINDOW_SECONDS + 1, ClassLoad(3, 0, 3, 0, 0), 0)
    assert usage.utilisation is None


def test_old_use_is_forgotten() -> None:
    usage = Usage()
    for second in range(200):
        usage.look(second, ClassLoad(1, int(second < 100), 1, 0, 0), 0)
    assert usage.utilisation == 0.0


def test_quiet_is_how_long_nobody_needed_the_last_slot() -> None:
    usage = Usage()
    for second in range(11):
        usage.look(second, ClassLoad(3, 2 if second == 4 else 1, 3, 0, 0), 0)
    assert usage.quiet_seconds(2) == 6
    assert usage.quiet_seconds(1) == 0


def test_somebody_who_waits_for_all_three_classes_needs_a_slot_of_each() -> None:
    usage = Usage()
    for second in range(11):
        usage.look(second, ClassLoad(3, 1, 3, int(second == 4), 0), 0)
    assert usage.quiet_seconds(2) == 6


def test_a_slot_that_was_added_counts_as_needed_then() -> None:
    usage = Usage()
    for second in range(11):
        usage.look(second, ClassLoad(1 if second < 3 else 2, 0, 1, 0, 0), 0)
    assert usage.quiet_seconds(2) == 7


def test_turnover_is_what_came_back_in_the_window() -> None:
    usage = Usage()
    for second in range(11):
        usage.look(second, ClassLoad(1, 1, 1, 0, 0), 3)
    assert usage.turnover_per_second == 3.0


# The spike


@pytest.mark.parametrize(("cores", "most"), [(2, 4), (4, 5), (8, 8), (16, 13)])
def test_fifty_orders_at_once_start_a_few_trios_and_are_served_as_soon_as_by_fifty(
    cores: int, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = replace(LIMITS, cores=cores)
    started, seconds = served_after(limits, 50)
    _, with_fifty = served_after(with_trios_from_the_start(limits, 50), 50)

    with capsys.disabled():
        sys.stdout.write(
            f"\n50 orders at once on {cores} cores: {started} trios started beside 1, all served after {seconds:.0f} s;"
            f" with 50 trios from the start after {with_fifty:.0f} s\n"
        )
    assert 1 <= started <= most
    assert seconds <= with_fifty * 1.2 + 10


def test_after_the_spike_and_a_quiet_time_the_fleet_goes_back_to_its_least_step_by_step() -> None:
    fleet = Trios(LIMITS)
    fleet.run([0.0] * 50, 3600)
    largest = max(size for _, size in fleet.sizes)
    grown_at = max(at for at, size in fleet.sizes if size == largest)
    downs = [at for at, size in fleet.sizes if at > grown_at]
    assert fleet.size == 1
    assert len(downs) == largest - 1
    assert downs[0] - grown_at >= LIMITS.quiet_seconds
    assert all(later - earlier >= WINDOW_SECONDS for earlier, later in pairwise(downs))


def test_a_second_spike_within_the_quiet_time_finds_the_trios_of_the_first() -> None:
    fleet = Trios(LIMITS)
    fleet.run([0.0] * 50 + [500.0] * 50, 800)
    largest = max(size for at, size in fleet.sizes if at < 400)
    assert [size for at, size in fleet.sizes if 400 < at < 520] == []
    assert fleet.size >= largest
