"""Thousands of payouts under lost and late answers, double requests, crashes and reorganisations: none is paid twice.

`make simulate-payouts PAYOUTS=100000 WORKERS=2` is the long form; `make test` tries about a hundred.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from simulation.payouts import KINDS, PAYOUTS_A_ROUND, Milled, mill
from simulation.report import bound, say
from simulation.storage import quick_folder

_PAYOUTS = int(os.environ.get("PAYOUTS", "96"))
_WORKERS = int(os.environ.get("WORKERS", "1"))
_FIRST_SEED = int(os.environ.get("FIRST_SEED", "1"))
_LONG = "PAYOUTS" in os.environ
_MOST_ROUNDS = 20
_ENOUGH_FOR_EVERYTHING = 1_000


@pytest.mark.timeout(0)
def test_no_payout_is_ever_made_twice(tmp_path: Path) -> None:
    rounds = min(_MOST_ROUNDS, _PAYOUTS // PAYOUTS_A_ROUND - 1)
    worlds = -(-_PAYOUTS // (PAYOUTS_A_ROUND * (rounds + 1)))
    payouts, signatures, crashes, struck = 0, 0, 0, Counter[str]()
    wrong: list[str] = []
    for one in _milled(range(_FIRST_SEED, _FIRST_SEED + worlds), rounds, tmp_path):
        payouts, signatures, crashes = payouts + one.payouts, signatures + one.signatures, crashes + one.crashes
        struck += one.struck
        wrong += [f"FIRST_SEED={one.seed}: {problem}" for problem in one.problems]
        if _LONG:
            for problem in one.problems:
                say(f"seed {one.seed}, {rounds} rounds: {problem}")
            say(f"{payouts} payouts, {signatures} signatures, {crashes} crashes, {len(wrong)} problems", often=True)
    say(
        f"\n{payouts} payouts in {worlds} worlds, {signatures} signatures, {crashes} crashes of the service, "
        f"{len(wrong)} problems; {bound(payouts)}"
    )
    for kind, count in sorted(struck.items()):
        say(f"{count:9} {kind}")
    assert wrong == [], "\n".join(wrong)
    assert payouts >= _PAYOUTS
    if payouts >= _ENOUGH_FOR_EVERYTHING:
        assert [kind for kind in KINDS if not struck[kind]] == []


def _milled(seeds: range, rounds: int, tmp_path: Path) -> Iterator[Milled]:
    """One world a seed, in as many processes as are allowed."""
    work = partial(_mill_in_own_folder, rounds, tmp_path)
    if _WORKERS == 1:
        yield from map(work, seeds)
        return
    with ProcessPoolExecutor(_WORKERS) as workers:
        yield from workers.map(work, seeds)


def _mill_in_own_folder(rounds: int, tmp_path: Path, seed: int) -> Milled:
    return mill(seed, rounds, quick_folder(tmp_path) / f"monero-escrow-payouts-{os.getpid()}")
