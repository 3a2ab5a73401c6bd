"""The whole service through storms: nothing is lost, nothing is paid twice, and everything comes to an end.

Struck at in every run: calls to wallets and daemon that are lost before or after they ran, run late, or are slow;
processes that cannot be reached or are killed; a service that is killed before or after any call or commit, also while
it recovers, or told to stop; a database that does not take a transaction; a daemon that is away or behind; blocks that
are replaced, with payouts in them that no node kept. `weather.py` lists them.

`make simulate SEEDS=200` runs as many seeds; with `SIMULATION_SEED=17` it runs that one again, as it was.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulation.run import Outcome, simulate
from simulation.weather import KINDS

_SEEDS = int(os.environ.get("SEEDS", "3"))
_ONE = os.environ.get("SIMULATION_SEED")
# Seeds that once found something. 12: a rebuilding cut off one round before its end passed for a finished wallet.
_KNOWN = (12,)
_seen: list[Outcome] = []


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    """Say at the end what was tried (shown with `-s`)."""
    yield
    struck = _total()
    lines = [f"{count:8} {kind}" for kind, count in sorted(struck.items())]
    orders, payouts = sum(one.orders for one in _seen), sum(one.payouts for one in _seen)
    crashes, acts = sum(one.starts - 1 for one in _seen), sum(one.boundaries.total() for one in _seen)
    print(  # noqa: T201
        f"\n{len(_seen)} seeds: {orders} orders, {payouts} payouts, {crashes} crashes at {acts} boundaries\n"
        + "\n".join(lines)
    )


@pytest.mark.parametrize("seed", [int(_ONE)] if _ONE else sorted({*_KNOWN, *range(1, _SEEDS + 1)}))
def test_nothing_is_lost_and_nothing_is_paid_twice(seed: int, tmp_path: Path) -> None:
    outcome = simulate(seed, tmp_path)
    _seen.append(outcome)
    assert not outcome.problems, "\n".join([f"SIMULATION_SEED={seed} runs it again.", *outcome.problems])


@pytest.mark.skipif(_ONE is not None, reason="one seed need not see everything")
def test_every_kind_of_trouble_really_struck() -> None:
    assert _seen, "this test goes by what the seeds before it saw"
    struck = _total()
    assert [kind for kind in KINDS if not struck[kind]] == []


def test_a_seed_repeats_itself(tmp_path: Path) -> None:
    first, second = (simulate(1, tmp_path / name, orders=2) for name in ("first", "second"))
    assert first == second


def _total() -> Counter[str]:
    return sum((one.struck for one in _seen), Counter())
