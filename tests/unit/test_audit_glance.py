"""The quick look at the audit trail: what it finds at once, and that a whole trail gives it nothing to say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import delete, select, update

from monero_escrow.store import schema
from monero_escrow.store.audit_check import Problem
from monero_escrow.store.audit_checkpoints import make_checkpoint
from monero_escrow.store.audit_glance import NEWEST_ROWS, glance
from monero_escrow.store.origin import done_by
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import on_both_engines

pytestmark = on_both_engines
_a, _h, _c = schema.audit, schema.audit_heads, schema.audit_checkpoints


def a_day(tx: Transaction) -> None:
    """Two nodes and a trio, more rows than one look takes, signed in the middle."""
    for number in range(NEWEST_ROWS + 50):
        with done_by("second" if number % 3 else "first"):
            tx.audit.add("service", "node_drained", 1000.0 + number, detail={"n": number})
        if number == NEWEST_ROWS:
            tx.audit.add("service", "set_up_begun", 1000.0 + number, trio_id="a-trio")
            make_checkpoint(tx, 1000.0 + number)
            make_checkpoint(tx, 1000.0 + number)
    tx.audit.write()


def last_row(tx: Transaction) -> int:
    return int(tx.connection.execute(select(_a.c.id).order_by(_a.c.id.desc()).limit(1)).scalar_one())


def changed(tx: Transaction) -> None:
    tx.connection.execute(update(_a).where(_a.c.id == last_row(tx)).values(actor="nobody"))


def cut_off(tx: Transaction) -> None:
    tx.connection.execute(delete(_a).where(_a.c.id == last_row(tx)))


def head_removed(tx: Transaction) -> None:
    tx.connection.execute(delete(_h).where(_h.c.chain == "node:first"))


def head_moved(tx: Transaction) -> None:
    tx.connection.execute(update(_h).where(_h.c.chain == "node:first").values(seq=1))


def signed_chain_removed(tx: Transaction) -> None:
    for table in (_a, _h):
        tx.connection.execute(delete(table).where(table.c.chain == "trio:a-trio"))


def checkpoint_changed(tx: Transaction) -> None:
    tx.connection.execute(update(_c).values(at=5.0))


def test_a_whole_trail_and_an_empty_one_give_nothing_to_say(store: SqlStore) -> None:
    empty = store.read_now(glance)
    assert (empty.rows, list(empty.troubles), empty.unsigned_seconds) == (0, [], 0.0)
    store.write_now(a_day)
    seen = store.read_now(glance)
    assert (seen.rows, list(seen.troubles)) == (NEWEST_ROWS, [])
    assert seen.checkpoint_at == 1000.0 + NEWEST_ROWS
    assert seen.unsigned_seconds == 49.0


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (changed, Problem.CHANGED),
        (cut_off, Problem.CUT_OFF),
        (head_removed, Problem.HEAD),
        (head_moved, Problem.HEAD),
        (signed_chain_removed, Problem.CUT_OFF),
        (checkpoint_changed, Problem.CHECKPOINT),
    ],
)
def test_what_was_done_to_the_newest_rows_is_seen_at_once(
    store: SqlStore, tamper: Callable[[Transaction], None], problem: Problem
) -> None:
    store.write_now(a_day)
    store.write_now(tamper)
    assert problem in {trouble.problem for trouble in store.read_now(glance).troubles}
