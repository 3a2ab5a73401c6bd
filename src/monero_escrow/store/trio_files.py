"""Which trios need their wallets' files no longer, by the database. The rows stay: from them the files come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, and_, or_, select, update

from monero_escrow.core.life_cycle import CLOSED_STATES
from monero_escrow.core.roles import Role
from monero_escrow.store import schema
from monero_escrow.store.records import TrioState


@dataclass(frozen=True, slots=True)
class OldTrio:
    """A trio whose wallets nobody opens any more by himself; `filenames` are of the wallets we host."""

    id: str
    escrow_id: str | None
    filenames: Mapping[Role, str]


def old_trios(
    connection: Connection, *, settled_before: float, abandoned_before: float, limit: int, node_name: str | None = None
) -> list[OldTrio]:
    """Trios with files that were not removed yet: abandoned ones, and those of escrows that are closed for good.

    Of several nodes each is told only of those whose files it has itself, `node_name` being its name: what it does not
    see it would take for removed.

    An escrow is closed for good when nothing is due any more, by the clock or by the chain: it is closed, everything
    that came or was paid is final, and it was watched long enough. Times are seconds since the epoch.
    """
    t, e = schema.trios, schema.escrows
    nothing_due = and_(e.c.due_at.is_(None), e.c.due_height.is_(None), e.c.rescan_from.is_(None))
    settled = and_(e.c.state.in_(CLOSED_STATES), nothing_due, e.c.updated_at < settled_before)
    abandoned = and_(t.c.state == TrioState.ABANDONED, t.c.finished_at < abandoned_before)
    if node_name is not None:
        settled = and_(settled, or_(e.c.home == node_name, e.c.home.is_(None)))
        abandoned = and_(abandoned, or_(t.c.home == node_name, t.c.home.is_(None)))
    query = (
        select(t.c.id, t.c.escrow_id)
        .join(e, e.c.id == t.c.escrow_id, isouter=True)
        .where(t.c.files_removed_at.is_(None), or_(abandoned, and_(t.c.state == TrioState.READY, settled)))
        .order_by(t.c.created_at)
        .limit(limit)
    )
    return [OldTrio(row.id, row.escrow_id, _filenames(connection, row.id)) for row in connection.execute(query).all()]


def _filenames(connection: Connection, trio_id: str) -> dict[Role, str]:
    p = schema.participants
    query = select(p.c.role, p.c.filename).where(p.c.trio_id == trio_id, p.c.hosted == 1)
    return {Role(row.role): row.filename for row in connection.execute(query)}


def files_are_removed(connection: Connection, trio_id: str, now: float) -> None:
    """Nothing of this trio lies in the wallet folders that this machine sees."""
    connection.execute(update(schema.trios).where(schema.trios.c.id == trio_id).values(files_removed_at=now))
