"""What the service's own log tells of its calls to Monero's programs: which, when, and how long each took.

The service must run with LOG_LEVEL=debug and LOG_FORMAT=json: it then writes a line a call (never what was said).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call that ended: to which program, from when to when (seconds since the epoch), and whether it was done."""

    method: str
    url: str
    begun: float
    ended: float
    ok: bool

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


def logged_calls(log_file: Path, since: float = 0.0) -> list[LoggedCall]:
    """The calls that ended after `since`, in the order of their ends. Lines of other kinds are passed over."""
    with log_file.open(errors="replace") as lines:
        return [call for call in _calls(lines) if call.ended > since]


def _calls(lines: Iterable[str]) -> Iterator[LoggedCall]:
    for line in lines:
        if '"rpc"' not in line:
            continue
        try:
            said = json.loads(line)
            if said["event"] != "rpc":
                continue
            ended = datetime.fromisoformat(said["timestamp"]).timestamp()
            yield LoggedCall(
                said["method"], said["url"], ended - said["milliseconds"] / 1000, ended, said["outcome"] == "ok"
            )
        except (ValueError, KeyError, TypeError):
            continue  # a line that is being written


def covered_seconds(calls: Iterable[LoggedCall], begun: float, ended: float) -> float:
    """How long, between the two moments, at least one of the calls was under way."""
    covered, reached = 0.0, begun
    for call in sorted(calls, key=lambda call: call.begun):
        first, last = max(call.begun, reached), min(call.ended, ended)
        if last > first:
            covered += last - first
            reached = last
    return covered
