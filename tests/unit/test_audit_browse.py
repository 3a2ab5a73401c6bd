"""Rows of the audit trail are found by who, what, when and on which escrow, page by page, on both engines."""

from __future__ import annotations

import asyncio
import threading
from unittest.mock import patch

import pytest
from sqlalchemy import delete, select

from monero_escrow.store import audit_browse, schema
from monero_escrow.store.audit_browse import Looked, Wanted, look_through
from monero_escrow.store.origin import done_by
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import on_both_engines
from unit.rows import escrow

pytestmark = on_both_engines


def look(store: SqlStore, wanted: Wanted, before: int | None = None, limit: int = 50) -> Looked:
    return store.read_now(lambda tx: look_through(tx.connection, wanted, before, limit))


def actions(looked: Looked) -> list[str]:
    return [entry.row.action for entry in looked.entries]


def write_rows(store: SqlStore) -> None:
    """Two escrows whose orders' ids begin alike, a node, and an escrow that is not in the database any more."""

    def write(tx: Transaction) -> None:
        for number, order in ((1, "order-1"), (2, "order-12")):
            tx.escrows.add(escrow(f"{number:024x}", order_id=order))
            tx.audit.add("shop:acme:k1", "order_created", 100.0 * number, escrow_id=f"{number:024x}")
        tx.audit.add("operator:ada:k2", "payout_held", 300.0, escrow_id=f"{2:024x}", detail={"payout": 1})
        tx.audit.add("operator:adam:k3", "sign_in", 400.0)
        tx.audit.add("service", "wallet_operation", 500.0, escrow_id="f" * 24, result="ok")

    with done_by("alpha"):
        store.write_now(write)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), ["wallet_operation", "sign_in", "payout_held", "order_created", "order_created"]),
        (Wanted(escrow="order-1"), ["order_created"]),
        (Wanted(escrow="order-12"), ["payout_held", "order_created"]),
        (Wanted(escrow="order-"), ["payout_held", "order_created", "order_created"]),
        (Wanted(escrow=f"{2:024x}"), ["payout_held", "order_created"]),
        (Wanted(escrow="f" * 24), ["wallet_operation"]),
        (Wanted(escrow="node:alpha"), ["sign_in"]),
        (Wanted(actor="operator:ada"), ["sign_in", "payout_held"]),
        (Wanted(actor="operator:ada:"), ["payout_held"]),
        (Wanted(action="payout_"), ["payout_held"]),
        (Wanted(since=200.0, until=400.0), ["payout_held", "order_created"]),
        (Wanted(escrow="order-12", actor="shop"), ["order_created"]),
        (Wanted(actor="%"), []),
        (Wanted(action="payout%held"), []),
        (Wanted(escrow="order_1"), []),
        (Wanted(escrow="' OR 1=1 --"), []),
    ],
)  # fmt: skip
def test_rows_are_found_by_every_condition_and_nothing_in_it_has_a_meaning_of_its_own(
    store: SqlStore, wanted: Wanted, found: list[str]
) -> None:
    write_rows(store)
    rows = store.read_now(lambda tx: look_through(tx.connection, wanted, None, 50))
    # Rows of one transaction are written chain by chain: the newest by their ids, not by the order of this test.
    assert sorted(actions(rows)) == sorted(found)
    assert [entry.row.id for entry in rows.entries] == sorted((entry.row.id for entry in rows.entries), reverse=True)


def test_a_row_says_its_place_and_its_order(store: SqlStore) -> None:
    write_rows(store)
    (held,) = look(store, Wanted(action="payout_held")).entries
    assert (held.chain, held.seq, held.order_id) == (f"{2:024x}", 2, "order-12")
    (gone,) = look(store, Wanted(escrow="f" * 24)).entries
    assert (gone.chain, gone.seq, gone.order_id) == ("f" * 24, 1, None)


def test_the_one_escrow_of_a_search_is_known(store: SqlStore) -> None:
    write_rows(store)
    assert look(store, Wanted(escrow="order-1")).escrow_id == f"{1:024x}"
    assert look(store, Wanted(escrow="order-")).escrow_id is None


def test_a_search_that_names_more_escrows_than_it_takes_says_so(store: SqlStore) -> None:
    write_rows(store)
    with patch.object(audit_browse, "MOST_ESCROWS", 1):
        assert look(store, Wanted(escrow="order-")) == Looked(too_many=True)
        assert actions(look(store, Wanted(escrow="order-1"))) == ["order_created"]


@pytest.mark.parametrize("rows_a_look", [3, 7, 1_000])
@pytest.mark.parametrize("escrow", ["", "node:alpha"])
def test_pages_go_through_the_whole_trail_without_a_row_missing_or_twice(
    store: SqlStore, rows_a_look: int, escrow: str
) -> None:
    with done_by("alpha"):
        for number in range(40):
            action = "wanted" if number % 3 else "other"
            store.write_now(lambda tx, number=number, action=action: tx.audit.add("x", action, number))  # type: ignore[misc]
    a = schema.audit
    store.write_now(lambda tx: tx.connection.execute(delete(a).where(a.c.id.in_([11, 12, 13]))))  # somebody's doing
    seen: list[float] = []
    before: int | None = None
    with patch.object(audit_browse, "ROWS_A_LOOK", rows_a_look):
        for _ in range(50):
            looked = look(store, Wanted(escrow=escrow, action="wanted"), before, limit=4)
            seen += [entry.row.at for entry in looked.entries]
            before = looked.next_before
            if before is None:
                break
    there = store.read_now(lambda tx: tx.connection.scalars(select(a.c.at).where(a.c.action == "wanted")).all())
    assert before is None
    assert seen == sorted(there, reverse=True)


async def test_a_long_read_keeps_no_other_waiting(store: SqlStore) -> None:
    goes_on = threading.Event()
    long = asyncio.create_task(store.read_long(lambda _tx: goes_on.wait(10)))
    for _ in range(8):
        assert await store.read(lambda tx: tx.escrows.counts()) == {}
    goes_on.set()
    assert await long
