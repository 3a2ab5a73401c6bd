"""Many deadlines on one timer, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from functools import partial

from monero_escrow.fleet.deadlines import Deadlines
from unit.slots import VirtualClock


async def test_each_is_called_when_its_time_has_come_the_earliest_first(clock: VirtualClock) -> None:
    deadlines, called = Deadlines(clock), list[str]()
    for name, seconds in (("late", 30.0), ("early", 10.0), ("middle", 20.0)):
        deadlines.add(seconds, partial(called.append, name))

    await clock.advance(10.0)
    assert called == ["early"]
    await clock.advance(20.0)
    assert called == ["early", "middle", "late"]
    await deadlines.aclose()


async def test_one_that_was_cancelled_is_not_called_and_costs_nothing_later(clock: VirtualClock) -> None:
    deadlines, called = Deadlines(clock), list[int]()
    added = [deadlines.add(600.0, partial(called.append, number)) for number in range(1_000)]
    for one in added[:-1]:
        deadlines.cancel(one)
        deadlines.cancel(one)

    assert len(deadlines._heap) < 200
    await clock.advance(600.0)
    assert called == [999]
    await deadlines.aclose()


async def test_an_earlier_one_need_not_wait_for_those_added_before_it(clock: VirtualClock) -> None:
    deadlines, called = Deadlines(clock), list[str]()
    deadlines.add(600.0, partial(called.append, "first added"))
    await asyncio.sleep(0)
    deadlines.add(1.0, partial(called.append, "first due"))

    await clock.advance(1.0)
    assert called == ["first due"]
    await deadlines.aclose()


async def test_nothing_is_called_after_the_end(clock: VirtualClock) -> None:
    deadlines, called = Deadlines(clock), list[str]()
    deadlines.add(1.0, partial(called.append, "too late"))
    await deadlines.aclose()

    await clock.advance(10.0)
    assert called == []
