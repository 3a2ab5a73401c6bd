"""Tells people how far a run is: a line that renews itself in a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.status import Status

_SAY_AFTER_SECONDS: Final = 2.0
_LINE_EVERY_SECONDS: Final = 10.0


class Teller:
    """Use as a context manager; nothing is said about what takes less than two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._begun = time.monotonic()
        self._last_line = 0.0
        self._what = ""

    def __enter__(self) -> Teller:
        self._begun = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def say(self, what: str, done: int | None = None, of: int | None = None) -> None:
        """What is being done now and, if it can be counted, how much of it is done."""
        counted = "" if done is None else f": {done}" + ("" if of is None else f" of {of}")
        now = time.monotonic()
        elapsed = now - self._begun
        if elapsed < _SAY_AFTER_SECONDS and not self._what:
            return
        line = f"{what}{counted} ({elapsed:.0f} s)"
        if self._console.is_terminal:
            self._renew(line)
        elif what != self._what or now - self._last_line >= _LINE_EVERY_SECONDS:
            self._console.print(f"  {line}", highlight=False)
            self._last_line = now
        self._what = what

    def _renew(self, line: str) -> None:
        if self._status is None:
            self._status = self._console.status(line)
            self._status.start()
        else:
            self._status.update(line)
