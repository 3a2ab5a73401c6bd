"""Signed checkpoints join the chains of the audit trail: where each stood at one time, each bound to the one before.

A checkpoint holds only the chains that grew since; it is made beside all other work, and waits for nobody: a chain that
is being written to at that moment is in the next one. Kept elsewhere, even the last one alone shows whether anything
before it was cut off, with its chains and rows named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select, text, update

from monero_escrow.store import schema
from monero_escrow.store.audit_seal import GENESIS, Checkpoint, checkpoint_digest, same
from monero_escrow.store.audit_stored import CHECKPOINT, heads_in, seal_bytes, time_of, whole_number
from monero_escrow.store.store import Store
from monero_escrow.store.transaction import Transaction

MOST_HEADS: Final = 1_000
"""So many chains at most in one checkpoint; more make several."""

_ONE_AT_A_TIME: Final = text("SELECT pg_advisory_xact_lock(4020316)")  # any number; whoever signs here uses it
_h, _c = schema.audit_heads, schema.audit_checkpoints
_SAW = update(_h).where(_h.c.chain == bindparam("of_chain")).values(checkpointed_seq=bindparam("to_seq"))


def make_checkpoint(tx: Transaction, now: float) -> Checkpoint | None:
    """Sign where the chains stand that grew since the last one; None when none did (see `sign_all`).

    A head that is not the service's own work is never signed: `audit verify` names it. Nodes of one server sign one
    after another: two at once would give one number twice.
    """
    seal, connection = tx.audit.seal, tx.connection
    if connection.dialect.name == "postgresql":
        connection.execute(_ONE_AT_A_TIME)
    tx.audit.write()
    grown = (
        select(_h).where(_h.c.seq != _h.c.checkpointed_seq).order_by(_h.c.chain).limit(MOST_HEADS)
    ).with_for_update(skip_locked=True)
    ours = [row for row in connection.execute(grown).all() if same(seal.of_head(row.chain, row.seq, row.hash), row.mac)]
    if not ours:
        return None
    last = last_checkpoint(connection)
    number, previous = (1, GENESIS) if last is None else (last.number + 1, last.signature)
    heads = sorted((row.chain, row.seq, row.hash.hex()) for row in ours)
    signature = seal.sign(checkpoint_digest(number, float(now), previous, heads))
    values = {"number": number, "at": float(now), "heads": [list(head) for head in heads], "signature": signature}
    connection.execute(insert(_c), values)
    connection.execute(_SAW, [{"of_chain": row.chain, "to_seq": row.seq} for row in ours])
    return Checkpoint(number, float(now), previous, heads, signature)


async def sign_all(store: Store, now: Callable[[Transaction], float]) -> int:
    """Sign checkpoints until every chain is in one; how many those were. Each is a transaction of its own, so that
    nobody who writes to the trail waits for more than one of them."""
    made = 0
    while await store.write(lambda tx: make_checkpoint(tx, now(tx))) is not None:
        made += 1
    return made


def checkpoints(connection: Connection) -> Iterator[Checkpoint]:
    """All of them in order; `previous` is what the one before has, whether it fits or not."""
    previous = GENESIS
    for row in connection.execute(select(*CHECKPOINT).order_by(_c.c.number), execution_options={"yield_per": 10}):
        one = _checkpoint(row, previous)
        yield one
        previous = one.signature


def last_checkpoint(connection: Connection) -> Checkpoint | None:
    """The newest one, if there is one, bound to the one before as that is stored."""
    rows = connection.execute(select(*CHECKPOINT).order_by(_c.c.number.desc()).limit(2)).all()
    return _checkpoint(rows[0], seal_bytes(rows[1].signature) if len(rows) > 1 else GENESIS) if rows else None


def _checkpoint(row: Row[Any], previous: bytes) -> Checkpoint:
    number, signature = whole_number(row.number, 0), seal_bytes(row.signature)
    return Checkpoint(number, time_of(row.at), previous, heads_in(row.heads), signature)
