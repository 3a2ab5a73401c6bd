"""What the parties of a dispute say, for the arbiter who rules."""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, func, insert, select

from monero_escrow.core.roles import Role
from monero_escrow.store import schema
from monero_escrow.store.records import EvidenceRecord

_t = schema.evidence


def hash_of(said: str) -> str:
    """BLAKE2b-256 of a text in hex: the audit trail has it, so that the text cannot be exchanged unseen."""
    return hashlib.blake2b(said.encode(), digest_size=32).hexdigest()


class EvidenceTable:
    """The `evidence` table in one transaction: rows are added, and never changed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, escrow_id: str, party: Role, text: str, sent_by: str, now: float) -> None:
        """One more statement of a party, buyer or vendor."""
        values = {"escrow_id": escrow_id, "party": party, "text": text, "sent_by": sent_by, "at": now}
        self._connection.execute(insert(_t).values(**values))

    def of(self, escrow_id: str) -> list[EvidenceRecord]:
        """Everything that was said, the oldest first."""
        query = select(_t).where(_t.c.escrow_id == escrow_id).order_by(_t.c.id)
        return [EvidenceRecord(**{**row._mapping, "party": Role(row.party)}) for row in self._connection.execute(query)]

    def count(self, escrow_id: str, party: Role) -> int:
        """How often a party has spoken."""
        query = select(func.count()).select_from(_t).where(_t.c.escrow_id == escrow_id, _t.c.party == party)
        return self._connection.scalar(query) or 0
