"""Placement for all queues and all free slots: nothing handed out twice, all or nothing, in fair order, and no less."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from monero_escrow.core.placement import Grant, assign
from monero_escrow.core.roles import ROLES, TRIO, Role, peers_of, role_of_slot

Waiting = list[tuple[int, frozenset[Role]]]
Free = dict[Role, list[str]]

quick = settings(deadline=None, max_examples=300)
some_roles = st.frozensets(st.sampled_from(ROLES), min_size=1)
queues = st.lists(some_roles | st.just(TRIO), max_size=12).map(lambda wants: list(enumerate(wants)))
free_slots = st.fixed_dictionaries({role: st.integers(0, 5) for role in ROLES}).map(
    lambda counts: {role: [f"{role}{number}" for number in range(count)] for role, count in counts.items()}
)


def granted(grants: list[Grant[int, str]]) -> set[int]:
    return {grant.ticket for grant in grants}


@quick
@given(queues, free_slots)
def test_a_grant_has_one_free_slot_of_each_class_it_asked_for_and_no_slot_goes_out_twice(
    waiting: Waiting, free: Free
) -> None:
    grants = assign(waiting, free)

    assert len(granted(grants)) == len(grants)
    for grant in grants:
        assert grant.slots.keys() == dict(waiting)[grant.ticket]
        assert all(slot in free[role] for role, slot in grant.slots.items())
    handed_out = Counter(slot for grant in grants for slot in grant.slots.values())
    assert all(times == 1 for times in handed_out.values())


@quick
@given(queues, free_slots)
def test_nobody_is_passed_by_a_later_one_who_wants_a_class_they_want(waiting: Waiting, free: Free) -> None:
    served = granted(assign(waiting, free))

    for ticket, roles in waiting:
        if ticket not in served:
            for later, wants in waiting[ticket + 1 :]:
                assert later not in served or not wants & roles


@quick
@given(queues, free_slots)
def test_whoever_waits_on_really_lacks_a_slot_or_stands_behind_somebody(waiting: Waiting, free: Free) -> None:
    """Given the order, nothing more could be handed out: no slot idles while somebody could use it."""
    served = granted(assign(waiting, free))

    for ticket, roles in waiting:
        if ticket in served:
            continue
        earlier = waiting[:ticket]
        taken = Counter(role for before, wants in earlier if before in served for role in wants)
        lacks = any(taken[role] >= len(free[role]) for role in roles)
        behind = any(before not in served and wants & roles for before, wants in earlier)
        assert lacks or behind


@quick
@given(queues, free_slots)
def test_the_slot_that_has_been_free_longest_goes_first(waiting: Waiting, free: Free) -> None:
    grants = assign(waiting, free)

    for role in ROLES:
        handed_out = [grant.slots[role] for grant in grants if role in grant.slots]
        assert handed_out == free[role][: len(handed_out)]


@quick
@given(queues, free_slots)
def test_deciding_changes_nothing(waiting: Waiting, free: Free) -> None:
    queue_before, free_before = list(waiting), {role: list(slots) for role, slots in free.items()}

    assign(waiting, free)

    assert (waiting, free) == (queue_before, free_before)


@quick
@given(st.integers(0, 6), st.integers(0, 6))
def test_3n_slots_carry_n_trios_at_once(trios: int, asking: int) -> None:
    free = {role: [f"{role}{number}" for number in range(trios)] for role in ROLES}

    grants = assign([(number, TRIO) for number in range(asking)], free)

    assert [grant.ticket for grant in grants] == list(range(min(trios, asking)))


def test_the_first_of_two_who_want_different_classes_does_not_stand_in_the_others_way() -> None:
    buyer_and_vendor, vendor, arbiter = (
        frozenset({Role.BUYER, Role.VENDOR}),
        frozenset({Role.VENDOR}),
        frozenset({Role.ARBITER}),
    )
    waiting = [("A", buyer_and_vendor), ("B", vendor), ("C", arbiter)]

    grants = assign(waiting, {role: [f"{role}0"] for role in ROLES})

    assert [grant.ticket for grant in grants] == ["A", "C"]


def test_a_class_without_any_slot_serves_nobody() -> None:
    assert assign([("A", TRIO)], {Role.BUYER: ["b"], Role.VENDOR: ["v"]}) == []


@given(st.integers(0, 10_000))
def test_slots_serve_buyer_vendor_and_arbiter_in_turn(index: int) -> None:
    assert [role_of_slot(3 * index + offset) for offset in range(3)] == [Role.BUYER, Role.VENDOR, Role.ARBITER]


def test_the_peers_of_a_role_are_the_other_two_in_a_fixed_order() -> None:
    assert [peers_of(role) for role in ROLES] == [
        (Role.VENDOR, Role.ARBITER),
        (Role.BUYER, Role.ARBITER),
        (Role.BUYER, Role.VENDOR),
    ]
