"""The benches there are, in the order of the published table: what each measures, and how long it takes.

Times are those of two cores with nothing else to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from monero_escrow.bench.figures import Findings
from monero_escrow.bench.run import Run
from monero_escrow.core.errors import NotFoundError

Measure = Callable[[Run], Awaitable[Findings]]


class UnknownBenchError(NotFoundError):
    """There is no bench of this name."""

    code = "unknown_bench"
    what_to_do = "`monero-escrow bench` lists them."


@dataclass(frozen=True, slots=True)
class Bench:
    """One row. `takes` and `long` say how long the published and the long form run; `long` is empty without one."""

    name: str
    title: str
    takes: str
    long: str = ""

    @property
    def measure(self) -> Measure:
        """What carries it out; loaded only now, so that listing the benches is quick."""
        measure: Measure = import_module(f"monero_escrow.bench.rows.{self.name.replace('-', '_')}").measure
        return measure


BENCHES: Final = (
    Bench("stock", "init-escrow from stock, over HTTP", "5 minutes", "15 minutes: 200 calls"),
    Bench("set-up", "a cold set-up beside the original's flow and the bare calls", "15 minutes"),
    Bench("ten", "ten set-ups at once on 30 processes", "3 minutes", "15 minutes: 100 on 300"),
    Bench("thousand", "set-ups in a row while processes are killed", "5 minutes", "an hour and more: 1,000"),
    Bench("fake-thousand", "1,000 set-ups at once on 3,000 fake slots (after `ten`)", "4 minutes"),
    Bench("lease", "lease and release a slot", "a minute"),
    Bench("tls", "what TLS and digest add to a call of a wallet process", "a minute"),
    Bench("failover", "a leased process killed, to the next good step", "6 minutes"),
    Bench("restart", "a restart with 1,000 open escrows", "2 minutes"),
    Bench("watching", "10,000 open escrows watched by view key", "3 minutes"),
    Bench("payout", "from the decision to the broadcast", "4 minutes"),
    Bench("nodes", "set-ups an hour with 1, 2 and 4 nodes on one PostgreSQL (after `ten`)", "10 minutes"),
    Bench("postgresql", "steps and lists with 100,000 escrows on PostgreSQL", "2 minutes"),
    Bench("memory", "what the service and a slot hold in memory", "3 minutes"),
)


def bench_named(name: str) -> Bench:
    """Raises UnknownBenchError."""
    for bench in BENCHES:
        if bench.name == name:
            return bench
    raise UnknownBenchError(f"There is no bench {name}.")
