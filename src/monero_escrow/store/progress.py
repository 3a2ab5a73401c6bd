"""How what takes long tells how far it is. Whoever calls it decides who hears of that."""

from __future__ import annotations

from collections.abc import Callable

Told = Callable[[str, float], None]
"""Told what is being done, and how much of it is done (0 to 1), several times a second. Must return at once."""


def say_nothing(_what: str, _done: float) -> None:
    """For callers that nobody watches."""
