"""From where a change comes: the node, and the address of whoever asked. The audit trail writes it with every row.

It travels beside the call, as the correlation id of the log does: the store runs each piece of work in its caller's
context. Nothing decides by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final

COMMANDS: Final = "commands"
"""In place of a node's name for what no node did: commands on a machine with the service's settings."""


@dataclass(frozen=True, slots=True)
class Origin:
    """`node` is the name of the node that acts; `source` the network address of the caller, None when it has none."""

    node: str = COMMANDS
    source: str | None = None


_ORIGIN: ContextVar[Origin] = ContextVar("monero_escrow_origin", default=Origin())  # noqa: B039  frozen


def origin() -> Origin:
    """Of what is being done in this context."""
    return _ORIGIN.get()


@contextmanager
def done_by(node: str) -> Iterator[None]:
    """Whatever is done in the block, and by tasks begun in it, this node does."""
    with _as(Origin(node)):
        yield


@contextmanager
def asked_from(source: str | None) -> Iterator[None]:
    """Whatever is done in the block was asked for from this address."""
    with _as(replace(_ORIGIN.get(), source=source)):
        yield


@contextmanager
def _as(now: Origin) -> Iterator[None]:
    """Put back by value: a block may end in another task than it began in, where a token is of no use."""
    before = _ORIGIN.get()
    _ORIGIN.set(now)
    try:
        yield
    finally:
        _ORIGIN.set(before)
