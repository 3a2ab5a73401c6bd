"""What the demo shows while it runs: what is being prepared, and a row an order with its steps and their times.

In a terminal it is a live table; elsewhere (a log, a pipe) each change is a line of its own. Both show the same facts,
and neither shows a full address or txid.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from monero_escrow.core.words import short

_REDRAWS_A_SECOND: Final = 8
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Step(StrEnum):
    """The steps of an order whose times are shown."""

    INIT = "init"
    FUNDED = "funded"
    DECIDED = "decided"
    SETTLED = "settled"


def seconds(duration_seconds: float) -> str:
    return f"{duration_seconds:.1f} s"


@dataclass(slots=True)
class Row:
    """One order's line. Who carries the order through writes here; the board shows it."""

    number: int
    title: str
    board: Board = field(repr=False)
    started: float
    now: str = "begins"
    address: str | None = None
    times: dict[Step, float] = field(default_factory=dict)
    finished: float | None = None
    trouble: str | None = None

    def doing(self, what: str) -> None:
        """What happens now, or what is waited for."""
        if what != self.now:
            self.now = what
            self.board.order_changed(self)

    def troubled(self, trouble: str | None) -> None:
        """What the service says keeps the order from going on, while it tries again; None when it goes on."""
        if trouble != self.trouble:
            self.trouble = trouble
            self.board.order_changed(self)

    @property
    def state(self) -> str:
        """What happens now, and what is wrong with it."""
        return f"{self.now} ({self.trouble})" if self.trouble else self.now

    def reached(self, step: Step, what: str) -> None:
        """A step is done, `elapsed` after the order began; `what` is what comes next."""
        self.times[step] = self.elapsed
        self.doing(what)

    def finish(self, what: str) -> None:
        """Nothing comes after this."""
        self.finished = time.monotonic()
        self.doing(what)

    @property
    def elapsed(self) -> float:
        """Seconds since the order was placed."""
        return (self.finished or time.monotonic()) - self.started


class Board:
    """Lines, for logs and pipes. A context manager, as the live one is."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started = time.monotonic()
        self.preparations: dict[str, str] = {}
        self.rows: list[Row] = []

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is redrawn any more; lines that stay can still be said."""

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self.started

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(f"{self.elapsed:6.1f} s  {text}", markup=False, highlight=False, soft_wrap=True)

    def prepare(self, subject: str, how_far: str) -> None:
        """How far a preparation is; a later word about the same subject replaces the earlier."""
        if self.preparations.get(subject) != how_far:
            self.preparations[subject] = how_far
            self.preparation_changed(subject)

    def prepared(self, what_runs: str) -> None:
        """Everything is prepared; from now on only this is said of it."""
        self.preparations = {"running:": what_runs}
        self.say(f"running: {what_runs}")

    def order(self, number: int, title: str) -> Row:
        """A new row."""
        row = Row(number, title, self, started=time.monotonic())
        self.rows.append(row)
        self.order_changed(row)
        return row

    def preparation_changed(self, subject: str) -> None:
        self.say(f"{subject}: {self.preparations[subject]}")

    def order_changed(self, row: Row) -> None:
        address = f" [{short(row.address)}]" if row.address else ""
        self.say(f"#{row.number} {row.title}{address}: {row.state}")


class LiveBoard(Board):
    """A table that is redrawn while it changes, for terminals; its times are seconds since the order began."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(
            console=console,
            get_renderable=self._picture,
            refresh_per_second=_REDRAWS_A_SECOND,
            vertical_overflow="visible",
        )

    def __enter__(self) -> Board:
        self._live.start(refresh=True)
        return self

    def close(self) -> None:
        self._live.stop()

    def prepared(self, what_runs: str) -> None:
        """The next redraw shows it, in place of how it came about."""
        self.preparations = {"running:": what_runs}

    def preparation_changed(self, subject: str) -> None:
        """The next redraw shows it."""

    def order_changed(self, row: Row) -> None:
        """The next redraw shows it."""

    def _picture(self) -> RenderableType:
        parts = " · ".join(f"{subject} {how_far}" for subject, how_far in self.preparations.items())
        done = bool(self.rows) and all(row.finished is not None for row in self.rows)
        spinner = " " if done else _SPINNER[int(self.elapsed * _REDRAWS_A_SECOND) % len(_SPINNER)]
        head = Text(f"{spinner} {seconds(self.elapsed)}  {parts}", style="dim" if self.rows else "", overflow="fold")
        return Group(head, self._table()) if self.rows else head

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
        for heading in ("order", "address"):
            table.add_column(heading, no_wrap=True)
        for heading in (*Step, "total"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("now", overflow="fold")
        for row in self.rows:
            times = [f"{row.times[step]:.1f}" if step in row.times else "·" for step in Step]
            style = "red" if row.trouble else "green" if row.finished else ""
            now = Text(row.state, style=style)
            table.add_row(f"#{row.number} {row.title}", short(row.address or ""), *times, f"{row.elapsed:.1f}", now)
        return table


def board_for(console: Console) -> Board:
    """The live table in a terminal, lines elsewhere."""
    return LiveBoard(console) if console.is_terminal else Board(console)
