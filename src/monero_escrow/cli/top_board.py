"""What `monero-escrow top` shows: one overview of the service drawn for a terminal of any size. Pure.

What the service sends may hold anything, such as the words of a process that fails: no control character of it reaches
the terminal, and none of it is read as markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.core.words import lasting
from monero_escrow.web.board import Cell, RoleBoard, role_boards
from monero_escrow.web.schemas import Overview, SetUpTimes, Verdict

MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "leased": ("●", "cyan"),
    "free": ("○", "dim"),
    "sick": ("✗", "red"),
    "resting": ("◌", "yellow"),
    "draining": ("▽", "yellow"),
}
"""A process's state as one character, and its style. Nothing is told by colour alone."""

_GRADES: Final[Mapping[str, str]] = {"good": "green", "warning": "yellow", "bad": "bold red"}
_BARS: Final = "▁▂▃▄▅▆▇█"
_MINUTES_DRAWN: Final = 40
_LEAST_SHOWN: Final = 3
_WORST_FIRST: Final = ("sick", "resting", "draining", "leased")


@dataclass(frozen=True, slots=True)
class Seen:
    """The last answer of the service at `url`, and why there is none now; None where there is no such."""

    url: str
    overview: Overview | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """The picture. With `lines`, processes and reasons are left out, and counted, as far as it is too long.

    `hint` says what the keyboard does.
    """

    seen: Seen
    lines: int | None = None
    hint: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        most_processes = most_reasons = None
        if self.lines is not None:
            too_many = self._height(console, options, None, None) - self.lines
            if too_many > 0:
                most_processes = max(_LEAST_SHOWN, _processes_told(self.seen) - too_many - 1)
                too_many = self._height(console, options, most_processes, None) - self.lines
            if too_many > 0:
                most_reasons = max(_LEAST_SHOWN, _reasons_told(self.seen) - too_many - 1)
        yield _picture(self.seen, self.hint, most_processes, most_reasons)

    def _height(
        self, console: Console, options: ConsoleOptions, most_processes: int | None, most_reasons: int | None
    ) -> int:
        picture = _picture(self.seen, self.hint, most_processes, most_reasons)
        return len(console.render_lines(picture, options.update(height=None), pad=False))


def _processes_told(seen: Seen) -> int:
    return 0 if seen.overview is None else sum(slot.state in _WORST_FIRST for slot in seen.overview.fleet.slots)


def _reasons_told(seen: Seen) -> int:
    """Of the question that has most."""
    overview = seen.overview
    verdicts = () if overview is None else (overview.money, overview.work, overview.people)
    return max((len(verdict.reasons) for verdict in verdicts), default=0)


def _picture(seen: Seen, hint: str, most_processes: int | None, most_reasons: int | None) -> Group:
    parts: list[RenderableType] = [_head(seen, hint)]
    if seen.trouble is not None:
        parts.append(Text(f"{_plain(seen.trouble)} Trying again.", style=_GRADES["bad"]))
    if seen.overview is not None:
        parts += _body(seen.overview, most_processes, most_reasons)
    return Group(*parts)


def _head(seen: Seen, hint: str) -> Table:
    head = Table.grid(expand=True)
    head.add_column()
    head.add_column(justify="right")
    said = "no answer yet"
    if seen.overview is not None:
        said = f"{_plain(seen.overview.health.version)}  {_plain(seen.overview.at)}"
    name = Text.assemble(("monero-escrow ", "bold"), said, f"  {seen.url}")
    head.add_row(name, Text(hint, style="dim"))
    return head


def _body(overview: Overview, most_processes: int | None, most_reasons: int | None) -> Iterator[RenderableType]:
    boards = role_boards(overview.fleet)
    yield _verdicts((overview.money, overview.work, overview.people), most_reasons)
    yield Text()
    yield _strips(boards)
    yield _processes([cell for board in boards for cell in board.cells], most_processes)
    yield Text()
    yield _figures(overview)


def _verdicts(verdicts: Sequence[Verdict], most: int | None) -> Table:
    grid = _grid()
    for verdict in verdicts:
        grid.add_row(Text(verdict.question, style="bold"), Text(_plain(verdict.answer), style=_GRADES[verdict.grade]))
        for reason in verdict.reasons[:most]:
            which = "" if reason.escrow_id is None else f" (escrow {_plain(reason.escrow_id)})"
            grid.add_row("", Text(f"· {_plain(reason.text)}{which}"))
        _add_rest(grid, len(verdict.reasons), most, column=1)
    return grid


def _strips(boards: Sequence[RoleBoard]) -> Table:
    """Each role's processes, a character each, and the same in words."""
    grid = _grid()
    for board in boards:
        strip = Text.assemble(*(MARKS[cell.state] for cell in board.cells), overflow="fold")
        words = board.summary if board.load.trouble is None else f"{board.summary}. {_plain(board.load.trouble)}"
        grid.add_row(Text(f"{board.role}s", style="bold"), Text.assemble(strip, "  ", words, overflow="fold"))
    return grid


def _processes(cells: Sequence[Cell], most: int | None) -> Table:
    """Those that are not simply free, the worst first, and how many are not shown."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    told = [cell for state in _WORST_FIRST for cell in cells if cell.state == state]
    for cell in told[:most]:
        mark, style = MARKS[cell.state]
        table.add_row(_plain(cell.name), Text(f"{mark} {cell.state}", style=style), _text(cell.note))
    _add_rest(table, len(told), most, column=0)
    return table


def _add_rest(table: Table, all_there_are: int, most: int | None, *, column: int) -> None:
    """A row that says how many were left out, if any."""
    if most is not None and all_there_are > most:
        table.add_row(*[""] * column, Text(f"and {all_there_are - most} more", style="dim"))


def _figures(overview: Overview) -> Table:
    grid = _grid()
    for name, words in (
        ("Coins", overview.coins),
        ("Queue", overview.queue),
        ("Stock", overview.stock),
        ("Set-ups", set_up_words(overview.set_ups)),
        ("Leased", usage_words(overview.utilisation)),
        ("Escrows", escrow_words(overview.escrows)),
    ):
        grid.add_row(Text(name, style="bold"), _text(words))
    return grid


def set_up_words(times: SetUpTimes | None) -> str:
    """How long set-ups took lately."""
    if times is None:
        return "None has ended in the last six hours."
    half, most = lasting(times.half_within_seconds), lasting(times.nine_of_ten_within_seconds)
    return f"{times.count} in six hours, half of them within {half}, nine of ten within {most}."


def usage_words(utilisation: Sequence[float]) -> str:
    """How busy the processes were, as a row of bars: one a minute, of the last forty."""
    if not utilisation:
        return "Nothing noted yet: the first number comes a minute after the start."
    drawn = utilisation[-_MINUTES_DRAWN:]
    bars = "".join(_BARS[min(int(share * len(_BARS)), len(_BARS) - 1)] for share in drawn)
    minutes = "in the last minute" if len(drawn) == 1 else f"over {len(drawn)} min"
    return f"{bars} {drawn[-1]:.0%} of the processes' time; at most {max(drawn):.0%} {minutes}"


def escrow_words(escrows: Mapping[State, int]) -> str:
    """How many are in each state that one is in, those that go on first."""
    states = sorted(State, key=lambda state: state in CLOSED_STATES)
    words = [f"{escrows[state]} {state.replace('_', ' ')}" for state in states if escrows.get(state)]
    return " · ".join(words) or "There is none yet."


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _text(words: str) -> Text:
    return Text(_plain(words))


def _plain(words: str) -> str:
    """Nothing that a terminal would obey."""
    return "".join(character if character.isprintable() else "·" for character in words)
