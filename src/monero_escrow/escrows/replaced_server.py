"""A server that was replaced is treated as a restored backup: it may lack what the one before had acknowledged.

A standby that was promoted may have lost the last seconds, unless it followed synchronously; a server that was set
back to a point in time lacks more. Its history says that this happened, not how much is missing. So nothing of the
stock is handed out that may have been handed out before, and the chain is asked before anything is signed.
"""

from __future__ import annotations

import structlog
from sqlalchemy import select

from monero_escrow.escrows.context import SERVICE
from monero_escrow.store import facts, schema
from monero_escrow.store.store import Store
from monero_escrow.store.transaction import Transaction

log = structlog.get_logger(__name__)

_QUARANTINE = "the server was replaced: nobody knows whether this trio was handed out before"


async def treat_as_restored_if_replaced(store: Store, history: str, now: float) -> None:
    """Of several nodes that find a replaced server, the first does this for all; `ask_chain.py` goes on from there."""
    quarantined = await store.write(lambda tx: _mark(tx, history, now))
    if quarantined is not None:
        log.warning("server_replaced", quarantined=quarantined, next="the chain is asked before anything is signed")


def _mark(tx: Transaction, history: str, now: float) -> int | None:
    """How many trios were put aside; None when the server is the one it was."""
    f = schema.facts
    ours = select(f.c.value).where(f.c.name == "network").with_for_update()  # one node at a time
    tx.connection.execute(ours).all()
    before = facts.read_facts(tx.connection).get(facts.SERVER_HISTORY)
    if before == history:
        return None
    facts.put_fact(tx.connection, facts.SERVER_HISTORY, history)
    if before is None:
        return None
    facts.drop_fact(tx.connection, facts.RESTORED_CHECKED_AT)
    facts.put_fact(tx.connection, facts.RESTORED_AT, now)
    quarantined = tx.trios.quarantine_unclaimed(_QUARANTINE)
    detail = {"before": before, "after": history, "quarantined": quarantined}
    tx.audit.add(SERVICE, "server_replaced", now, detail=detail)
    tx.outbox.leap("service.restored", {"copied_at": now}, now)
    return quarantined
