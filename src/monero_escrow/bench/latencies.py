"""How long calls take while many processes want few cores: recorded by `ten`, given to stand-ins by `fake-thousand`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from monero_escrow.bench.figures import percentile
from monero_escrow.bench.run import BenchFailedError
from monero_escrow.bench.service_log import LoggedCall

FILE_NAME: Final = "latencies.json"
_QUANTILES: Final = 100


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds a call took, by method: a hundred quantiles or all there were, upwards."""

    by_method: Mapping[str, tuple[float, ...]]

    @classmethod
    def of(cls, calls: Iterable[LoggedCall]) -> Latencies:
        """What these calls took."""
        found: defaultdict[str, list[float]] = defaultdict(list)
        for call in calls:
            found[call.method].append(call.seconds)
        return cls({method: _quantiles(values) for method, values in sorted(found.items())})

    def drawn(self, method: str, rng: Random) -> float:
        """How long this call is to take: one of those recorded. A method that was not recorded takes no time."""
        values = self.by_method.get(method, ())
        return rng.choice(values) if values else 0.0

    def slowest(self, count: int) -> list[tuple[str, tuple[float, ...]]]:
        """The methods that take longest in the mean."""
        rows = sorted(self.by_method.items(), key=lambda row: -sum(row[1]) / len(row[1]))
        return rows[:count]


def _quantiles(values: Sequence[float]) -> tuple[float, ...]:
    if len(values) <= _QUANTILES:
        return tuple(round(value, 4) for value in sorted(values))
    percents = ((number + 0.5) * 100 / _QUANTILES for number in range(_QUANTILES))
    return tuple(round(percentile(values, percent), 4) for percent in percents)


def write_latencies(latencies: Latencies, folder: Path) -> None:
    """Keep them beside the reports."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE_NAME).write_text(json.dumps(dict(latencies.by_method)) + "\n")


def read_latencies(folder: Path) -> Latencies:
    """What `ten` kept there. Raises BenchFailedError."""
    try:
        content = json.loads((folder / FILE_NAME).read_text())
        return Latencies({method: tuple(map(float, values)) for method, values in content.items()})
    except (OSError, ValueError, AttributeError, TypeError):
        raise BenchFailedError(
            f"There are no recorded latencies in {folder}.", what_to_do="Run `monero-escrow bench ten` first."
        ) from None
