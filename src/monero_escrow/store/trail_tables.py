"""What happened: the journal of steps, the outbox, and the answers to idempotent requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from monero_escrow.core.roles import Role
from monero_escrow.store import schema
from monero_escrow.store.records import EventRecord
from monero_escrow.store.serials import go_on_after_the_largest

OK = "ok"
"""The result of a step that did what it was meant to."""

_LONGEST = 1000
_LEAP = 1_000_000_000
"""More events than any service publishes between a backup and its restoring."""

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(4020315)")  # any number; whoever writes events here uses it

# Several of these are written with every step of every escrow: building a statement costs more than running it.
_ADD_STEP, _ADD_EVENT = insert(schema.steps), insert(schema.events)
_END_STEP = (
    update(schema.steps)
    .where(schema.steps.c.id == bindparam("step_id"))
    .values(result=bindparam("came_of_it"), ended_at=bindparam("now"))
)


class Journal:
    """The `steps` table: a row before a step runs, its result after."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def intend(
        self, *, escrow_id: str | None, subject_id: str, name: str, role: Role | None, slot: str | None, now: float
    ) -> int:
        """A step is about to run; its id."""
        values = {"escrow_id": escrow_id, "subject_id": subject_id, "name": name, "role": role, "slot": slot}
        done = self._connection.execute(_ADD_STEP, {**values, "intended_at": now})
        assert done.inserted_primary_key is not None  # noqa: S101  every engine here returns it
        return int(done.inserted_primary_key[0])

    def end(self, step_id: int, result: str, now: float) -> None:
        """What came of a step: `OK`, or a sentence."""
        self._connection.execute(_END_STEP, {"step_id": step_id, "came_of_it": result[:_LONGEST], "now": now})

    def of(self, escrow_id: str) -> list[Mapping[str, Any]]:
        """An escrow's steps in order."""
        query = select(schema.steps).where(schema.steps.c.escrow_id == escrow_id).order_by(schema.steps.c.id)
        return [dict(row._mapping) for row in self._connection.execute(query)]


class Outbox:
    """The `events` table: what shops are told, written with the change itself.

    Whoever asks for what came after the last id they know misses nothing: ids are in the order of commits. So events
    are written last of all, and on a server one transaction at a time goes from there to its commit.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._to_add: list[dict[str, Any]] = []

    def add(self, shop_id: str, escrow_id: str, kind: str, data: Mapping[str, Any], now: float) -> None:
        """One more event."""
        self._to_add.append({"shop_id": shop_id, "escrow_id": escrow_id, "type": kind, "data": dict(data), "at": now})

    @contextmanager
    def undone_with(self, savepoint: AbstractContextManager[object]) -> Iterator[None]:
        """For the block, what a savepoint undoes is not told either."""
        before = len(self._to_add)
        try:
            with savepoint:
                yield
        except BaseException:
            del self._to_add[before:]
            raise

    def write(self) -> None:
        """Write what was added; nothing of the transaction comes after it but its commit."""
        if not self._to_add:
            return
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(_ONE_AT_A_TIME)
        for values in self._to_add:
            self._connection.execute(_ADD_EVENT, values)
        self._to_add.clear()

    def leap(self, kind: str, data: Mapping[str, Any], now: float) -> None:
        """Skip the ids that another copy of this database may have given out, and tell each shop, at its last escrow.

        A shop that asks for what came after the last id it knows misses nothing then.
        """
        self.write()
        escrows, events = schema.escrows, schema.events
        last_id: int = self._connection.scalar(select(func.max(events.c.id))) or 0
        first_id = max(last_id + _LEAP, int(now * 1000))  # by the clock: one copy may be restored more than once
        newest = select(escrows.c.shop_id, func.max(escrows.c.created_at).label("at")).group_by(escrows.c.shop_id)
        latest = newest.subquery()
        where = (escrows.c.shop_id == latest.c.shop_id, escrows.c.created_at == latest.c.at)
        query = select(escrows.c.shop_id, func.min(escrows.c.id).label("id")).where(*where).group_by(escrows.c.shop_id)
        for number, row in enumerate(self._connection.execute(query).all(), start=1):
            values = {"shop_id": row.shop_id, "escrow_id": row.id, "type": kind, "data": dict(data), "at": now}
            self._connection.execute(insert(events).values(id=first_id + number, **values))
        go_on_after_the_largest(self._connection, events)

    def after(self, shop_id: str | None, last_id: int, limit: int) -> list[EventRecord]:
        """The events after the last one seen, of one shop or (None) of all, in order."""
        t = schema.events
        query = select(t).where(t.c.id > last_id).order_by(t.c.id).limit(limit)
        if shop_id is not None:
            query = query.where(t.c.shop_id == shop_id)
        return [EventRecord(**row._mapping) for row in self._connection.execute(query)]


class IdempotencyTable:
    """The `idempotency_keys` table: same key, same answer. Whoever writes locks the key that is found."""

    def __init__(self, connection: Connection, *, locks: bool = True) -> None:
        self._connection = connection
        self._locks = locks

    def find(self, caller: str, key: str) -> tuple[str, Mapping[str, Any]] | None:
        """The (request fingerprint, response) recorded under the caller's key."""
        t = schema.idempotency_keys
        query = select(t).where(t.c.caller == caller, t.c.key == key)
        row = self._connection.execute(query.with_for_update() if self._locks else query).one_or_none()
        return None if row is None else (row.fingerprint, row.response)

    def put(self, caller: str, key: str, fingerprint: str, response: Mapping[str, Any], now: float) -> None:
        """Record an answer in the transaction of what it answers for, also under a key that was reserved for it."""
        t = schema.idempotency_keys
        reserved = update(t).where(t.c.caller == caller, t.c.key == key, t.c.fingerprint == fingerprint)
        if self._connection.execute(reserved.values(response=dict(response))).rowcount == 0:
            self.add(caller, key, fingerprint, response, now)

    def add(self, caller: str, key: str, fingerprint: str, response: Mapping[str, Any], now: float) -> None:
        """Take a key; with an empty response it is reserved for an answer to come."""
        values = {"caller": caller, "key": key, "fingerprint": fingerprint, "response": dict(response), "at": now}
        self._connection.execute(insert(schema.idempotency_keys).values(**values))
