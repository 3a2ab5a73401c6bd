"""The nodes that share a database: who is there, by the database's own clock, and which processes are whose."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Select, and_, delete, func, insert, or_, select, update

from monero_escrow.core.errors import ConflictError, NotFoundError
from monero_escrow.store import schema
from monero_escrow.store.database_time import database_now

CHANNEL = "monero_escrow"
"""Where nodes ring for one another: `NAME ESCROW_ID`."""

_n, _s = schema.nodes, schema.node_slots


class NodeNameTakenError(ConflictError):
    """Another node of this name is there, or was a moment ago."""

    code = "node_name_taken"
    what_to_do = "Give each node a NODE_NAME of its own. If it is this one that crashed, its lease ends in moments."


class SlotTakenError(ConflictError):
    """A wallet-rpc process serves another node already."""

    code = "slot_taken"
    what_to_do = "Give each node processes of its own: take the URL out of MONERO_RPC_URLS of one of them."


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node as the table shows it. Times are seconds since the epoch, by the database's clock."""

    id: str
    name: str
    version: str
    slots: int
    started_at: float
    seen_at: float
    lease_until: float
    draining_at: float | None
    alive: bool
    working_on: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a node learns when its lease is renewed: the database's time, and whether it is to take up nothing new."""

    now: float
    draining: bool


def living(column: str = "id") -> Select[tuple[str]]:
    """The ids (or another column) of nodes whose lease holds this moment."""
    return select(_n.c[column]).where(_n.c.lease_until > database_now())


def taking_up() -> Select[tuple[str]]:
    """The names of living nodes that take up work: those that drain do not."""
    return living("name").where(_n.c.draining_at.is_(None))


class NodeTable:
    """The `nodes` and `node_slots` tables in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def now(self) -> float:
        """The database's time, in seconds since the epoch."""
        return float(self._connection.scalar(select(database_now())) or 0.0)

    def join(
        self, node_id: str, name: str, version: str, lease_seconds: float, *, earlier: Collection[str] = ()
    ) -> Heartbeat:
        """A node is there; `earlier` are the ids under which the same process was there before.

        It is to drain if it was to as one of those, now and not when it last heard of it: whoever drains a node is to
        stop it, and a lapse on the way must not undo that. Raises NodeNameTakenError while another one of this name is
        alive.
        """
        now, draining_at = self.now(), None
        known = self._connection.execute(select(_n).where(_n.c.name == name).with_for_update()).one_or_none()
        if known is not None and known.id in earlier:
            draining_at = known.draining_at
        elif known is not None and known.lease_until > now:
            raise NodeNameTakenError(
                f"A node called {name} has been there since {now - known.started_at:.0f} s; "
                f"its lease ends in {known.lease_until - now:.0f} s unless it renews it."
            )
        if known is not None:
            self._remove(known.id)
        values = {"id": node_id, "name": name, "version": version, "started_at": now, "seen_at": now, "slots": 0}
        lease = {"lease_until": now + lease_seconds, "draining_at": draining_at}
        self._connection.execute(insert(_n).values(**values, **lease))
        return Heartbeat(now, draining=draining_at is not None)

    def renew(self, node_id: str, lease_seconds: float, slots: int) -> Heartbeat | None:
        """The lease holds for so long from now; None if it was over already: then nothing is the node's any more.

        One statement looks and renews: between two the lease could end, and somebody take the work over. (Others see
        the renewal only when it is committed; what comes of a commit that took too long is `Node`'s to see.)
        """
        now = database_now()
        renewed = self._connection.execute(
            update(_n)
            .where(_n.c.id == node_id, _n.c.lease_until > now)
            .values(seen_at=now, lease_until=now + lease_seconds, slots=slots)
            .returning(_n.c.seen_at, _n.c.draining_at)
        ).one_or_none()
        return None if renewed is None else Heartbeat(renewed.seen_at, renewed.draining_at is not None)

    def is_alive(self, node_id: str) -> bool:
        """Whether this run of a node holds its lease."""
        return self._connection.execute(living().where(_n.c.id == node_id)).first() is not None

    def leave(self, node_id: str) -> None:
        """The node ends, and has let go of everything."""
        self._remove(node_id)

    def use_slots(self, node_id: str, places: Mapping[str, str]) -> None:
        """These processes, URLs by place, serve this node and no other. Raises SlotTakenError, and changes nothing."""
        taken = (
            select(_s.c.url, _n.c.name)
            .join(_n, _n.c.id == _s.c.node_id)
            .where(_s.c.place.in_(list(places)), _s.c.node_id != node_id, _n.c.lease_until > database_now())
        )
        if (other := self._connection.execute(taken).first()) is not None:
            raise SlotTakenError(f"{other.url} serves the node {other.name} already.")
        # Of the dead alone: of two who register at once, the second finds the first's key, and is told.
        left_behind = and_(_s.c.place.in_(list(places)), _s.c.node_id.not_in(living()))
        self._connection.execute(delete(_s).where(or_(_s.c.node_id == node_id, left_behind)))
        for place, url in places.items():
            self._connection.execute(insert(_s).values(place=place, node_id=node_id, url=url))

    def all(self) -> list[NodeRecord]:
        """Every node that is there, or was and did not say goodbye; by name."""
        e = schema.escrows
        works = select(func.count()).where(e.c.node_id == _n.c.id).scalar_subquery()
        alive = _n.c.lease_until > database_now()
        query = select(_n, alive.label("alive"), works.label("working_on")).order_by(_n.c.name)
        return [NodeRecord(**{**row._mapping, "alive": bool(row.alive)}) for row in self._connection.execute(query)]

    def drain(self, name: str, *, drains: bool = True) -> None:
        """The node takes up nothing new (or does so again). Raises NotFoundError."""
        draining_at = database_now() if drains else None
        done = self._connection.execute(update(_n).where(_n.c.name == name).values(draining_at=draining_at))
        if done.rowcount != 1:
            raise NotFoundError("There is no node of this name.", what_to_do="See `monero-escrow nodes`.")

    def forget(self, name: str) -> None:
        """Remove a node that is gone for good, and make its wallets anybody's. Raises NotFoundError, ConflictError."""
        node = self._connection.execute(select(_n).where(_n.c.name == name).with_for_update()).one_or_none()
        if node is None:
            raise NotFoundError("There is no node of this name.", what_to_do="See `monero-escrow nodes`.")
        if node.lease_until > self.now():
            raise ConflictError(
                f"The node {name} is alive.", what_to_do="Drain it, stop it, and forget it then if it is still listed."
            )
        self._remove(node.id)
        for table in (schema.escrows, schema.trios):
            self._connection.execute(update(table).where(table.c.home == name).values(home=None))

    def ring(self, name: str, escrow_ids: Collection[str]) -> None:
        """Tell all who listen, when this commits, to look at these escrows."""
        for escrow_id in escrow_ids:
            self._connection.execute(select(func.pg_notify(CHANNEL, f"{name} {escrow_id}")))

    def _remove(self, node_id: str) -> None:
        e = schema.escrows
        self._connection.execute(update(e).where(e.c.node_id == node_id).values(node_id=None))
        self._connection.execute(delete(_s).where(_s.c.node_id == node_id))
        self._connection.execute(delete(_n).where(_n.c.id == node_id))
