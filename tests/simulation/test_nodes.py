"""Nodes that are killed, paused, cut off and drained while they work: others take over in time, nothing is doubled.

What strikes is listed in `strikes.py`; what must hold after every commit is in `watch.py` and `claims_watch.py`, and at
the end of each seed in `books.py`.

`make simulate-nodes TAKEOVERS=1000` goes on until so many set-ups, and so many payouts, were taken over; with
`SIMULATION_SEED=17` it runs that one again, as it was.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from simulation.claims_watch import Takeover
from simulation.report import bound, say
from simulation.storage import quick_folder
from simulation.strikes import KINDS
from simulation.takeovers import Lived, live_together

_TAKEOVERS = int(os.environ.get("TAKEOVERS", "0"))
_WORKERS = int(os.environ.get("WORKERS", "1"))
_FIRST_SEED = int(os.environ.get("FIRST_SEED", "1"))
_ONE = os.environ.get("SIMULATION_SEED")
_SHORT_SEEDS = 2
_LONG_ROUNDS = 4
_BEYOND_LEASE_SECONDS = 5.0
_HOWS = ("killed", "paused", "asleep with its clock", "cut off")
_LOOKS = ("claims", "trusted claim", "database", "slots", "call", "address shown", "signature")


@pytest.mark.timeout(0)
def test_struck_nodes_are_taken_over_in_time_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """One test, for the figures are of all seeds together."""
    takeovers: list[Takeover] = []
    beyond: list[float] = []
    wrong: list[str] = []
    struck, looks, orders, payouts, seeds = Counter[str](), Counter[str](), 0, 0, 0
    for one in _lived(tmp_path):
        seeds, orders, payouts = seeds + 1, orders + one.orders, payouts + one.payouts
        struck, looks = struck + one.struck, looks + one.looks
        takeovers += one.takeovers
        wrong += [f"FIRST_SEED={one.seed}: {problem}" for problem in one.problems]
        for problem in one.problems:
            say(f"seed {one.seed}: {problem}")
        set_ups, paid = _count(takeovers, "set-up"), _count(takeovers, "payout")
        say(f"{seeds} seeds: {set_ups} set-ups and {paid} payouts taken over, {len(wrong)} problems", often=True)
        beyond += [takeover.seconds - one.lease_seconds for takeover in one.takeovers if takeover.prompt]
        if _is_enough(seeds, takeovers):
            break
    _report(seeds, orders, payouts, takeovers, sorted(beyond), struck)
    assert wrong == [], "\n".join(wrong)
    assert max(beyond) <= _BEYOND_LEASE_SECONDS
    if _TAKEOVERS:
        assert [kind for kind in KINDS if not struck[kind]] == []
        assert [kind for kind in _LOOKS if not looks[kind]] == []
        pairs = {(takeover.work, takeover.how) for takeover in takeovers}
        assert [(work, how) for work in ("set-up", "payout") for how in _HOWS if (work, how) not in pairs] == []


def _is_enough(seeds: int, takeovers: Sequence[Takeover]) -> bool:
    if _ONE is not None:
        return True
    if not _TAKEOVERS:
        return seeds >= _SHORT_SEEDS
    return min(_count(takeovers, "set-up"), _count(takeovers, "payout")) >= _TAKEOVERS


def _lived(tmp_path: Path) -> Iterator[Lived]:
    """One cluster a seed, in as many processes as are allowed; as many as it takes."""
    first = _FIRST_SEED if _ONE is None else int(_ONE)
    work = partial(_live_in_own_folder, _LONG_ROUNDS if _TAKEOVERS else 1, tmp_path)
    if _WORKERS == 1:
        seed = first
        while True:
            yield work(seed)
            seed += 1
    with ProcessPoolExecutor(_WORKERS) as workers:
        while True:
            yield from workers.map(work, range(first, first + _WORKERS))
            first += _WORKERS


def _live_in_own_folder(rounds: int, tmp_path: Path, seed: int) -> Lived:
    return live_together(seed, rounds, quick_folder(tmp_path) / f"monero-escrow-nodes-{os.getpid()}")


def _count(takeovers: Sequence[Takeover], work: str) -> int:
    return sum(takeover.work == work for takeover in takeovers)


def _report(
    seeds: int,
    orders: int,
    payouts: int,
    takeovers: Sequence[Takeover],
    beyond: Sequence[float],
    struck: Counter[str],
) -> None:
    say(f"\n{seeds} clusters of three nodes: {orders} orders, {payouts} payouts.")
    for work in ("set-up", "payout", "look"):
        by_how = Counter(takeover.how for takeover in takeovers if takeover.work == work)
        told = ", ".join(f"{how} {count}" for how, count in sorted(by_how.items()))
        say(f"{_count(takeovers, work):9} takeovers of a {work}: {told}")
    if beyond:
        p50, p99 = (beyond[int(part * (len(beyond) - 1))] for part in (0.5, 0.99))
        say(f"Taken over after the lease and p50 {p50:+.2f} s, p99 {p99:+.2f} s, at most {beyond[-1]:+.2f} s;")
        say(f"{len(takeovers) - len(beyond)} waited longer, for a while without any node that was well.")
    say("What really struck:")
    for kind, count in sorted(struck.items()):
        say(f"{count:9} {kind}")
    say(f"No payout was doubled, no order was lost: {bound(_count(takeovers, 'payout'))}.")
