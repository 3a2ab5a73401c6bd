"""A crash at every step boundary, and crashes while the service recovers from one: every order ends as decided.

In `make test` one life dies at each of its named boundaries, in rows of forty, and a sample dies once, or at pairs
drawn by lot. `make simulate-crashes` tries every boundary alone for many seeds, and every ordered pair.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulation.boundaries import Life
from simulation.crashes import Tried, every_boundary, every_pair, one_at_a_time, some_pairs
from simulation.report import bound, say
from simulation.storage import quick_folder

_SEEDS = int(os.environ.get("EVERY_BOUNDARY_SEEDS", "0"))
_FIRST_SEED = int(os.environ.get("FIRST_SEED", "1"))
_EVERY_PAIR = os.environ.get("EVERY_PAIR", "") not in ("", "0")
_LONG = _SEEDS > 0 or _EVERY_PAIR
_SAMPLE_EVERY = 16
_SAMPLE_LIVES = 6
_LEAST_BOUNDARIES = 150
_NO_LIMIT = pytest.mark.timeout(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the database costs no disk writes; the same for all lives of a test."""
    return quick_folder(tmp_path) / f"monero-escrow-crashes-{os.getpid()}"


def _seeds() -> range:
    return range(_FIRST_SEED, _FIRST_SEED + max(_SEEDS, 1))


def _try_all(name: str, seed: int, lives: Iterator[Life]) -> Tried:
    tried = Tried()
    for life in lives:
        tried.add(seed, life)
        if _LONG:
            say(f"{name}, seed {seed}: {tried}", often=True)
    say(f"{name}, seed {seed}: {tried}; {bound(tried.at.total())}")
    return tried


@pytest.mark.skipif(_EVERY_PAIR and not _SEEDS, reason="only pairs are asked for")
@_NO_LIMIT
def test_crashes_at_every_boundary_in_a_row_lose_nothing(folder: Path) -> None:
    everything = Tried()
    for seed in _seeds():
        tried = _try_all("every boundary in a row", seed, every_boundary(seed, folder))
        assert len(tried.at) >= _LEAST_BOUNDARIES
        everything.join(tried)
    say(f"every boundary in a row, {len(_seeds())} seeds: {everything}; {bound(everything.at.total())}")
    assert everything.failures == [], "\n".join(map(str, everything.failures))


@pytest.mark.skipif(_EVERY_PAIR and not _SEEDS, reason="only pairs are asked for")
@_NO_LIMIT
def test_crashes_around_a_claim_and_its_second_place_lose_nothing(folder: Path) -> None:
    everything = Tried()
    for seed in _seeds():
        everything.join(_try_all("with stock, in a row", seed, every_boundary(seed, folder, stock=True)))
    assert everything.failures == [], "\n".join(map(str, everything.failures))
    assert everything.at["after commit init_escrow.init_escrow"], "between the claim and its address"
    assert everything.at["before commit claim.give_address"], "between the second place and the address"


@pytest.mark.skipif(_EVERY_PAIR and not _SEEDS, reason="only pairs are asked for")
@_NO_LIMIT
def test_one_crash_at_a_boundary_loses_nothing(folder: Path) -> None:
    every = 1 if _SEEDS else _SAMPLE_EVERY
    everything = Tried()
    for seed in _seeds():
        tried = _try_all("one crash", seed, one_at_a_time(seed, folder, every=every, start=seed % every))
        everything.join(tried)
    say(f"one crash, {len(_seeds())} seeds: {everything}; {bound(everything.at.total())}")
    assert everything.failures == [], "\n".join(map(str, everything.failures))
    assert everything.at


@pytest.mark.skipif(_SEEDS > 0 and not _EVERY_PAIR, reason="only single crashes are asked for")
@_NO_LIMIT
def test_crashes_while_it_recovers_from_a_crash_lose_nothing(folder: Path) -> None:
    lives = every_pair(_FIRST_SEED, folder) if _EVERY_PAIR else some_pairs(_FIRST_SEED, folder, _SAMPLE_LIVES)
    tried = _try_all("pairs of crashes", _FIRST_SEED, lives)
    assert tried.pairs
    assert tried.failures == [], "\n".join(map(str, tried.failures))
