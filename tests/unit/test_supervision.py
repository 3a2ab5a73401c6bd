"""The supervisor: whatever dies is started again, not for ever, and never during a shut-down."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import cast

import pytest

from monero_escrow.monero.processes import ChildProcess, ProgramFailedError
from monero_escrow.monero.supervision import KeepsDyingError, Patience, Supervisor
from unit.slots import VirtualClock, settle

PATIENCE = Patience(first_pause_seconds=1.0, longest_pause_seconds=4.0, most_deaths=5, within_seconds=60.0)


class Program:
    """A program that runs until the test ends it, and every start of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.starts: list[FakeProcess] = []
        self.starting_fails = 0

    async def start(self) -> ChildProcess:
        if self.starting_fails:
            self.starting_fails -= 1
            raise ProgramFailedError("It ended by itself at its start.")
        self.starts.append(FakeProcess(len(self.starts) + 1))
        process = cast("asyncio.subprocess.Process", self.starts[-1])
        return ChildProcess("program", process, "http://127.0.0.1:1", self.folder / "program.log")

    @property
    def running(self) -> int:
        return sum(process.returncode is None for process in self.starts)


class FakeProcess:
    """As much of asyncio's `Process` as a child process needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        await self._ended.wait()
        return self.returncode or 0

    def terminate(self) -> None:
        self.end(-signal.SIGTERM)

    def kill(self) -> None:
        self.end(-signal.SIGKILL)

    def end(self, code: int) -> None:
        if self.returncode is None:
            self.returncode = code
            self._ended.set()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def told() -> list[str]:
    return []


@pytest.fixture
async def supervisor(clock: VirtualClock, told: list[str]) -> Supervisor:
    return Supervisor(lambda child: told.append(f"{child.name} runs again"), PATIENCE, clock)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


async def test_a_child_that_dies_is_started_again_and_is_still_the_same_object(
    supervisor: Supervisor, program: Program, clock: VirtualClock, told: list[str]
) -> None:
    child = await supervisor.keep("vendor slot 2", program.start)
    program.starts[0].kill()
    await clock.advance(1.0)
    assert (child.running, child.pid, program.running) == (True, 2, 1)
    assert told == ["vendor slot 2 runs again"]
    await supervisor.aclose()


async def test_a_child_that_ends_without_an_error_is_started_again_too(
    supervisor: Supervisor, program: Program, clock: VirtualClock
) -> None:
    child = await supervisor.keep("the service", program.start)
    program.starts[0].end(0)
    await clock.advance(1.0)
    assert child.running
    await supervisor.aclose()


async def test_the_pause_before_a_start_doubles_up_to_a_limit(
    supervisor: Supervisor, program: Program, clock: VirtualClock
) -> None:
    await supervisor.keep("monerod", program.start)
    for pause in (1.0, 2.0, 4.0, 4.0):
        program.starts[-1].kill()
        await clock.advance(pause - 0.1)
        assert program.running == 0
        await clock.advance(0.1)
        assert program.running == 1
    await supervisor.aclose()


async def test_a_start_that_fails_is_a_death_like_any_other(
    supervisor: Supervisor, program: Program, clock: VirtualClock
) -> None:
    program.starting_fails = 2
    keeping = asyncio.create_task(supervisor.keep("buyer slot 1", program.start))
    await clock.advance(1.0)
    assert not keeping.done()
    await clock.advance(2.0)
    assert (await keeping).running
    await supervisor.aclose()


async def test_a_child_that_never_comes_to_run_is_given_up_on_with_what_it_said(
    supervisor: Supervisor, program: Program, clock: VirtualClock
) -> None:
    program.starting_fails = 1_000
    keeping = asyncio.create_task(supervisor.keep("buyer slot 1", program.start))
    await clock.advance(60.0)
    with pytest.raises(KeepsDyingError, match="It ended by itself at its start"):
        await keeping
    await supervisor.aclose()


async def test_a_child_that_dies_again_and_again_ends_the_story(
    supervisor: Supervisor, program: Program, clock: VirtualClock
) -> None:
    (program.folder / "program.log").write_text("bad flag\n")
    await supervisor.keep("monerod", program.start)
    story = asyncio.create_task(supervisor.while_kept(asyncio.Event().wait()))
    for _ in range(PATIENCE.most_deaths):
        program.starts[-1].kill()
        await clock.advance(4.0)
    with pytest.raises(KeepsDyingError, match=r"monerod died again and again(?s:.*)bad flag"):
        await story
    assert len(program.starts) == PATIENCE.most_deaths
    await supervisor.aclose()


async def test_deaths_of_long_ago_are_forgiven(supervisor: Supervisor, program: Program, clock: VirtualClock) -> None:
    child = await supervisor.keep("monerod", program.start)
    for _ in range(3 * PATIENCE.most_deaths):
        program.starts[-1].kill()
        await clock.advance(PATIENCE.within_seconds)
        assert child.running
    await supervisor.aclose()


async def test_nothing_is_started_during_the_shut_down_and_nothing_is_left(
    supervisor: Supervisor, program: Program, clock: VirtualClock
) -> None:
    await supervisor.keep("monerod", program.start)
    await supervisor.keep("buyer slot 1", program.start)
    program.starts[0].kill()
    await settle()
    await supervisor.aclose()
    await clock.advance(60.0)
    assert (len(program.starts), program.running) == (2, 0)
    with pytest.raises(RuntimeError):
        await supervisor.keep("late", program.start)


async def test_a_child_that_was_ended_for_good_stays_ended_and_the_others_are_kept(
    supervisor: Supervisor, program: Program, clock: VirtualClock
) -> None:
    service = await supervisor.keep("the service", program.start)
    monerod = await supervisor.keep("monerod", program.start)
    await supervisor.end(service)
    program.starts[1].kill()
    await clock.advance(60.0)
    assert (service.running, monerod.running) == (False, True)
    await supervisor.aclose()


async def test_a_story_that_ends_well_is_not_spoilt_and_a_cancelled_one_is_over(
    supervisor: Supervisor, program: Program
) -> None:
    await supervisor.keep("monerod", program.start)
    assert await supervisor.while_kept(asyncio.sleep(0, "told")) == "told"
    ended = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    story = asyncio.create_task(supervisor.while_kept(endless()))
    await settle()
    story.cancel()
    with pytest.raises(asyncio.CancelledError):
        await story
    assert ended.is_set()
    await supervisor.aclose()
