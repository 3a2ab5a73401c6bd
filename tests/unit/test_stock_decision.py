"""How many trios are begun for the stock: of idle time only, and never all that is idle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monero_escrow.core.growth import ClassLoad
from monero_escrow.core.roles import ROLES
from monero_escrow.core.stock import trios_to_begin


def begun(target: int, *, trios: int, leased: int = 0, ready: int = 0, making: int = 0, waiting: int = 0) -> int:
    """For a fleet of whole trios, all of them usable."""
    loads = {role: ClassLoad(trios, leased, trios, waiting, 0.0) for role in ROLES}
    return trios_to_begin(target, ready=ready, making=making, idle=trios - leased, loads=loads)


def test_a_single_trio_makes_stock_when_it_is_idle() -> None:
    assert begun(10, trios=1) == 1
    assert begun(10, trios=1, leased=1, making=1) == 0


def test_of_several_trios_half_make_stock_and_one_stays_idle() -> None:
    assert begun(10, trios=2) == 1
    assert begun(10, trios=4) == 2
    assert begun(10, trios=10) == 5
    assert begun(10, trios=10, leased=8) == 1
    assert begun(10, trios=10, leased=9) == 0


def test_nothing_is_begun_while_work_waits_for_slots() -> None:
    assert begun(10, trios=10, waiting=1) == 0


def test_no_more_is_made_than_is_wanted() -> None:
    assert begun(0, trios=10) == 0
    assert begun(3, trios=10, ready=2) == 1
    assert begun(3, trios=10, ready=2, making=1) == 0
    assert begun(3, trios=10, ready=7) == 0, "a target that was lowered"


def test_the_class_with_the_fewest_slots_decides() -> None:
    loads = {role: ClassLoad(size, 0, size, 0, 0.0) for role, size in zip(ROLES, (9, 2, 9), strict=True)}
    assert trios_to_begin(10, ready=0, making=0, idle=2, loads=loads) == 1


def test_without_any_slot_nothing_is_begun() -> None:
    assert trios_to_begin(10, ready=0, making=0, idle=0, loads={}) == 0


@given(*[st.integers(0, 40)] * 5)
def test_whatever_the_numbers_one_of_several_trios_stays_idle(
    target: int, trios: int, leased: int, ready: int, making: int
) -> None:
    leased = min(leased, trios)
    making = min(making, leased)
    more = begun(target, trios=trios, leased=leased, ready=ready, making=making)
    assert 0 <= more <= max(0, target - ready - making)
    if more:
        assert leased + more <= max(1, trios - 1)
        assert making + more <= max(1, trios // 2)
