"""Verify the audit trail of a database: every row, every chain's end, every checkpoint, in one moment's state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from monero_escrow.core.errors import NotFoundError
from monero_escrow.store import schema
from monero_escrow.store.audit_check import (
    ChainHead,
    Problem,
    TrailCheck,
    TrailRow,
    Trouble,
    Verified,
    check_checkpoints,
    check_last_checkpoints,
    promises_of,
)
from monero_escrow.store.audit_checkpoints import checkpoints
from monero_escrow.store.audit_seal import Checkpoint, SealedRow
from monero_escrow.store.audit_stored import AUDIT_HEAD, AUDIT_ROW, row_values, seal_bytes, whole_number
from monero_escrow.store.audit_table import sealed_fields
from monero_escrow.store.evidence_table import hash_of
from monero_escrow.store.postgresql import be_patient
from monero_escrow.store.progress import Told, say_nothing
from monero_escrow.store.transaction import Transaction

_TOGETHER: Final = 1_000
_MOST_UNCHAINED: Final = 1_000
_a, _h, _e = schema.audit, schema.audit_heads, schema.escrows


def verify(
    tx: Transaction, tell: Told = say_nothing, *, escrow_id: str | None = None, kept: Sequence[Checkpoint] | None = None
) -> Verified:
    """Judge the trail, or one escrow's chain. `kept` are checkpoints that were kept elsewhere. Raises NotFoundError."""
    be_patient(tx.connection)
    public_key = tx.audit.seal.public_key
    found = Verified()
    believed = found.believe(_checked(tx, escrow_id, tell))
    believed += _hold_to_kept(found, {one.number: one for one in believed}, kept or (), public_key, escrow_id)
    promises, heads = promises_of(believed), _heads(tx.connection, escrow_id)
    found.troubles += check_last_checkpoints(heads, promises)
    check = TrailCheck(tx.audit.seal, heads, promises)
    found.judge(check, trail_rows(tx.connection, tell, escrow_id=escrow_id))
    found.troubles += _unchained(tx.connection, escrow_id)
    found.troubles += _without_a_trail(tx.connection, escrow_id)
    if escrow_id is not None:
        found.troubles += _said_otherwise(tx, escrow_id)
    if escrow_id is not None and not found.rows and not found.troubles:
        raise NotFoundError("There is no such escrow, and nothing in the trail of one.")
    return found


def _checked(tx: Transaction, escrow_id: str | None, tell: Told) -> Iterator[Trouble | Checkpoint]:
    """Each checkpoint as far as it is asked for, or what is wrong with one."""
    for one in check_checkpoints(checkpoints(tx.connection), tx.audit.seal.public_key):
        tell("verifying", 0.0)  # so that whoever waits for no answer any more can say so
        yield one if isinstance(one, Trouble) else _of_chain(one, escrow_id)


def _of_chain(signed: Checkpoint, chain: str | None) -> Checkpoint:
    """What a checkpoint that is believed promises of one chain, None for all: of many escrows it would fill memory."""
    return signed if chain is None else replace(signed, heads=[head for head in signed.heads if head[0] == chain])


def _said_otherwise(tx: Transaction, escrow_id: str) -> Iterator[Trouble]:
    """What the parties of a dispute said must be there as its row says. Earlier versions' rows do not say."""
    there = {(one.party.value, hash_of(one.text)) for one in tx.evidence.of(escrow_id)}
    query = select(*AUDIT_ROW).where(_a.c.chain == escrow_id, _a.c.action == "evidence").order_by(_a.c.seq)
    for values in map(row_values, tx.connection.execute(query)):
        told = values["detail"] if isinstance(values["detail"], dict) else {}
        if "text_hash" in told and (str(told.get("party")), str(told["text_hash"])) not in there:
            why = f"what the {told.get('party')} said then is not what the arbiter is shown: it was changed or removed."
            yield Trouble(Problem.CHANGED, escrow_id, values["seq"], why)


def trail_rows(connection: Connection, tell: Told, *, escrow_id: str | None = None) -> Iterator[TrailRow]:
    """The chained rows, by chain and sequence number, some at a time."""
    where = _a.c.chain.is_not(None) if escrow_id is None else _a.c.chain == escrow_id
    whole, done = connection.scalar(select(func.count()).select_from(_a).where(where)) or 0, 0
    query = select(*AUDIT_ROW).where(where).order_by(_a.c.chain, _a.c.seq)
    for rows in connection.execute(query, execution_options={"yield_per": _TOGETHER}).partitions():
        for row in rows:
            yield _trail_row(row)
        done += len(rows)
        tell("verifying", done / max(1, whole))


def _trail_row(row: Row[Any]) -> TrailRow:
    values = row_values(row)
    return TrailRow(row.id, SealedRow(**sealed_fields(values)), values["hash"], values["mac"])


def _heads(connection: Connection, escrow_id: str | None) -> dict[str, ChainHead]:
    query = select(*AUDIT_HEAD) if escrow_id is None else select(*AUDIT_HEAD).where(_h.c.chain == escrow_id)
    return {str(row.chain): chain_head(row) for row in connection.execute(query)}


def chain_head(row: Row[Any]) -> ChainHead:
    """A row of `audit_heads` as it lies."""
    return ChainHead(
        whole_number(row.seq, 0), seal_bytes(row.hash), seal_bytes(row.mac), whole_number(row.checkpointed_seq, 0)
    )


def _hold_to_kept(
    found: Verified, ours: dict[int, Checkpoint], kept: Iterable[Checkpoint], public_key: bytes, chain: str | None
) -> list[Checkpoint]:
    """Those kept elsewhere that can be believed; the database must have each of them."""
    believed = []
    for one in kept:
        if not one.signed_by(public_key):
            why = f"checkpoint {one.number} of the file is not signed by this service, or was changed."
            found.troubles.append(Trouble(Problem.FILE, None, None, why))
            continue
        believed.append(_of_chain(one, chain))
        here = ours.get(one.number)
        if here is None or here.signature != one.signature:
            what = "was removed" if here is None else "is another one"
            why = f"checkpoint {one.number}, which was kept elsewhere, {what} in the database."
            found.troubles.append(Trouble(Problem.CHECKPOINT, None, None, why))
    return believed


def _unchained(connection: Connection, escrow_id: str | None) -> Iterator[Trouble]:
    """Rows of nodes of an earlier version, or of somebody without the key."""
    query = select(_a.c.id, _a.c.escrow_id).where(_a.c.chain.is_(None)).order_by(_a.c.id).limit(_MOST_UNCHAINED)
    if escrow_id is not None:
        query = query.where(_a.c.escrow_id == escrow_id)
    for row in connection.execute(query):
        why = f"the row with id {row.id} is in no chain: an earlier version wrote it, or somebody inserted it."
        yield Trouble(Problem.UNCHAINED, row.escrow_id, None, why)


def _without_a_trail(connection: Connection, escrow_id: str | None) -> Iterator[Trouble]:
    """Every escrow has at least the row of its beginning."""
    query = select(_e.c.id).where(~select(_a.c.id).where(_a.c.escrow_id == _e.c.id).exists()).order_by(_e.c.id)
    if escrow_id is not None:
        query = query.where(_e.c.id == escrow_id)
    known = set(connection.scalars(select(_h.c.chain))) if escrow_id is None else set()
    for one in connection.scalars(query):
        if one not in known:
            yield Trouble(Problem.CUT_OFF, one, None, "it has no audit trail at all.")
