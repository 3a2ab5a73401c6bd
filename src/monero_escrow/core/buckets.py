"""The token bucket: what a limit allows, decided from a level and a moment, and nothing else.

A bucket fills at its rate up to its capacity; what is asked for takes tokens out. What costs more than the whole
bucket is let through when the bucket is full, and leaves a debt that is filled up first: so no request is too large for
ever, and the rate holds in the long run. Moments are seconds of a clock that never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` tokens come back, and at most `capacity` wait to be taken at once. Both are above 0."""

    per_second: float
    capacity: float

    @property
    def seconds_to_fill(self) -> float:
        """From empty to full."""
        return self.capacity / self.per_second


@dataclass(frozen=True, slots=True)
class Level:
    """How much was in a bucket `at` a moment; less than 0 is a debt."""

    tokens: float
    at: float


def full(rate: Rate, now: float) -> Level:
    """A bucket that nobody has taken from."""
    return Level(rate.capacity, now)


def refilled(rate: Rate, level: Level, now: float) -> Level:
    """The bucket now, with what has come back since."""
    if now <= level.at:
        return level
    return Level(min(rate.capacity, level.tokens + (now - level.at) * rate.per_second), now)


def take(rate: Rate, level: Level, now: float, cost: float = 1) -> tuple[Level, float]:
    """The bucket afterwards, and 0 if `cost` was taken, else how many seconds until it can be: then nothing was."""
    here = refilled(rate, level, now)
    needed = min(cost, rate.capacity)
    if here.tokens >= needed - _ROUNDING:
        return Level(here.tokens - cost, here.at), 0.0
    return here, (needed - here.tokens) / rate.per_second


def given_back(rate: Rate, level: Level, now: float, cost: float) -> Level:
    """The bucket as if `cost` had not been taken from it."""
    here = refilled(rate, level, now)
    return Level(min(rate.capacity, here.tokens + cost), here.at)


def taken_elsewhere(rate: Rate, level: Level, now: float, cost: float) -> Level:
    """The bucket after others let `cost` through that we were not asked about, or gave it back (less than 0).

    Their debt is ours down to one capacity below 0, and no deeper: what all nodes let through in the moment before they
    heard of one another keeps nobody waiting longer than a full bucket takes twice.
    """
    here = refilled(rate, level, now)
    least = min(here.tokens, -rate.capacity)
    return Level(min(rate.capacity, max(least, here.tokens - cost)), here.at)
