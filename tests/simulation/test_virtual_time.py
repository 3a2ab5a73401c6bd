"""The clock of the simulation: it stands still while anybody works, and nobody is woken early."""

from __future__ import annotations

import asyncio
import math

import pytest

from simulation.virtual_time import StandstillError, VirtualLoop


def test_hours_pass_at_once_and_in_order() -> None:
    async def sleep_side_by_side() -> tuple[list[int], float]:
        order: list[int] = []

        async def sleep(hours: int) -> None:
            await asyncio.sleep(3_600 * hours)
            order.append(hours)

        await asyncio.gather(*(sleep(hours) for hours in (3, 1, 2)))
        return order, asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(sleep_side_by_side()) == ([1, 2, 3], 10_800.0)


def test_who_waits_for_a_moment_that_lies_almost_now_reaches_it_and_does_not_wait_again_for_ever() -> None:
    async def wait_for_almost_now() -> int:
        loop, looks = asyncio.get_running_loop(), 0
        await asyncio.sleep(1_025.437490333)
        deadline = math.nextafter(loop.time(), math.inf)

        async def reach(steps_later: int) -> None:
            nonlocal looks
            for _ in range(steps_later):
                await asyncio.sleep(0)
            while loop.time() < deadline and looks < 100:
                looks += 1
                await asyncio.sleep(deadline - loop.time())

        await asyncio.gather(reach(0), reach(1))  # so one of them always has something to do
        return looks

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(wait_for_almost_now()) == 2


def test_a_world_in_which_everybody_waits_for_ever_is_an_error() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.raises(StandstillError):
        runner.run(wait_for_nobody())
