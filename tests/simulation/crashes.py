"""Which crashes are tried: every boundary of a life, and every ordered pair of them, many crashes to a life.

A life with many crashes is the harder test, and the only one that is cheap enough: after each crash the service starts
anew on what it finds, and dies at the next boundary that has not had its turn. A failure says which they were, and
`Planned` repeats them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from simulation.boundaries import Crash, Life, Planned, live

_MOST_CRASHES_A_LIFE = 40
_ONE_BOUNDARY_IN = 1 / 25


@dataclass(frozen=True, slots=True)
class Failure:
    """A life that did not end as it must, and the crashes that make it happen again."""

    seed: int
    crashes: tuple[Crash, ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        places = ", ".join(f"({crash.name!r}, {crash.occurrence})" for crash in self.crashes)
        return f"seed {self.seed}, crashes [{places}]: {' '.join(self.problems)}"


@dataclass(slots=True)
class Tried:
    """What was tried: how often the service died at each name, at which ordered pairs, and what went wrong."""

    at: Counter[str] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    lives: int = 0
    failures: list[Failure] = field(default_factory=list)

    def add(self, seed: int, life: Life) -> None:
        """One more life."""
        self.lives += 1
        names = [crash.name for crash in life.crashes]
        self.at.update(names)
        self.pairs.update(itertools.pairwise(names))
        if life.problems:
            self.failures.append(Failure(seed, life.crashes, life.problems))

    def join(self, other: Tried) -> None:
        """What another has tried, too."""
        self.at += other.at
        self.pairs += other.pairs
        self.lives += other.lives
        self.failures += other.failures

    def __str__(self) -> str:
        least = min(self.at.values(), default=0)
        return (
            f"{self.lives} lives, {self.at.total()} crashes at {len(self.at)} named boundaries (each at least {least} "
            f"times), {len(self.pairs)} ordered pairs, {len(self.failures)} failures"
        )


class _EachName:
    """Die at every name once."""

    def __init__(self) -> None:
        self._had: set[str] = set()
        self._crashes = 0

    def next_life(self) -> None:
        self._crashes = 0

    def dies(self, before: Crash | None, here: Crash) -> bool:
        del before
        if here.name in self._had or self._crashes >= _MOST_CRASHES_A_LIFE:
            return False
        self._had.add(here.name)
        self._crashes += 1
        return True


class _EachPair:
    """Die first at one name, and then at whatever has not yet followed upon the crash before."""

    def __init__(self, most_crashes: int) -> None:
        self.had: set[tuple[str, str]] = set()
        self._most_crashes = most_crashes
        self._first = Crash("")
        self._crashes = 0

    def next_life(self, first: str) -> None:
        self._first = Crash(first)
        self._crashes = 0

    def dies(self, before: Crash | None, here: Crash) -> bool:
        if before is None:
            return here == self._first
        if (before.name, here.name) in self.had or self._crashes >= self._most_crashes:
            return False
        self.had.add((before.name, here.name))
        self._crashes += 1
        return True


class _ByLot:
    """Die first at one name, and then at about one boundary in so many."""

    def __init__(self, rng: Random, first: str) -> None:
        self._rng = rng
        self._first = Crash(first)
        self._crashes = 0

    def dies(self, before: Crash | None, here: Crash) -> bool:
        if before is None:
            return here == self._first
        if self._crashes >= _MOST_CRASHES_A_LIFE or self._rng.random() > _ONE_BOUNDARY_IN:
            return False
        self._crashes += 1
        return True


def names_of(seed: int, folder: Path) -> dict[str, int]:
    """Every named boundary of a life without crashes, and how often it occurs there."""
    return dict(Counter(live(seed, Planned(()), folder).names))


def one_at_a_time(seed: int, folder: Path, *, every: int = 1, start: int = 0) -> Iterator[Life]:
    """A life a named boundary, with one crash there; with another seed, at another of the times it occurs."""
    for name, times in list(names_of(seed, folder).items())[start::every]:
        yield live(seed, Planned([Crash(name, seed % times)]), folder)


def every_boundary(seed: int, folder: Path, *, stock: bool = False) -> Iterator[Life]:
    """As many lives as it takes to die at each of their named boundaries, in a row."""
    plan = _EachName()
    while True:
        plan.next_life()
        life = live(seed, plan, folder, stock=stock)
        yield life
        if not life.crashes:
            return


def every_pair(seed: int, folder: Path, *, most_crashes: int = _MOST_CRASHES_A_LIFE) -> Iterator[Life]:
    """Lives, until each named boundary was followed by a crash at every one that can come up after it."""
    plan = _EachPair(most_crashes)
    known = list(names_of(seed, folder))
    for first in known:  # grows while it is walked: some boundaries come up in recoveries only
        followed = True
        while followed:
            plan.next_life(first)
            life = live(seed, plan, folder)
            known += [name for name in dict.fromkeys(crash.name for crash in life.crashes) if name not in known]
            followed = len(life.crashes) > 1
            if life.crashes:
                yield life


def some_pairs(seed: int, folder: Path, lives: int) -> Iterator[Life]:
    """A sample: lives that begin with a crash anywhere, and go on with crashes at pairs drawn by lot."""
    rng = Random(f"pairs {seed}")
    names = list(names_of(seed, folder))
    for _ in range(lives):
        yield live(seed, _ByLot(rng, rng.choice(names)), folder)
