"""Who works on which escrow: claims of the work that is due, and the store through which only their holder writes.

A service that has its database to itself (a SQLCipher file, which only one may open) keeps its claims in memory.
Services that share a server claim in the database: see `store/work_table.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import structlog

from monero_escrow.clock import Clock
from monero_escrow.core.errors import EscrowError
from monero_escrow.nodes.node import Node
from monero_escrow.store.store import Store
from monero_escrow.store.transaction import Transaction
from monero_escrow.store.work_table import SCAN, Claim, ClaimLostError

log = structlog.get_logger(__name__)

T = TypeVar("T")

HOME_SECONDS: Final = 5.0
"""For so long work is left to the node that has the wallets' files; then anybody rebuilds them by replay."""
_PULL_BACK_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Horizons:
    """Nothing is ever due later than this: what is, a wrong clock put off. A mere look may be due later than work."""

    work_seconds: float
    look_seconds: float


class Claims(Protocol):
    """What the conductor asks before it works on anything."""

    longest_idle_seconds: float
    """How long nobody looks what is due when nothing says so: the net beneath the bell."""
    least_idle_seconds: float
    """How long at least, although something is due: another node may just be claiming it."""
    scan_patience: int | None
    """After so many failed looks at the chain in a row the scan is given up, for another node to try; None: never."""

    async def take(self, limit: int, horizons: Horizons) -> list[Claim]:
        """Claim up to so many escrows that are due; set-ups and payouts first, then the longest waiting."""
        ...

    async def next_due_at(self) -> float | None:
        """When the next escrow that nobody works on is due, by the clock of the service's context."""
        ...

    def store_for(self, claim: Claim) -> Store:
        """The store for work under this claim: it refuses what is written after the claim was lost."""
        ...

    async def take_scan(self) -> Store | None:
        """The store for the scan of the chain, when that is this service's to do."""
        ...

    async def give_scan_back(self) -> None:
        """The scan is another's to try. Never raises."""
        ...

    def require(self, claim: Claim | None = None) -> None:
        """Raises ClaimLostError when this claim, or any at all, cannot be trusted any more.

        Asked before each call to a wallet.
        """
        ...

    async def give_back(self, claim: Claim) -> None:
        """The work is over, for now. Never raises: what cannot be given back now is given back later."""
        ...

    def ended(self, claim: Claim) -> None:
        """Whoever worked on it is no more. What was not given back, for it was stopped too early, is let go later."""
        ...


class SoleClaims:
    """The claims of a service that has its database to itself."""

    longest_idle_seconds = 30.0
    least_idle_seconds = 0.0
    scan_patience: int | None = None

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._held: dict[str, Claim] = {}

    async def take(self, limit: int, horizons: Horizons) -> list[Claim]:
        now, busy = self._clock.now(), frozenset(self._held)
        due = await self._store.read(
            lambda tx: tx.escrows.due(
                now,
                limit,
                busy,
                horizon_seconds=horizons.work_seconds,
                look_horizon_seconds=horizons.look_seconds,
            )
        )
        claims = [Claim(escrow_id, "", 0) for escrow_id in due]
        self._held.update({claim.subject: claim for claim in claims})
        return claims

    async def next_due_at(self) -> float | None:
        busy = frozenset(self._held)
        return await self._store.read(lambda tx: tx.escrows.next_due_at(busy))

    def store_for(self, claim: Claim) -> Store:
        del claim
        return self._store

    async def take_scan(self) -> Store | None:
        return self._store

    async def give_scan_back(self) -> None:
        return

    def require(self, claim: Claim | None = None) -> None:
        return

    async def give_back(self, claim: Claim) -> None:
        self.ended(claim)

    def ended(self, claim: Claim) -> None:
        if self._held.get(claim.subject) is claim:  # it may have been taken again meanwhile
            del self._held[claim.subject]


class SharedClaims:
    """The claims of one of several nodes, in the database they share."""

    longest_idle_seconds = 5.0
    least_idle_seconds = 0.1
    scan_patience: int | None = 5

    def __init__(self, store: Store, clock: Clock, node: Node) -> None:
        self._store = store
        self._clock = clock
        self._node = node
        self._held: dict[str, Claim] = {}
        self._scan: Claim | None = None
        self._in_doubt = False
        """Whether the database may have claims of ours that we do not know of: an answer was lost."""
        self._pulled_back_at = -_PULL_BACK_SECONDS

    @property
    def held(self) -> list[Claim]:
        """What this run of the node works on. What an earlier one held may still be on its way to stop."""
        return [claim for claim in self._held.values() if claim.node_id == self._node.id]

    async def take(self, limit: int, horizons: Horizons) -> list[Claim]:
        node, now = self._node, self._clock.now()
        if not node.trusted:
            return []
        await self._let_go_of_others()
        if node.draining:
            return []
        await self._pull_back(now, horizons)
        node_id = node.id
        with self._doubted_unless_answered():
            claims = await self._store.write(
                lambda tx: tx.work.claim_due(node_id, node.name, now, limit, home_seconds=HOME_SECONDS)
            )
        self._held.update({claim.subject: claim for claim in claims})
        return claims

    async def _let_go_of_others(self) -> None:
        if self._in_doubt:
            node_id, held = self._node.id, [claim.subject for claim in self.held]
            self._in_doubt = False  # before: what is not given back meanwhile is a new doubt
            with self._doubted_unless_answered():
                await self._store.write(lambda tx: tx.work.keep_only(node_id, held))

    @contextmanager
    def _doubted_unless_answered(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._in_doubt = True
            raise

    async def _pull_back(self, now: float, horizons: Horizons) -> None:
        if self._clock.monotonic() - self._pulled_back_at < _PULL_BACK_SECONDS:
            return
        self._pulled_back_at = self._clock.monotonic()
        await self._store.write(
            lambda tx: tx.work.pull_back(now, work_seconds=horizons.work_seconds, look_seconds=horizons.look_seconds)
        )

    async def next_due_at(self) -> float | None:
        node = self._node
        if node.draining or not node.trusted:
            return None  # nothing can be taken, however much is due
        name, node_id = node.name, node.id
        due_at, lapse_seconds = await self._store.read(
            lambda tx: (tx.work.next_due_at(name, home_seconds=HOME_SECONDS), tx.work.seconds_to_next_lapse(node_id))
        )
        lapse_at = None if lapse_seconds is None else self._clock.now() + lapse_seconds
        return min((at for at in (due_at, lapse_at) if at is not None), default=None)

    def store_for(self, claim: Claim) -> Store:
        return FencedStore(self._store, claim, lambda tx: tx.work.require(claim))

    async def take_scan(self) -> Store | None:
        if self._node.draining:
            return None
        node_id = self._node.id
        try:
            self._node.require()
            claim = await self._store.write(lambda tx: tx.work.claim_duty(SCAN, node_id))
        except EscrowError as error:
            log.debug("scan_not_claimed", reason=error.message)
            return None
        self._scan = claim
        return None if claim is None else FencedStore(self._store, claim, lambda tx: tx.work.require_duty(claim))

    async def give_scan_back(self) -> None:
        claim, self._scan = self._scan, None
        if claim is None:
            return
        try:
            await self._store.write(lambda tx: tx.work.give_duty_back(claim))
        except EscrowError as error:
            log.debug("scan_not_given_back", reason=error.message)

    def require(self, claim: Claim | None = None) -> None:
        self._node.require()
        if claim is not None and claim.node_id != self._node.id:
            raise ClaimLostError(f"The lease under which {claim.subject} was claimed is over.")

    async def give_back(self, claim: Claim) -> None:
        self._forget(claim)
        try:
            await self._store.write(lambda tx: tx.work.give_back(claim))
        except EscrowError as error:
            self._in_doubt = True
            log.warning("claim_kept", escrow_id=claim.subject, reason=error.message)

    def ended(self, claim: Claim) -> None:
        if self._forget(claim):
            self._in_doubt = True

    def _forget(self, claim: Claim) -> bool:
        """Whether it was held until now."""
        held = self._held.get(claim.subject) is claim  # it may have been taken again meanwhile
        if held:
            del self._held[claim.subject]
        return held


@dataclass(frozen=True, slots=True)
class FencedStore:
    """A store whose every write first finds, in the same transaction, that its writer still holds what it works on."""

    store: Store
    claim: Claim
    require: Callable[[Transaction], None]

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self.store.read(work)

    async def read_long(self, work: Callable[[Transaction], T]) -> T:
        return await self.store.read_long(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        def fenced(tx: Transaction) -> T:
            self.require(tx)
            return work(tx)

        return await self.store.write(fenced)
