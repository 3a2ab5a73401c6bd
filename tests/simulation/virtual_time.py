"""An event loop whose time stands still while anybody has something to do, and then jumps to the next sleeper.

Hours pass in milliseconds, and always in the same order: tasks hash by their number, so that not even a set of tasks
is walked differently in two runs.

Time goes by whole microseconds. asyncio wakes a sleeper up to a nanosecond early, which a real clock makes good by
going on; this one stands still, and who was woken so would sleep again, and again.
"""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVarTuple

START = 1_750_000_000.0
"""When every simulation begins, in seconds since the epoch."""

_DIGITS = 6
_Ts = TypeVarTuple("_Ts")


class StandstillError(AssertionError):
    """Everybody waits, and nobody sleeps: the simulation would stand still for ever."""


def _whole(seconds: float) -> float:
    """The same to the microsecond."""
    return round(seconds, _DIGITS)


class _Selector(selectors.SelectSelector):
    """Lets time pass instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StandstillError("Everybody waits, and nobody sleeps.")
        self.now = _whole(self.now + max(0.0, timeout))
        return super().select(0)


class _Task(asyncio.Task[Any]):
    def __init__(self, number: int, coro: Any, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        self._number = number
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on a clock that only the simulation moves."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        numbers = itertools.count(1)

        def make_task(
            loop: asyncio.AbstractEventLoop,
            coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
            *,
            context: Context | None = None,
            **options: Any,
        ) -> asyncio.Task[Any]:
            return _Task(next(numbers), coro, loop, context=context, **options)

        self.set_task_factory(make_task)

    def time(self) -> float:
        return self._virtual.now

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Never before `when`, also if that lies less than a microsecond ahead."""
        whole = _whole(when)
        if whole < when:
            whole = _whole(when + 10**-_DIGITS)
        return super().call_at(whole, callback, *args, context=context)


class VirtualClock:
    """The `Clock` port on a `VirtualLoop`."""

    def now(self) -> float:
        return START + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
