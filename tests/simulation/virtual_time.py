"""An event loop whose time stands still while anybody has something to do, and then jumps to the next sleeper.

Hours pass in milliseconds, and always in the same order: tasks hash by their number, so that not even a set of tasks
is walked differently in two runs.
"""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any

START = 1_750_000_000.0
"""When every simulation begins, in seconds since the epoch."""


class StandstillError(AssertionError):
    """Everybody waits, and nobody sleeps: the simulation would stand still for ever."""


class _Selector(selectors.SelectSelector):
    """Lets time pass instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StandstillError("Everybody waits, and nobody sleeps.")
        self.now += max(0.0, timeout)
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


class VirtualClock:
    """The `Clock` port on a `VirtualLoop`."""

    def now(self) -> float:
        return START + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
