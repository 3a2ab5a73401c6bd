"""Whatever nodes do, and in whatever order: one holder an escrow, fences that only grow, and nothing that is stuck.

A seeded chance lets several nodes claim, renew, pause, lapse, lose answers, give back, drain, leave and be forgotten,
on one real database whose clock the test moves. A failing life prints its seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from monero_escrow.core.errors import ConflictError, NotFoundError
from monero_escrow.nodes.claims import SharedClaims
from monero_escrow.nodes.node import Node
from monero_escrow.store import schema
from monero_escrow.store.group_commit import GroupCommit
from monero_escrow.store.sealing import Sealer, derive_key
from monero_escrow.store.sqlcipher import begin, sqlcipher_engine
from monero_escrow.store.store import CommitUnknownError, DatabaseBusyError, SqlStore
from monero_escrow.store.work_table import Claim, ClaimLostError
from simulation.storage import empty_database
from unit.node_rows import FAR, LEASE_SECONDS, Line
from unit.rows import MASTER_KEY, NETWORK, escrow
from unit.slots import VirtualClock

LIVES = 60
STEPS = 60
ESCROWS = 6
NODES = 3
POLL_SECONDS = 5.0
STEPS_OF = (
    *("claim", "claim", "claim", "give back", "give back", "write", "write", "heartbeat", "heartbeat", "heartbeat"),
    *("time", "time", "long time", "cut", "lose answers", "mend", "mend", "drain", "work again", "leave", "kill"),
    "forget",
)


class Life:
    """Some nodes, some escrows that are always due, and what was seen of their fences."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.clock = VirtualClock()
        self.happened: Counter[str] = Counter()
        path = folder / f"{seed}.db"
        path.write_bytes(empty_database(NETWORK, MASTER_KEY))
        engine = sqlcipher_engine(path, derive_key(MASTER_KEY, "database"), self.clock.now)
        begins = lambda *, writes: begin(engine, writes=writes)  # noqa: E731
        sealer = Sealer(derive_key(MASTER_KEY, "sealing"))
        self.store = SqlStore(engine, sealer, begins, GroupCommit(begins, sealer))
        self.names = [f"escrow {number}" for number in range(ESCROWS)]
        for name in self.names:
            self.store.write_now(lambda tx, name=name: tx.escrows.add(escrow(name, due_at=1.0)))  # type: ignore[misc]
        self.lines = [Line(self.store) for _ in range(NODES)]
        self.claims: list[SharedClaims | None] = [None] * NODES
        self.fences = dict.fromkeys(self.names, 0)

    async def node(self, number: int) -> SharedClaims | None:
        """The node of this number, there anew if it was not and can be."""
        claims = self.claims[number]
        if claims is None:
            node = Node(self.lines[number], self.clock, f"node {number}", LEASE_SECONDS)
            try:
                await node._join()
            except (ConflictError, CommitUnknownError, DatabaseBusyError):
                return None
            claims = self.claims[number] = SharedClaims(self.lines[number], node.clock, node)
        return claims

    async def step(self) -> None:
        number, what = self.chance.randrange(NODES), self.chance.choice(STEPS_OF)
        line, claims = self.lines[number], await self.node(number)
        try:
            match what:
                case "time":
                    await self.clock.advance(self.chance.uniform(0, LEASE_SECONDS / 3))
                case "long time":
                    await self.clock.advance(self.chance.uniform(LEASE_SECONDS / 2, 2 * LEASE_SECONDS))
                case "cut":
                    line.is_cut = True
                case "lose answers":
                    line.loses_answers = True
                case "mend":
                    line.is_cut = line.loses_answers = False
                case "forget":
                    self.store.write_now(lambda tx: tx.nodes.forget(f"node {number}"))
                case "drain" | "work again":
                    self.store.write_now(lambda tx: tx.nodes.drain(f"node {number}", drains=what == "drain"))
                case "kill":
                    self.claims[number] = None
                case _ if claims is not None:
                    await self.act(number, what, claims)
        except (ConflictError, NotFoundError, CommitUnknownError, DatabaseBusyError, ClaimLostError) as error:
            what = f"{what}: {error.code}"
        self.happened[what] += 1
        self.look()

    async def act(self, number: int, what: str, claims: SharedClaims) -> None:
        match what:
            case "claim":
                await claims.take(self.chance.randint(1, ESCROWS), FAR)
            case "heartbeat":
                node = claims._node
                await (node._join() if node._lapsed else node._beat())
            case "leave":
                await claims._node.leave()
                self.claims[number] = None
            case "give back" if claims.held:
                await claims.give_back(self.chance.choice(claims.held))
            case "write" if claims._held:
                claim = self.chance.choice(list(claims._held.values()))
                await claims.store_for(claim).write(lambda _tx: self.is_held(claim))

    def is_held(self, claim: Claim) -> None:
        """A write that passed its fence: nobody else may hold the escrow."""
        others = [other for one in self.claims if one is not None for other in one.held if one._node.trusted]
        same = [other for other in others if other.subject == claim.subject and other.node_id != claim.node_id]
        assert not same, "two hold one escrow"

    def look(self) -> None:
        e = schema.escrows
        query = select(e.c.id, e.c.node_id, e.c.fence)
        rows = {row.id: row for row in self.store.read_now(lambda tx: tx.connection.execute(query).all())}
        for name, row in rows.items():
            assert row.fence >= self.fences[name], "a fence went back"
            self.fences[name] = row.fence
        for claims in self.claims:
            if claims is None or not claims._node.trusted:
                continue
            for claim in claims.held:
                row = rows[claim.subject]
                assert (row.node_id, row.fence) == (claim.node_id, claim.fence), "trusted, and not held"

    async def all_is_well_again(self) -> None:
        """Everybody who has anything gives it back or is dead; then one new node gets everything, in time."""
        for line in self.lines:
            line.is_cut = line.loses_answers = False
        for claims in self.claims:
            for claim in claims.held if claims is not None else ():
                if self.chance.random() < 0.5 and claims is not None:
                    await claims.give_back(claim)
        await self.clock.advance(LEASE_SECONDS + POLL_SECONDS)
        node = Node(self.store, self.clock, "the last", LEASE_SECONDS)
        await node.join()
        taken = await SharedClaims(self.store, node.clock, node).take(ESCROWS, FAR)
        assert sorted(claim.subject for claim in taken) == self.names, "something is stuck"


@pytest.fixture(scope="module")
def happened() -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    yield counts
    for kind in ("claim", "write", "write: claim_lost", "claim: commit_unknown", "heartbeat", "forget", "long time"):
        assert counts[kind], f"never came up: {kind}"


@pytest.mark.parametrize("seed", range(LIVES // 20))
async def test_one_holder_growing_fences_and_nothing_stuck(seed: int, tmp_path: Path, happened: Counter[str]) -> None:
    for number in range(20):
        life = Life(20 * seed + number, tmp_path)
        try:
            for _ in range(STEPS):
                await life.step()
            await life.all_is_well_again()
        except AssertionError as error:
            raise AssertionError(f"seed {20 * seed + number}: {error}") from error
        finally:
            life.store.close()
        happened += life.happened
