"""What must hold between nodes after every commit, and how long it takes until work that lost its node has another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from monero_escrow.monero.fake.chain import FakeChain
from simulation.server import NodeStore
from simulation.simulated_node import SimulatedNode
from simulation.storage import InlineStore
from simulation.virtual_time import VirtualClock
from simulation.watch import Watch

_WORK = """
SELECT id, state = 'setting_up', EXISTS (
    SELECT 1 FROM payouts WHERE escrow_id = escrows.id AND state IN ('decided', 'signed')
), due_at FROM escrows WHERE node_id = ?
"""

_HOLDERS = "SELECT id, node_id, fence FROM escrows UNION ALL SELECT name, node_id, fence FROM duties"


@dataclass(frozen=True, slots=True)
class Struck:
    """An escrow whose node was struck down while it worked on it."""

    how: str
    work: str
    fence: int
    node_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Takeover:
    """It has another node, so many seconds after the first one was struck down.

    `prompt` if there was always one that was well: then it must not take longer than the lease and some seconds.
    """

    how: str
    work: str
    seconds: float
    prompt: bool


class ClaimsWatch(Watch):
    """The watch of several nodes."""

    def __init__(self, chain: FakeChain, nodes: Callable[[], Sequence[SimulatedNode]], *, every_commits: int) -> None:
        super().__init__(chain, every_commits=every_commits)
        self.takeovers: list[Takeover] = []
        self.lost_txids: set[str] = set()
        """Signed transactions that the database does not know of any more: the network may have them."""
        self._nodes = nodes
        self._struck: dict[str, Struck] = {}
        self._left_alone: set[str] = set()
        self._holders: dict[str, tuple[str | None, int]] = {}

    def committed(self, store: InlineStore) -> None:
        super().committed(store)
        self._look_at_claims(store)

    def look_at_database(self) -> None:
        if not (isinstance(self.store, NodeStore) and self.store.history.replaced):  # nobody has written to the new one
            super().look_at_database()

    def holder_of(self, subject: str) -> tuple[str | None, int]:
        """Which node has an escrow or a duty, and under which fence."""
        return self._holders.get(subject, (None, 0))

    def rebase(self, engine: Engine) -> set[str]:
        """The database lost its last second: what it says now counts. Answers the escrows that are gone."""
        known = {row[0] for row in _rows(engine, "SELECT id FROM escrows")}
        lost = self.acknowledged - known
        stored = {row[0] for row in _rows(engine, "SELECT txid FROM proposals WHERE signed_sealed IS NOT NULL")}
        self.lost_txids |= self._signed_txids - stored
        self.acknowledged &= known
        self._escrows, self._payouts, self._outputs, self._signed = {}, {}, {}, {}
        self._owners, self._holders, self._audit_rows = {}, {}, 0
        self._struck.clear()
        self._left_alone.clear()
        return lost

    def nobody_is_left(self) -> None:
        """For a while there is no node that could take over what waits."""
        self._left_alone.update(self._struck)

    def struck_down(self, store: InlineStore, how: str, node_id: str) -> Counter[str]:
        """This node does nothing more under this id; what it worked on."""
        at, works = VirtualClock().now(), self.works_of(store.engine, node_id)
        for escrow_id, work in works.items():
            self._struck[escrow_id] = Struck(how, work, self.holder_of(escrow_id)[1], node_id, at)
        return Counter(works.values())

    def works_of(self, engine: Engine, node_id: str) -> dict[str, str]:
        """The escrows that a node works on, and what it does: "set-up", "payout", or a mere "look"."""
        now = VirtualClock().now()
        return {
            escrow_id: "set-up" if sets_up else "payout" if pays else "look"
            for escrow_id, sets_up, pays, due_at in _rows(engine, _WORK, node_id)
            if due_at is not None and due_at <= now  # else all is done but to say so
        }

    @property
    def waiting(self) -> dict[str, Struck]:
        """What nobody has taken over yet."""
        return self._struck

    def _look_at_claims(self, store: InlineStore) -> None:
        self.looks["claims"] += 1
        rows = _rows(
            store.engine, "SELECT id, node_id, fence FROM escrows UNION ALL SELECT name, node_id, fence FROM duties"
        )
        holders = {subject: (node_id, fence) for subject, node_id, fence in rows}
        for subject, (node_id, fence) in holders.items():
            before = self._holders.get(subject)
            if before is None or before == (node_id, fence):
                continue
            if fence < before[1]:
                self._say(f"The fence of {subject} went back from {before[1]} to {fence}.")
            if fence == before[1] and node_id is not None:
                self._say(f"{subject} came to another node under the same fence.")
            struck = self._struck.get(subject)
            if struck is not None and fence > struck.fence and node_id not in (None, struck.node_id):
                del self._struck[subject]
                prompt = subject not in self._left_alone
                self._left_alone.discard(subject)
                self.takeovers.append(Takeover(struck.how, struck.work, VirtualClock().now() - struck.at, prompt))
        self._holders = holders
        self._look_at_trust()

    def _look_at_trust(self) -> None:
        """What a node holds that trusts its lease, it holds by the database too: so no two hold one escrow."""
        for one in self._nodes():
            node, claims = one.node, one.claims
            if node is None or claims is None or not node.trusted or one.fate.dead or node.id == one.asleep_as:
                continue
            for claim in claims.held:
                self.looks["trusted claim"] += 1
                if self._holders.get(claim.subject) != (claim.node_id, claim.fence):
                    self._say(f"{one.name} trusts its claim of {claim.subject}, and does not hold it.")


def _rows(engine: Engine, query: str, *values: object) -> list[Any]:
    connection = engine.raw_connection()
    try:
        return list(connection.cursor().execute(query, values).fetchall())
    finally:
        connection.close()
