"""What a bench is given: how much to measure, a folder to work in, Monero's programs, and somebody to tell.

A bench ends by itself: every wait in one goes through `until`, which has a limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from monero_escrow.bench.report import Form
from monero_escrow.bench.teller import Teller
from monero_escrow.core.errors import UnavailableError
from monero_escrow.monero.programs import MoneroPrograms, fetched_folders, find_programs, programs_in
from monero_escrow.monero.waiting import until

T = TypeVar("T")


class BenchFailedError(UnavailableError):
    """A bench could not be carried through: something did not happen in time, or not as it must."""

    code = "bench_failed"
    what_to_do = "Read the logs in the folder that was kept, and run it again."


@dataclass
class Run:
    """One run of one bench. `folder` is its own and goes away; `results` is where earlier runs wrote."""

    form: Form
    folder: Path
    results: Path
    teller: Teller
    used: list[MoneroPrograms] = field(default_factory=list)

    def pick(self, quick: T, table: T, long: T | None = None) -> T:
        """The size that belongs to this run's form; without a long one the table's."""
        sizes = {Form.QUICK: quick, Form.TABLE: table, Form.LONG: table if long is None else long}
        return sizes[self.form]

    @cached_property
    def programs(self) -> MoneroPrograms:
        """The newest Monero on this machine, or the one MONERO_BIN_DIR names. Raises ProgramsMissingError."""
        programs = find_programs()
        self.used.append(programs)
        return programs

    @cached_property
    def every_version(self) -> list[MoneroPrograms]:
        """All versions scripts/get-monero fetched, and `programs`; the newest first, also those too old to serve."""
        found = {self.programs.version: self.programs}
        for folder in fetched_folders():
            programs = programs_in(folder)
            if programs is not None:
                found.setdefault(programs.version, programs)
        self.used[:] = sorted(found.values(), key=lambda programs: programs.version, reverse=True)
        return list(self.used)

    async def until(
        self, condition: Callable[[], Awaitable[bool]], what: str, *, limit_seconds: float, poll_seconds: float = 0.05
    ) -> None:
        """Wait for it. Raises BenchFailedError, which names what did not happen."""
        try:
            await until(condition, limit_seconds=limit_seconds, poll_seconds=poll_seconds)
        except TimeoutError:
            raise BenchFailedError(f"This did not happen within {limit_seconds:g} s: {what}.") from None


async def side_by_side(work: list[Awaitable[T]], at_once: int = 12) -> list[T]:
    """Do all of it, not more than so many at a time, and answer in order."""
    turns = asyncio.Semaphore(at_once)

    async def one(awaitable: Awaitable[T]) -> T:
        async with turns:
            return await awaitable

    return await asyncio.gather(*(one(awaitable) for awaitable in work))
