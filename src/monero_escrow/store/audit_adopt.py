"""Chain the rows that were written without a chain: those of before the chains, and those of earlier versions' nodes.

Until then nothing protected them, so each says from when on it is protected (`chained_at`). The service does it by
itself once and never again, up to the row that the migration noted; what comes later without a chain may be a node of
an earlier version during an upgrade, or somebody's forgery, and waits for a person (`monero-escrow audit adopt`).
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from sqlalchemy import bindparam, select, update

from monero_escrow.clock import Clock
from monero_escrow.store import facts, schema
from monero_escrow.store.audit_seal import chain_of
from monero_escrow.store.audit_table import fields_of
from monero_escrow.store.origin import done_by
from monero_escrow.store.store import Store
from monero_escrow.store.transaction import Transaction

log = structlog.get_logger(__name__)

UNCHAINED_UP_TO: Final = "audit_unchained_up_to"
"""The fact that migration 0006 leaves: the id of the last row without a chain."""

_EARLIER: Final = "earlier"
"""In place of a node's name, for rows that do not say which node wrote them."""
_OVER: Final = "earlier_rows_chained"
_TOGETHER: Final = 500
_CHAINING: Final = ("chain", "seq", "chained_at", "hash", "mac")
_a = schema.audit
_CHAIN_ROW = (
    update(_a).where(_a.c.id == bindparam("of_id")).values({name: bindparam(f"to_{name}") for name in _CHAINING})
)


async def chain_earlier_rows(store: Store, clock: Clock) -> int:
    """Chain what was there before the chains, some rows a transaction, and note it; how many those were.

    Whatever interrupts it, the next start goes on. Once it is over, also if there was nothing to chain, a row of the
    trail says so, and the migration's note is never obeyed again: anybody who writes to the database could write one,
    and would have a row of theirs sealed by the next start.
    """
    noted, is_over = await store.read(lambda tx: (facts.read_facts(tx.connection).get(UNCHAINED_UP_TO), _is_over(tx)))
    if is_over:
        if noted is not None:
            log.error("note_of_earlier_rows_not_obeyed", up_to=noted[:20])
        return 0
    up_to, done = int(noted or 0), 0
    if noted is not None:
        log.info("audit_trail_is_being_chained", up_to=up_to)
        while more := await store.write(lambda tx: adopt(tx, clock.now(), up_to=up_to)):
            done += more

    def finish(tx: Transaction) -> None:
        facts.drop_fact(tx.connection, UNCHAINED_UP_TO)
        if not _is_over(tx):  # by another node that starts as well
            with done_by(_EARLIER):
                tx.audit.add("service", _OVER, clock.now(), detail={"rows": done, "last_id": up_to})

    await store.write(finish)
    log.info("audit_trail_is_chained", rows=done)
    return done


def _is_over(tx: Transaction) -> bool:
    """Whether a row says so, in the chain of the earlier rows. Its removal leaves a gap that `audit verify` names."""
    query = select(_a.c.id).where(_a.c.chain == chain_of(None, None, _EARLIER), _a.c.action == _OVER).limit(1)
    return tx.connection.execute(query).first() is not None


def adopt(tx: Transaction, now: float, *, up_to: int | None = None) -> int:
    """Chain the oldest rows without a chain, some hundred at most; how many. Raises AuditHeadBrokenError."""
    tx.audit.write()
    # Locked, so that a second one who does the same waits, and then finds other rows.
    query = select(_a).where(_a.c.chain.is_(None)).order_by(_a.c.id).limit(_TOGETHER).with_for_update()
    if up_to is not None:
        query = query.where(_a.c.id <= up_to)
    by_chain: dict[str, list[dict[str, Any]]] = {}
    rows = tx.connection.execute(query).all()
    for row in rows:
        chain = chain_of(row.escrow_id, None, _EARLIER)
        by_chain.setdefault(chain, []).append({**fields_of(row), "chained_at": float(now), "late_id": row.id})
    for chain in sorted(by_chain):
        changes = [
            {"of_id": values["late_id"], **{f"to_{name}": values[name] for name in _CHAINING}}
            for values in tx.audit.linked(chain, by_chain[chain])
        ]
        tx.connection.execute(_CHAIN_ROW, changes)
    return len(rows)
