"""Look through the audit trail, newest first, a page at a time. Judges nothing: that is `audit_verify.py`.

A page with conditions that few rows meet would read the whole trail, so a look goes through so many rows at most, and
says where the next one goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select

from monero_escrow.store import schema
from monero_escrow.store.records import AuditRecord

ROWS_A_LOOK: Final = 500_000
"""What one look goes through at most: a third of a second of a file's reader."""
MOST_ESCROWS: Final = 100
_BY_ITSELF: Final = "service"
_a, _e = schema.audit, schema.escrows
_COLUMNS: Final = [*(_a.c[name] for name in AuditRecord.__slots__), _a.c.chain, _a.c.seq, _e.c.order_id]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows are looked for; an empty text or None leaves a condition out, no character has a meaning of its own.

    `escrow` is how an escrow's or order's id begins, or the whole name of a chain (`node:NAME`, `trio:ID`). `since` and
    `until` are seconds since the epoch; `until` itself is not in it. `did` is an action's whole name; with
    `people`, what the service did by itself is left out.
    """

    escrow: str = ""
    actor: str = ""
    action: str = ""
    since: float | None = None
    until: float | None = None
    did: str = ""
    people: bool = False

    @property
    def any(self) -> bool:
        """Whether there is a condition at all."""
        return self != Wanted()


@dataclass(frozen=True, slots=True)
class TrailEntry:
    """A row as it is shown: with its place in its chain, and the order of its escrow if there is one."""

    row: AuditRecord
    chain: str | None
    seq: int | None
    order_id: str | None


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look found. `next_before` is where the next one goes on, None at the oldest row.

    `escrow_id` is the one escrow that the condition names, if it names just one; `too_many`: it names more than
    `MOST_ESCROWS`, and nothing was looked through.
    """

    entries: tuple[TrailEntry, ...] = ()
    next_before: int | None = None
    escrow_id: str | None = None
    too_many: bool = False


def look_through(connection: Connection, wanted: Wanted, before: int | None, limit: int) -> Looked:
    """So many rows that meet the conditions, newest first, of those written before the row with the id `before`."""
    escrow_ids = _escrows_of(connection, wanted.escrow)
    if len(escrow_ids) > MOST_ESCROWS:
        return Looked(too_many=True)
    conditions, lowest = list(_conditions(wanted)), 0
    if wanted.escrow:
        whole = (_a.c.escrow_id == wanted.escrow, _a.c.chain == wanted.escrow)  # of an escrow that is gone, of a node
        conditions.append(or_(_a.c.escrow_id.in_(escrow_ids), *whole))
    else:
        newest = connection.scalar(select(func.max(_a.c.id))) or 0
        before = newest + 1 if before is None else min(before, newest + 1)
        lowest = max(0, before - ROWS_A_LOOK)
        conditions.append(_a.c.id >= lowest)
    if before is not None:
        conditions.append(_a.c.id < before)
    query = select(*_COLUMNS).outerjoin_from(_a, _e, _e.c.id == _a.c.escrow_id).where(*conditions)
    found = connection.execute(query.order_by(_a.c.id.desc()).limit(limit + 1))
    entries = [_entry(row) for row in found]
    further = entries[limit - 1].row.id if len(entries) > limit else lowest if lowest > 1 else None
    return Looked(tuple(entries[:limit]), further, escrow_ids[0] if len(escrow_ids) == 1 else None)


def _entry(row: Row[Any]) -> TrailEntry:
    record = AuditRecord(**{name: getattr(row, name) for name in AuditRecord.__slots__})
    return TrailEntry(record, row.chain, row.seq, row.order_id)


def _conditions(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.actor:
        yield _a.c.actor.startswith(wanted.actor, autoescape=True)
    if wanted.action:
        yield _a.c.action.startswith(wanted.action, autoescape=True)
    if wanted.did:
        yield _a.c.action == wanted.did
    if wanted.people:
        yield _a.c.actor != _BY_ITSELF
    if wanted.since is not None:
        yield _a.c.at >= wanted.since
    if wanted.until is not None:
        yield _a.c.at < wanted.until


def _escrows_of(connection: Connection, text: str) -> list[str]:
    """Those that are called so, else those whose id or order's id begins so."""
    if not text:
        return []
    names = (_e.c.id, _e.c.order_id)
    called = list(connection.scalars(select(_e.c.id).where(or_(*(name == text for name in names)))))
    if called:
        return called
    begins = or_(*(name.startswith(text, autoescape=True) for name in names))
    return list(connection.scalars(select(_e.c.id).where(begins).limit(MOST_ESCROWS + 1)))
