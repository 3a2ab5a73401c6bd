"""The limits of several nodes kept together: each publishes what it let through, and subtracts what the others did.

Every second or so, and never while a request waits: one row a node, with how much was taken from each bucket since that
bucket was made. A reader takes the difference to what it read last, so a round that was missed is made up for, and none
counts twice. In between each node is exact for itself: N nodes together let through at most what one would, and what
N - 1 others do in the seconds before they hear of it. Without a database, each keeps the limits by itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import structlog

from monero_escrow.clock import Clock
from monero_escrow.core.errors import EscrowError
from monero_escrow.jitter import jittered
from monero_escrow.store.share_table import Share
from monero_escrow.store.store import Store
from monero_escrow.store.transaction import Transaction

log = structlog.get_logger(__name__)

ROUND_SECONDS: Final = 1.0
LONGEST_GAP_SECONDS: Final = 5.0
MOST_PUBLISHED: Final = 1000
"""Buckets a node tells of: those nearest to their limit."""


class Admitted(NamedTuple):
    """What was `taken` from a bucket since it was `made`: a number that no other bucket of the run has."""

    made: int
    taken: float


class Limits(Protocol):
    """The buckets of this node, by names that are the same on all nodes."""

    def admitted(self, most: int) -> Mapping[str, Admitted]:
        """What was taken here, of the `most` buckets of most concern."""
        ...

    def taken_elsewhere(self, name: str, cost: float) -> None:
        """Another node took so much from the bucket of this name, or gave it back (less than 0)."""
        ...

    def count_anew(self) -> None:
        """What was taken up to now is nobody else's business any more."""
        ...


@dataclass(slots=True)
class Shares:
    """This node among those that keep the limits together."""

    store: Store
    clock: Clock
    node_name: str
    limits: Limits
    _run: str = ""
    _seen: dict[str, Mapping[str, Admitted]] | None = None
    """By the run of the other node: what it had let through when it was read last. None: nothing was read yet."""
    _told_nothing: bool = False

    def __post_init__(self) -> None:
        self._begin_anew()

    async def run(self) -> None:
        """A round every second, until cancelled. While the database is away, each node is alone with its limits."""
        away, last = False, self.clock.monotonic()
        while True:
            await self.clock.sleep(jittered(ROUND_SECONDS))
            if self.clock.monotonic() - last > LONGEST_GAP_SECONDS:
                self._begin_anew()
            try:
                await self.round()
                away, last = False, self.clock.monotonic()
            except EscrowError as error:
                if not away:
                    log.warning("limits_alone", code=error.code, reason=error.message)
                away = True
                self._begin_anew()

    async def round(self) -> None:
        """Tell what was let through here, and subtract what was let through elsewhere. Raises what the store raises."""
        mine = self.limits.admitted(MOST_PUBLISHED)
        if mine or not self._told_nothing:
            share = Share(self.node_name, self._run, {name: (one.made, one.taken) for name, one in mine.items()})
            await self.store.write(lambda tx: tx.shares.publish(share))
            self._told_nothing = not mine
        self._subtract(await self.store.read(self._others))

    def _begin_anew(self) -> None:
        """What was let through while nobody heard of one another is over: nobody is to be barred for it afterwards."""
        self._run, self._seen, self._told_nothing = secrets.token_hex(8), None, False
        self.limits.count_anew()

    def _others(self, tx: Transaction) -> list[Share]:
        return tx.shares.of_others(self.node_name)

    def _subtract(self, others: list[Share]) -> None:
        seen, self._seen = self._seen, {}
        for share in others:
            told = {name: Admitted(made, taken) for name, (made, taken) in share.taken.items()}
            self._seen[share.run] = told
            if seen is None:
                continue
            for name, one in told.items():
                known = seen.get(share.run, {}).get(name)
                already = known.taken if known is not None and known.made == one.made else 0.0
                self.limits.taken_elsewhere(name, one.taken - already)
