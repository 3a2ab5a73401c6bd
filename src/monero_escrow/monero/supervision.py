"""Keep child processes running: whichever dies is started again, at the same place, until all are told to end.

For the demo and the soak, whose children may be killed at any moment. A child that cannot be kept alive is given up on
with an error that shows what it wrote; during the shut-down nothing is started any more. Nothing here looks at what a
child is: it is told how to start one, and `ChildProcess.adopt` lets everybody go on with the one they know.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from monero_escrow.clock import Clock, SystemClock
from monero_escrow.monero.processes import ChildProcess, ProgramFailedError

T = TypeVar("T")

Start = Callable[[], Awaitable[ChildProcess]]
"""Starts the program and waits until it answers. Raises ProgramFailedError, and has then left nothing running."""

OnRestart = Callable[[ChildProcess], None]
"""Told of every child that died and runs again."""

_GRACE_SECONDS: Final = 8.0


class KeepsDyingError(ProgramFailedError):
    """A program was started again and again, and died each time."""

    code = "keeps_dying"


@dataclass(frozen=True, slots=True)
class Patience:
    """How a child is started again: after a pause that doubles with each death, and not for ever.

    Deaths longer ago than `within_seconds` are forgiven. With `most_deaths` in that time it is given up on.
    """

    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 5.0
    most_deaths: int = 5
    within_seconds: float = 60.0

    def pause_seconds(self, deaths: int) -> float:
        """How long to wait after so many deaths."""
        return min(self.longest_pause_seconds, self.first_pause_seconds * 2.0 ** min(deaths - 1, 30))


@dataclass(slots=True, eq=False)
class _Kept:
    """One child: how it is started, when it died lately, and who watches it."""

    name: str
    start: Start
    grace_seconds: float
    deaths: deque[float] = field(default_factory=deque)
    child: ChildProcess | None = None
    watch: asyncio.Task[None] | None = None


class Supervisor:
    """Starts children, and starts them again. `aclose` ends the watching first and then all of them."""

    def __init__(self, on_restart: OnRestart, patience: Patience | None = None, clock: Clock | None = None) -> None:
        self._on_restart = on_restart
        self._patience = patience or Patience()
        self._clock = clock or SystemClock()
        self._kept: list[_Kept] = []
        self._gave_up = asyncio.Event()
        self._reason: ProgramFailedError | None = None
        self._closing = False

    async def keep(self, name: str, start: Start, *, grace_seconds: float = _GRACE_SECONDS) -> ChildProcess:
        """Start it, and from now on start it again whenever it dies. `name` is for people: "vendor slot 2".

        Raises KeepsDyingError when it never came to run. `grace_seconds` is the time it has to end by itself in the
        end.
        """
        if self._closing:
            raise RuntimeError("Nothing is started during a shut-down.")
        kept = _Kept(name, start, grace_seconds)
        self._kept.append(kept)
        child = kept.child = await self._started(kept)
        child.name = name
        kept.watch = asyncio.create_task(self._watch(kept, child), name=f"watch {name}")
        return child

    async def while_kept(self, story: Coroutine[Any, Any, T]) -> T:
        """Run `story` to its end; as soon as a child is given up on, cancel it and raise that child's error."""
        task = asyncio.create_task(story)
        giving_up = asyncio.create_task(self._gave_up.wait())
        try:
            await asyncio.wait([task, giving_up], return_when=asyncio.FIRST_COMPLETED)
        finally:
            giving_up.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        if self._reason is not None and (task.cancelled() or task.exception() is not None):
            raise self._reason
        return task.result()

    async def end(self, child: ChildProcess) -> None:
        """End one child for good."""
        for kept in [kept for kept in self._kept if kept.child is child]:
            await self._end([kept])

    def leave_dead(self, child: ChildProcess) -> None:
        """Should this one die now, it is not started again."""
        for kept in self._kept:
            if kept.child is child and kept.watch is not None:
                kept.watch.cancel()

    async def aclose(self) -> None:
        """Nothing is started any more; then all children end, side by side."""
        self._closing = True
        await self._end(self._kept)

    async def _end(self, some: Sequence[_Kept]) -> None:
        """First the watching, then the watched."""
        watches = [kept.watch for kept in some if kept.watch is not None]
        for watch in watches:
            watch.cancel()
        if watches:
            await asyncio.wait(watches)
        running = [(kept.child, kept.grace_seconds) for kept in some if kept.child is not None]
        await asyncio.gather(*(child.stop(grace_seconds=grace) for child, grace in running))

    async def _watch(self, kept: _Kept, child: ChildProcess) -> None:
        try:
            while True:
                await child.ended()
                await self._after_death(kept, f"{kept.name} died again and again.\n{child.wrote()}")
                child.adopt(await self._started(kept))
                self._on_restart(child)
        except ProgramFailedError as error:
            self._reason = self._reason or error
            self._gave_up.set()

    async def _started(self, kept: _Kept) -> ChildProcess:
        """Start it; one that does not come to answer has died too."""
        while True:
            try:
                return await kept.start()
            except ProgramFailedError as error:
                await self._after_death(kept, error.message)

    async def _after_death(self, kept: _Kept, last_words: str) -> None:
        """Wait a while, or give up with the child's last words."""
        now = self._clock.monotonic()
        kept.deaths.append(now)
        while kept.deaths[0] < now - self._patience.within_seconds:
            kept.deaths.popleft()
        if len(kept.deaths) >= self._patience.most_deaths:
            raise KeepsDyingError(last_words)
        await self._clock.sleep(self._patience.pause_seconds(len(kept.deaths)))
