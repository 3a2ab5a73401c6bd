"""The `audit` table in one transaction: rows are added to chains, each under the head of its chain.

One chain an escrow, one a trio that waits in stock, one a node for what concerns neither: no chain serialises the
others. Rows are written last of all but the outbox, so that a head is locked for no longer than the commit takes.
Whoever loses a race for a place in a chain hits the unique index, and its work is run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from monero_escrow.core.errors import NotFoundError, UnavailableError
from monero_escrow.store import schema
from monero_escrow.store.audit_seal import GENESIS, AuditSeal, SealedRow, chain_of, link, name_of, same
from monero_escrow.store.origin import done_by, origin
from monero_escrow.store.records import AuditRecord

WALLET_OPERATION: Final = "wallet_operation"
"""The action of the rows that tell of a finished step on wallets. The history that shops see leaves them out."""

_LONGEST_RESULT = 1000
_LONGEST_SOURCE = 64
_a, _h = schema.audit, schema.audit_heads
_ADD_ROW = insert(_a)
_ADD_HEAD = insert(_h)
_HEAD = select(_h.c.seq, _h.c.hash, _h.c.mac).where(_h.c.chain == bindparam("of_chain")).with_for_update()
_ANY = select(_a.c.id).where(_a.c.chain == bindparam("of_chain")).limit(1)
_MOVE_HEAD = (
    update(_h)
    .where(_h.c.chain == bindparam("of_chain"))
    .values(seq=bindparam("to_seq"), hash=bindparam("to_hash"), mac=bindparam("to_mac"))
)
_RECORD = [_a.c[name] for name in AuditRecord.__slots__]


class AuditHeadBrokenError(UnavailableError):
    """Where a chain of the audit trail ends is not what the service wrote there. Nothing was written, or signed."""

    code = "audit_head_broken"
    what_to_do = (
        "Somebody changed the database beside the service. Run `monero-escrow audit verify`, find out who and what "
        "else, and restore a backup, or let `monero-escrow audit mend CHAIN` go on from what is there."
    )


class AuditTable:
    """Adds rows to the trail and reads an escrow's history."""

    def __init__(self, connection: Connection, seal: AuditSeal) -> None:
        self._connection = connection
        self.seal = seal
        self.added = 0
        """Rows of this transaction, written already or not."""
        self._to_add: list[dict[str, Any]] = []

    def add(
        self,
        actor: str,
        action: str,
        now: float,
        *,
        escrow_id: str | None = None,
        trio_id: str | None = None,
        from_state: str | None = None,
        to_state: str | None = None,
        detail: Mapping[str, Any] | None = None,
        result: str | None = None,
    ) -> None:
        """Who did what. `detail` and `result` hold no secret and no full address.

        `trio_id` is of a trio that is nobody's yet; what concerns neither an escrow nor a trio belongs to the node.
        """
        come_from = origin()
        self.added += 1
        self._to_add.append(
            {
                "chain": chain_of(escrow_id, trio_id, come_from.node),
                "escrow_id": escrow_id,
                "at": float(now),
                "actor": actor,
                "action": action,
                "from_state": from_state,
                "to_state": to_state,
                "detail": json.loads(json.dumps(dict(detail or {}))),  # as it will be read
                "source": None if come_from.source is None else come_from.source[:_LONGEST_SOURCE],
                "result": None if result is None else result[:_LONGEST_RESULT],
                "chained_at": None,
            }
        )

    @contextmanager
    def undone_with(self, savepoint: AbstractContextManager[object]) -> Iterator[None]:
        """For the block, what a savepoint undoes is not in the trail either. Before it, all is written."""
        try:
            with savepoint:
                yield
                self.write()
        except BaseException:
            self._to_add.clear()
            raise

    def write(self) -> None:
        """Write what was added, chain by chain in one order for all, so that no two wait for each other.

        Raises AuditHeadBrokenError.
        """
        if not self._to_add:
            return
        by_chain: dict[str, list[dict[str, Any]]] = {}
        for values in self._to_add:
            by_chain.setdefault(values["chain"], []).append(values)
        for chain in sorted(by_chain):
            self.append(chain, by_chain[chain])
        self._to_add.clear()

    def append(self, chain: str, rows: list[dict[str, Any]]) -> None:
        """Put new rows at the end of a chain. Raises AuditHeadBrokenError."""
        self._connection.execute(_ADD_ROW, list(self.linked(chain, rows)))

    def linked(self, chain: str, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows as the next ones of the chain, whose head moves to the last of them. Raises AuditHeadBrokenError."""
        head = self._head(chain)
        seq, row_hash = (0, GENESIS) if head is None else (head.seq, head.hash)
        for values in rows:
            seq += 1
            canonical = SealedRow(**{**values, "chain": chain, "seq": seq}).canonical()
            row_hash = link(row_hash, canonical)
            yield {**values, "chain": chain, "seq": seq, "hash": row_hash, "mac": self.seal.of_row(row_hash, canonical)}
        mac = self.seal.of_head(chain, seq, row_hash)
        if head is None:
            self._connection.execute(_ADD_HEAD, {"chain": chain, "seq": seq, "hash": row_hash, "mac": mac})
        else:
            moved = {"of_chain": chain, "to_seq": seq, "to_hash": row_hash, "to_mac": mac}
            self._connection.execute(_MOVE_HEAD, moved)

    def _head(self, chain: str) -> Any:
        """Where the chain ends, locked; None if it has no row yet. Raises AuditHeadBrokenError."""
        head = self._connection.execute(_HEAD, {"of_chain": chain}).one_or_none()
        if head is None and self._connection.execute(_ANY, {"of_chain": chain}).first() is not None:
            # Somebody wrote the first row between the two looks, and its head with it; or the head was removed.
            head = self._connection.execute(_HEAD, {"of_chain": chain}).one_or_none()
            if head is None:
                why = f"Where the audit trail of {name_of(chain)} ends was removed by another hand."
                raise AuditHeadBrokenError(why)
        if head is not None and not same(self.seal.of_head(chain, head.seq, head.hash), head.mac):
            raise AuditHeadBrokenError(f"The end of the audit trail of {name_of(chain)} was changed by another hand.")
        return head

    def mend(self, chain: str, actor: str, now: float, escrow_id: str | None) -> int:
        """Let the chain end where its last row is, and say so in it; that row's number. Raises NotFoundError."""
        last = select(_a.c.seq, _a.c.hash).where(_a.c.chain == chain).order_by(_a.c.seq.desc()).limit(1)
        row = self._connection.execute(last).one_or_none()
        if row is None:
            raise NotFoundError(f"There is no row in the audit trail of {name_of(chain)}.")
        self._connection.execute(delete(_h).where(_h.c.chain == chain))
        mac = self.seal.of_head(chain, row.seq, row.hash)
        self._connection.execute(_ADD_HEAD, {"chain": chain, "seq": row.seq, "hash": row.hash, "mac": mac})
        kind, colon, name = chain.partition(":")
        trio_id = name if colon and kind == "trio" else None
        with done_by(name if colon and kind == "node" else origin().node):
            detail = {"last_row": row.seq}
            self.add(actor, "trail_mended", now, escrow_id=escrow_id, trio_id=trio_id, detail=detail)
        self.write()
        return int(row.seq)

    def of(self, escrow_id: str) -> list[AuditRecord]:
        """An escrow's history in order, without the single operations on its wallets."""
        return self._read(_a.c.escrow_id == escrow_id, _a.c.action != WALLET_OPERATION)

    def story(self, escrow_id: str, trio_id: str | None) -> list[AuditRecord]:
        """All that was done about an escrow, in order, also with its trio while that was in stock."""
        whole = self._read(_a.c.escrow_id == escrow_id)
        before = [] if trio_id is None else self._read(_a.c.chain == chain_of(None, trio_id, ""))
        return sorted([*before, *whole], key=lambda row: row.id)

    def _read(self, *where: Any) -> list[AuditRecord]:
        self.write()
        query = select(*_RECORD).where(*where).order_by(_a.c.id)
        return [AuditRecord(**row._mapping) for row in self._connection.execute(query)]


def fields_of(row: Row[Any]) -> dict[str, Any]:
    """What of a stored row goes into a `SealedRow`."""
    return sealed_fields(dict(row._mapping))


def sealed_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """What of a row's values by column goes into a `SealedRow`."""
    late_id = None if values["chained_at"] is None else values["id"]
    return {**{name: values[name] for name in _SEALED}, "late_id": late_id}


_SEALED: Final = tuple(name for name in SealedRow.__slots__ if name != "late_id")
