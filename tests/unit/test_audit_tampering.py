"""Whatever somebody with the database but without the key does to the audit trail is found, and named.

Random trails are written by the real table; then one row, head or tail is tampered with behind its back. An untouched
trail is always accepted. The long form takes a number: AUDIT_EXAMPLES=5000.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, func, insert, select, text, update

from monero_escrow.store import schema
from monero_escrow.store.audit_check import Problem, Trouble, Verified
from monero_escrow.store.audit_checkpoints import checkpoints, make_checkpoint
from monero_escrow.store.audit_glance import glance
from monero_escrow.store.audit_seal import GENESIS, SealedRow, link
from monero_escrow.store.audit_table import fields_of
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import on_both_engines
from unit.trails import write_a_trail

EXAMPLES = int(os.environ.get("AUDIT_EXAMPLES", "25"))
COLUMNS = ["at", "actor", "action", "from_state", "to_state", "detail", "source", "result", "escrow_id"]
SEALS = ["chained_at", "hash", "mac"]
_a, _h = schema.audit, schema.audit_heads


class _UndoneError(Exception):
    """Ends a life: nothing of it stays in the database."""


@contextmanager
def a_life(store: SqlStore) -> Iterator[Transaction]:
    """A transaction of its own that is undone at the end, so that the next life begins with an empty trail."""
    with store._begin(writes=True) as connection:
        undone = connection.begin_nested()
        yield Transaction(connection, store._sealer)
        undone.rollback()


@dataclass(frozen=True)
class Tampering:
    """What somebody did, and the rows of which one at least must be named."""

    what: str
    named: set[tuple[str, int]]


def some_row(connection: Connection, chance: random.Random) -> Any:
    return chance.choice(connection.execute(select(_a)).all())


def change_a_value(connection: Connection, chance: random.Random) -> Tampering:
    row = some_row(connection, chance)
    column = chance.choice(COLUMNS + SEALS)
    new: Any = {"at": row.at + 1, "detail": {"n": -1}, "chained_at": 5.0, "hash": bytes(32), "mac": bytes(32)}.get(
        column, f"{getattr(row, column) or ''}x"
    )
    connection.execute(update(_a).where(_a.c.id == row.id).values({column: new}))
    return Tampering(f"changed {column}", {(row.chain, row.seq)})


def rechain_without_the_key(connection: Connection, chance: random.Random) -> Tampering:
    """Change a row and reckon every hash anew, which needs no key."""
    changed = some_row(connection, chance)
    rows = connection.execute(select(_a).where(_a.c.chain == changed.chain).order_by(_a.c.seq)).all()
    row_hash = GENESIS
    for row in rows:
        values = fields_of(row)
        if row.id == changed.id:
            values["actor"] = "nobody"
        row_hash = link(row_hash, SealedRow(**values).canonical())
        connection.execute(update(_a).where(_a.c.id == row.id).values(actor=values["actor"], hash=row_hash))
    connection.execute(update(_h).where(_h.c.chain == changed.chain).values(hash=row_hash))
    return Tampering("rechained", {(changed.chain, changed.seq)})


def remove_a_row(connection: Connection, chance: random.Random) -> Tampering:
    row = some_row(connection, chance)
    connection.execute(delete(_a).where(_a.c.id == row.id))
    return Tampering("removed", {(row.chain, row.seq)})


def remove_a_row_and_close_the_gap(connection: Connection, chance: random.Random) -> Tampering:
    row = some_row(connection, chance)
    connection.execute(delete(_a).where(_a.c.id == row.id))
    later = connection.execute(select(_a).where(_a.c.chain == row.chain, _a.c.seq > row.seq).order_by(_a.c.seq)).all()
    for one in later:
        connection.execute(update(_a).where(_a.c.id == one.id).values(seq=one.seq - 1))
    return Tampering("removed, and the gap closed", {(row.chain, row.seq)})


def insert_a_row(connection: Connection, chance: random.Random) -> Tampering:
    """A copy of a row at the end of its chain, or in no chain."""
    row = some_row(connection, chance)
    last = connection.scalar(select(func.max(_a.c.seq)).where(_a.c.chain == row.chain))
    newest = connection.scalar(select(func.max(_a.c.id)))
    values = {**row._mapping, "id": newest + 1, "seq": last + 1}
    connection.execute(insert(_a).values(**values))
    return Tampering("inserted at the end", {(row.chain, last + 1)})


def insert_a_row_in_the_middle(connection: Connection, chance: random.Random) -> Tampering:
    row = some_row(connection, chance)
    later = connection.execute(select(_a).where(_a.c.chain == row.chain, _a.c.seq >= row.seq).order_by(_a.c.seq.desc()))
    for one in later.all():
        connection.execute(update(_a).where(_a.c.id == one.id).values(seq=one.seq + 1))
    newest = connection.scalar(select(func.max(_a.c.id)))
    connection.execute(insert(_a).values(**{**row._mapping, "id": newest + 1}))
    return Tampering("inserted in the middle", {(row.chain, row.seq), (row.chain, row.seq + 1)})


def swap_two_rows(connection: Connection, chance: random.Random) -> Tampering:
    """Their numbers change places; or their ids, by which they are shown."""
    one, other = some_row(connection, chance), some_row(connection, chance)
    if one.id == other.id:
        return remove_a_row(connection, chance)
    aside = {"chain": "aside", "seq": 1}
    connection.execute(update(_a).where(_a.c.id == one.id).values(**aside))
    connection.execute(update(_a).where(_a.c.id == other.id).values(chain=one.chain, seq=one.seq))
    connection.execute(update(_a).where(_a.c.id == one.id).values(chain=other.chain, seq=other.seq))
    return Tampering("swapped", {(one.chain, one.seq), (other.chain, other.seq)})


def swap_two_ids(connection: Connection, chance: random.Random) -> Tampering:
    row = some_row(connection, chance)
    rows = connection.execute(select(_a).where(_a.c.chain == row.chain).order_by(_a.c.seq)).all()
    if len(rows) < 2:
        return remove_a_row(connection, chance)
    one, other = sorted(chance.sample(rows, 2), key=lambda each: each.seq)
    for old, new in ((one.id, -1), (other.id, one.id), (-1, other.id)):
        connection.execute(update(_a).where(_a.c.id == old).values(id=new))
    between = {(row.chain, seq) for seq in range(one.seq, other.seq + 1)}
    return Tampering("swapped ids", between)


def cut_the_tail_off(connection: Connection, chance: random.Random) -> Tampering:
    row = some_row(connection, chance)
    connection.execute(delete(_a).where(_a.c.chain == row.chain, _a.c.seq >= row.seq))
    return Tampering("cut off", {(row.chain, row.seq)})


def cut_the_tail_off_and_the_head_with_it(connection: Connection, chance: random.Random) -> Tampering:
    """The head is set to the last row that is left, whose hash is known; only the mac cannot be made."""
    row = some_row(connection, chance)
    cut_the_tail_off_at(connection, row)
    left = connection.execute(select(_a).where(_a.c.chain == row.chain, _a.c.seq == row.seq - 1)).one_or_none()
    if left is None:
        return Tampering("cut off wholly, head changed", {(row.chain, row.seq)})
    connection.execute(update(_h).where(_h.c.chain == row.chain).values(seq=left.seq, hash=left.hash, mac=left.mac))
    return Tampering("cut off, head changed", {(row.chain, row.seq), (row.chain, 0)})


def cut_the_tail_off_at(connection: Connection, row: Any) -> None:
    connection.execute(delete(_a).where(_a.c.chain == row.chain, _a.c.seq >= row.seq))


def unchain_a_row(connection: Connection, chance: random.Random) -> Tampering:
    row = some_row(connection, chance)
    connection.execute(update(_a).where(_a.c.id == row.id).values(chain=None, seq=None, hash=None, mac=None))
    return Tampering("unchained", {(row.chain, row.seq)})


DEEP = "[" * 100_000 + "]" * 100_000
NONSENSE: dict[str, list[tuple[str, Any]]] = {
    # A file's columns take values of any type; a server's take at least these.
    "sqlite": [
        *(("at", value) for value in (float("inf"), "soon", b"1")),
        *(("detail", value) for value in ('{"n": NaN}', "no JSON", DEEP, f'{{"n": {DEEP}}}', "null", b"\x01")),
        *((seal, "text") for seal in SEALS),
        *((column, b"bytes") for column in ("actor", "from_state", "result", "escrow_id")),
    ],
    "postgresql": [
        *(("at", value) for value in (float("inf"), float("nan"))),
        *(("detail", value) for value in ("null", "[1]", '{"n": %s}' % ("[" * 3_000 + "]" * 3_000))),
    ],
}


def put_nonsense_into_a_value(connection: Connection, chance: random.Random) -> Tampering:
    """What the service would never write, and some of it nobody can even decode."""
    row = some_row(connection, chance)
    engine = connection.dialect.name
    column, value = chance.choice(NONSENSE[engine])
    marker = "CAST(:value AS JSON)" if (engine, column) == ("postgresql", "detail") else ":value"
    statement = f"UPDATE audit SET {column} = {marker} WHERE id = :id"  # noqa: S608  a column of the list above
    connection.execute(text(statement), {"value": value, "id": row.id})
    return Tampering(f"put {str(value)[:20]!r} into {column}", {(row.chain, row.seq)})


TAMPERINGS: list[Callable[[Connection, random.Random], Tampering]] = [
    change_a_value,
    put_nonsense_into_a_value,
    rechain_without_the_key,
    remove_a_row,
    remove_a_row_and_close_the_gap,
    insert_a_row,
    insert_a_row_in_the_middle,
    swap_two_rows,
    swap_two_ids,
    cut_the_tail_off,
    cut_the_tail_off_and_the_head_with_it,
    unchain_a_row,
]


def names(trouble: Trouble, row: tuple[str, int]) -> bool:
    """Whether it names this row; row 0 is the chain as a whole."""
    chain, seq = row
    if trouble.chain != chain:
        return False
    if trouble.seq is None:
        return seq == 0
    return trouble.seq <= seq <= (trouble.last or trouble.seq)


def check_all(
    store: SqlStore, seed: int, rows: int, tampering: Callable[[Connection, random.Random], Tampering]
) -> None:
    chance = random.Random(seed)
    with a_life(store) as tx:
        write_a_trail(tx, chance, rows)
        untouched = verify(tx)
        assert untouched.troubles == [], f"seed {seed}"
        assert untouched.rows == rows

        done = tampering(tx.connection, chance)

        found = verify(tx)
        assert found.troubles, f"{done.what} is not found (seed {seed})"
        glance(tx)  # whatever it sees, it does not fail
        named = any(names(trouble, row) for trouble in found.troubles for row in done.named)
        assert named, f"{done.what} {done.named} is not named: {found.troubles} (seed {seed})"


_at_leisure = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda each: each.__name__)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 25))
@_at_leisure
def test_whatever_is_done_to_a_trail_is_found_and_named(
    store: SqlStore,
    tampering: Callable[[Connection, random.Random], Tampering],
    seed: int,
    rows: int,
) -> None:
    check_all(store, seed, rows, tampering)


@on_both_engines
@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda each: each.__name__)
def test_it_is_found_and_named_on_both_engines(
    store: SqlStore,
    tampering: Callable[[Connection, random.Random], Tampering],
) -> None:
    for seed in range(3):
        check_all(store, seed, 20, tampering)


@on_both_engines
@pytest.mark.parametrize("look", [verify, glance], ids=["verify", "glance"])
@pytest.mark.parametrize("nonsense", ["[1]", "null", '"text"', "[[1, 2, 3]]", '[["a", 1e999, "b"]]', "at"])
def test_a_checkpoint_that_cannot_even_be_read_is_named_and_the_next_one_is_signed_all_the_same(
    store: SqlStore, nonsense: str, look: Callable[[Transaction], Any]
) -> None:
    with a_life(store) as tx:
        tx.audit.add("service", "noted", 1.0, escrow_id="a")
        make_checkpoint(tx, 5.0)
        if nonsense == "at":
            tx.connection.execute(update(schema.audit_checkpoints).values(at=float("inf")))
        else:
            tx.connection.execute(text("UPDATE audit_checkpoints SET heads = :heads"), {"heads": nonsense})
        assert Problem.CHECKPOINT in {trouble.problem for trouble in look(tx).troubles}
        tx.audit.add("service", "noted", 6.0, escrow_id="a")
        assert make_checkpoint(tx, 7.0)


@on_both_engines
@pytest.mark.parametrize("left", [0, 1, 2])
def test_checkpoints_that_were_removed_from_the_end_are_missed(store: SqlStore, left: int) -> None:
    with a_life(store) as tx:
        for at in range(3):
            tx.audit.add("service", "noted", 1.0, escrow_id="a")
            make_checkpoint(tx, 5.0 + at)
        assert verify(tx).troubles == []
        removed = delete(schema.audit_checkpoints).where(schema.audit_checkpoints.c.number > left)
        tx.connection.execute(removed)
        for escrow_id in (None, "a"):
            found = verify(tx, escrow_id=escrow_id).troubles
            assert [(one.problem, one.chain) for one in found] == [(Problem.CHECKPOINT, None)]


@given(seed=st.integers(0, 2**32), rows=st.integers(2, 25))
@_at_leisure
def test_a_tail_that_is_cut_off_with_its_head_shows_by_a_checkpoint_kept_elsewhere(
    store: SqlStore,
    seed: int,
    rows: int,
) -> None:
    """Everything is put back as it was earlier, heads and checkpoints included: only what was kept elsewhere knows."""
    chance = random.Random(seed)
    with a_life(store) as tx:
        write_a_trail(tx, chance, rows // 2)
        before = {
            table: [dict(row._mapping) for row in tx.connection.execute(select(table))]
            for table in (_h, schema.audit_checkpoints)
        }
        last_id = tx.connection.scalar(select(func.max(_a.c.id))) or 0
        write_a_trail(tx, chance, rows)
        cut = {(row.chain, row.seq) for row in tx.connection.execute(select(_a).where(_a.c.id > last_id))}
        while make_checkpoint(tx, 3e9):
            pass
        kept = list(checkpoints(tx.connection))

        tx.connection.execute(delete(_a).where(_a.c.id > last_id))
        for table, as_it_was in before.items():
            tx.connection.execute(delete(table))
            for values in as_it_was:
                tx.connection.execute(insert(table).values(**values))

        assert verify(tx).troubles == []
        found: Verified = verify(tx, kept=kept)
        cut_off = [trouble for trouble in found.troubles if trouble.problem is Problem.CUT_OFF]
        for row in cut:
            assert any(names(trouble, row) for trouble in cut_off), f"{row} is not named (seed {seed})"
