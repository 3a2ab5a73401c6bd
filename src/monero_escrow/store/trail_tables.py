"""What happened: the journal of steps, the audit trail, the outbox, and the answers to idempotent requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from monero_escrow.core.roles import Role
from monero_escrow.store import schema
from monero_escrow.store.records import AuditRecord, EventRecord

OK = "ok"
"""The result of a step that did what it was meant to."""

_LONGEST = 1000
_LEAP = 1_000_000_000
"""More events than any service publishes between a backup and its restoring."""

# Several of these are written with every step of every escrow: building a statement costs more than running it.
_ADD_STEP, _ADD_AUDIT_ROW, _ADD_EVENT = insert(schema.steps), insert(schema.audit), insert(schema.events)
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


class AuditTable:
    """The `audit` table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(
        self,
        actor: str,
        action: str,
        now: float,
        *,
        escrow_id: str | None = None,
        from_state: str | None = None,
        to_state: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Who did what. `detail` holds no secret and no full address."""
        values = {
            "escrow_id": escrow_id,
            "at": now,
            "actor": actor,
            "action": action,
            "from_state": from_state,
            "to_state": to_state,
            "detail": dict(detail or {}),
        }
        self._connection.execute(_ADD_AUDIT_ROW, values)

    def of(self, escrow_id: str) -> list[AuditRecord]:
        """An escrow's history in order."""
        query = select(schema.audit).where(schema.audit.c.escrow_id == escrow_id).order_by(schema.audit.c.id)
        return [AuditRecord(**row._mapping) for row in self._connection.execute(query)]


class Outbox:
    """The `events` table: what shops are told, written with the change itself."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, shop_id: str, escrow_id: str, kind: str, data: Mapping[str, Any], now: float) -> None:
        """One more event."""
        values = {"shop_id": shop_id, "escrow_id": escrow_id, "type": kind, "data": dict(data), "at": now}
        self._connection.execute(_ADD_EVENT, values)

    def leap(self, kind: str, data: Mapping[str, Any], now: float) -> None:
        """Skip the ids that another copy of this database may have given out, and tell each shop, at its last escrow.

        A shop that asks for what came after the last id it knows misses nothing then.
        """
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

    def after(self, shop_id: str | None, last_id: int, limit: int) -> list[EventRecord]:
        """The events after the last one seen, of one shop or (None) of all, in order."""
        t = schema.events
        query = select(t).where(t.c.id > last_id).order_by(t.c.id).limit(limit)
        if shop_id is not None:
            query = query.where(t.c.shop_id == shop_id)
        return [EventRecord(**row._mapping) for row in self._connection.execute(query)]


class IdempotencyTable:
    """The `idempotency_keys` table: same key, same answer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, caller: str, key: str) -> tuple[str, Mapping[str, Any]] | None:
        """The (request fingerprint, response) recorded under the caller's key."""
        t = schema.idempotency_keys
        row = self._connection.execute(select(t).where(t.c.caller == caller, t.c.key == key)).one_or_none()
        return None if row is None else (row.fingerprint, row.response)

    def add(self, caller: str, key: str, fingerprint: str, response: Mapping[str, Any], now: float) -> None:
        """Record an answer in the transaction of what it answers for."""
        values = {"caller": caller, "key": key, "fingerprint": fingerprint, "response": dict(response), "at": now}
        self._connection.execute(insert(schema.idempotency_keys).values(**values))
