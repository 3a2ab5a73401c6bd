"""This service as one of the nodes of a database: it joins, renews its lease, and stops trusting it in time.

The lease is the database's: it ends by the database's clock. The node counts from the moment before it asked, by a
clock of its own that never goes back, and stops a margin earlier; so a node that was paused, or cut off, or whose
clock is wrong, has stopped before anybody takes its work over. It then comes back as a new node, with nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Final

import structlog

from monero_escrow.clock import Clock
from monero_escrow.core.errors import EscrowError
from monero_escrow.jitter import jittered
from monero_escrow.store.node_table import Heartbeat, NodeNameTakenError
from monero_escrow.store.store import CommitUnknownError, Store
from monero_escrow.store.transaction import Transaction
from monero_escrow.store.work_table import ClaimLostError

log = structlog.get_logger(__name__)

_MARGIN_PARTS: Final = 5  # of the lease; the last of them is not trusted
_BEATS_A_LEASE: Final = 4
_RETRY_SECONDS: Final = 0.5
_SAY_SECONDS: Final = 2.0
_NEVER: Final = float("-inf")


class SharedClock:
    """The database's time, as far as the last heartbeat told it; the machine's monotonic clock carries it on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = clock.now() - clock.monotonic()

    def now(self) -> float:
        return self._clock.monotonic() + self._ahead

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    def set(self, database_now: float, asked_at: float, answered_at: float) -> None:
        """The database said so between these two moments of the monotonic clock."""
        self._ahead = database_now - (asked_at + answered_at) / 2


class Node:
    """One node. `join()`, then `run()` as one task beside the work, then `leave()`.

    `places` are those of processes that others could reach as well, each with its URL: none serves two nodes. `slots`
    says how many processes the node has, for the list of nodes. `on_lapse` is called when the lease was lost: whatever
    is under way must stop.
    """

    def __init__(
        self, store: Store, clock: Clock, name: str, lease_seconds: float, places: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.id = ""
        self.draining = False
        self.clock = SharedClock(clock)
        self.slots: Callable[[], int] = lambda: 0
        self.on_lapse: Callable[[], None] = lambda: None
        self._places = dict(places or {})
        self._store = store
        self._lease_seconds = lease_seconds
        self._trusted_until = _NEVER
        self._earlier: set[str] = set()
        """Ids under which this node may be listed still: it joined by them before, or asked to and got no answer."""

    @property
    def trusted(self) -> bool:
        """Whether the lease surely holds: nobody else works on what is ours."""
        return self.clock.monotonic() < self._trusted_until

    def require(self) -> None:
        """Raises ClaimLostError unless the lease surely holds."""
        if not self.trusted:
            raise ClaimLostError(f"The lease of the node {self.name} is over, or nearly.")

    async def join(self) -> None:
        """Be there. While the name is taken, perhaps by this node's own last run, wait until that lease is over.

        Raises NodeNameTakenError when it is renewed, SlotTakenError, DatabaseBusyError.
        """
        gives_up_at = self.clock.monotonic() + 1.5 * self._lease_seconds
        said_at = _NEVER
        while True:
            try:
                await self._join()
            except (NodeNameTakenError, CommitUnknownError) as error:
                if self.clock.monotonic() >= gives_up_at:
                    raise
                if self.clock.monotonic() - said_at >= _SAY_SECONDS:
                    said_at = self.clock.monotonic()
                    log.info("node_waits", node=self.name, reason=error.message)
                await self.clock.sleep(_RETRY_SECONDS)
            else:
                return

    async def _join(self) -> None:
        """Be there under a new id, and under none of before: whatever was held by those is anybody's."""
        asked_at, node_id, earlier = self.clock.monotonic(), secrets.token_hex(12), frozenset(self._earlier)
        self._earlier.add(node_id)  # should the answer be lost, it may be listed all the same

        def join(tx: Transaction) -> Heartbeat:
            beat = tx.nodes.join(node_id, self.name, version("monero-escrow"), self._lease_seconds, earlier=earlier)
            tx.nodes.use_slots(node_id, self._places)
            tx.audit.add("service", "node_joined", beat.now, detail={"node": self.name})
            return beat

        beat = await self._store.write(join)
        self.id = node_id
        self._earlier = {node_id}
        self._renewed(beat, asked_at)
        log.info("node_joined", node=self.name, id=self.id)

    async def use(self, places: Mapping[str, str]) -> None:
        """Other processes are listed now. Raises SlotTakenError, ClaimLostError; then it stays as it was."""
        self.require()
        node_id = self.id

        def use(tx: Transaction) -> None:
            if not tx.nodes.is_alive(node_id):
                raise ClaimLostError(f"The lease of the node {self.name} is over.")
            tx.nodes.use_slots(node_id, places)

        await self._store.write(use)
        self._places = dict(places)

    async def run(self) -> None:
        """Until cancelled: renew the lease; when it was lost, stop everything and come back as a new node."""
        while True:
            await self.clock.sleep(jittered(self._lease_seconds / _BEATS_A_LEASE))
            try:
                await self._beat()
            except EscrowError as error:
                log.warning("heartbeat_failed", node=self.name, reason=error.message)
                await self._until_answered()

    async def _beat(self) -> None:
        asked_at, node_id, slots = self.clock.monotonic(), self.id, self.slots()
        beat = await self._store.write(lambda tx: tx.nodes.renew(node_id, self._lease_seconds, slots))
        if beat is not None and self.trusted:
            self._renewed(beat, asked_at)
            return
        # An answer that comes after the trust ended may tell of a renewal that nobody saw before the lease was over:
        # a commit takes its time. Somebody may have taken the work over by then.
        self._lapse("its lease was over before it was renewed" if beat is None else "its renewal took too long")
        await self._join()

    async def _until_answered(self) -> None:
        """The database does not answer: ask more often, and let go in time."""
        said = ""
        while True:
            if not self._lapsed and not self.trusted:
                self._lapse("the database did not answer in time to renew its lease")
            await self.clock.sleep(jittered(_RETRY_SECONDS))
            try:
                await (self._join() if self._lapsed else self._beat())
            except EscrowError as error:
                if error.code != said:
                    said = error.code
                    log.warning("node_waits", node=self.name, code=error.code, reason=error.message)
                continue
            return

    @property
    def _lapsed(self) -> bool:
        return self._trusted_until == _NEVER

    def _renewed(self, beat: Heartbeat, asked_at: float) -> None:
        self.clock.set(beat.now, asked_at, self.clock.monotonic())
        self._trusted_until = asked_at + self._lease_seconds * (1 - 1 / _MARGIN_PARTS)
        if beat.draining != self.draining:
            self.draining = beat.draining
            log.info("node_drains" if self.draining else "node_works_again", node=self.name)

    def _lapse(self, reason: str) -> None:
        self._trusted_until = _NEVER
        log.error("node_lapsed", node=self.name, reason=reason)
        self.on_lapse()

    async def leave(self) -> None:
        """The work has ended: others need not wait for the lease."""
        listed, self._trusted_until = frozenset(self._earlier), _NEVER

        def leave(tx: Transaction) -> None:
            for node_id in listed:
                tx.nodes.leave(node_id)
            tx.audit.add("service", "node_left", tx.nodes.now(), detail={"node": self.name})

        try:
            await self._store.write(leave)
        except EscrowError as error:
            log.warning("node_left_unheard", node=self.name, reason=error.message)
