"""A quick look at the audit trail: its newest rows, where their chains end, and the last checkpoint.

It takes milliseconds however long the trail is, and proves nothing of what lies further back (`audit_verify.py` does).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from sqlalchemy import bindparam, func, select

from monero_escrow.store import schema
from monero_escrow.store.audit_check import (
    ChainHead,
    Problem,
    Trouble,
    canonical_if_any,
    changed_row,
    removed_since,
    trouble_of_head,
    unsigned_checkpoint,
)
from monero_escrow.store.audit_checkpoints import last_checkpoint
from monero_escrow.store.audit_seal import AuditSeal, Checkpoint, SealedRow, same
from monero_escrow.store.audit_stored import AUDIT_HEAD, AUDIT_ROW, row_values, time_of
from monero_escrow.store.audit_table import sealed_fields
from monero_escrow.store.audit_verify import chain_head
from monero_escrow.store.transaction import Transaction

NEWEST_ROWS: Final = 200

_a, _h = schema.audit, schema.audit_heads
_NEWEST = select(*AUDIT_ROW).where(_a.c.chain.is_not(None)).order_by(_a.c.id.desc()).limit(NEWEST_ROWS)
_HEADS = select(*AUDIT_HEAD).where(_h.c.chain.in_(bindparam("chains", expanding=True)))
_ENDS = select(_a.c.chain, func.max(_a.c.seq)).where(_a.c.chain.in_(bindparam("chains", expanding=True)))


@dataclass(frozen=True, slots=True)
class Glance:
    """What was seen. `unsigned_seconds` is how much younger the newest row is than what was last signed."""

    rows: int
    troubles: Sequence[Trouble]
    checkpoint_at: float | None
    unsigned_seconds: float


def glance(tx: Transaction) -> Glance:
    """Look at the newest rows and at what the last checkpoint promises. Changes nothing."""
    seal, last = tx.audit.seal, last_checkpoint(tx.connection)
    newest = [row_values(row) for row in tx.connection.execute(_NEWEST)]
    promised = {} if last is None else {chain: seq for chain, seq, _ in last.heads}
    chains = sorted({row["chain"] for row in newest} | promised.keys())
    heads, ends = _heads(tx, chains), _ends(tx, chains)
    troubles = [
        *_of_the_rows(seal, newest),
        *_of_the_ends(seal, chains, heads, ends),
        *_of_the_checkpoint(seal, last, promised, ends),
    ]
    unsigned = 0.0
    signed_at = None if last is None or not isfinite(last.at) else last.at
    if times := [at for row in newest if isfinite(at := time_of(row["at"]))]:
        unsigned = max(0.0, max(times) - (min(times) if signed_at is None else signed_at))
    return Glance(len(newest), troubles, signed_at, unsigned)


def _heads(tx: Transaction, chains: Collection[str]) -> dict[str, ChainHead]:
    rows = tx.connection.execute(_HEADS, {"chains": list(chains)})
    return {str(row.chain): chain_head(row) for row in rows}


def _ends(tx: Transaction, chains: Collection[str]) -> dict[str, int]:
    """The number of each chain's last row."""
    rows = tx.connection.execute(_ENDS.group_by(_a.c.chain), {"chains": list(chains)})
    return {chain: int(seq) for chain, seq in rows if isinstance(seq, int)}


def _of_the_rows(seal: AuditSeal, newest: Sequence[Mapping[str, Any]]) -> Iterator[Trouble]:
    for row in newest:
        canonical = canonical_if_any(SealedRow(**sealed_fields(row)))
        if canonical is None or not same(seal.of_row(row["hash"], canonical), row["mac"]):
            yield changed_row(row["chain"], row["seq"])


def _of_the_ends(
    seal: AuditSeal, chains: Collection[str], heads: Mapping[str, ChainHead], ends: Mapping[str, int]
) -> Iterator[Trouble]:
    for chain in chains:
        head = heads.get(chain)
        if (trouble := trouble_of_head(seal, chain, head)) is not None:
            yield trouble
        elif head is not None and head.seq != ends.get(chain, 0):
            yield Trouble(Problem.CUT_OFF, chain, None, "it does not end where the service last wrote to it.")


def _of_the_checkpoint(
    seal: AuditSeal, last: Checkpoint | None, promised: Mapping[str, int], ends: Mapping[str, int]
) -> Iterator[Trouble]:
    if last is None:
        return
    if not last.signed_by(seal.public_key):
        yield unsigned_checkpoint(last.number)
        return
    for chain, seq in promised.items():
        if ends.get(chain, 0) < seq:
            yield removed_since(last.number, chain, ends.get(chain, 0) + 1, seq)
