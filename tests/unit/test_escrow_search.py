"""Escrows are found by the beginning of what names them, on both engines, and no character is a wildcard."""

from __future__ import annotations

from functools import partial

import pytest

from monero_escrow.core.life_cycle import State
from monero_escrow.store.records import EscrowRecord, PayoutState
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import on_both_engines
from unit.rows import decide, escrow, hex64, output, plan

pytestmark = on_both_engines


def add(row: EscrowRecord, tx: Transaction) -> None:
    tx.escrows.add(row)


def found(store: SqlStore, text: str) -> set[str]:
    page = store.read_now(lambda tx: tx.escrows.page(shop_id=None, states=None, before=None, limit=9, beginning=text))
    return {row.id for row in page}


@pytest.fixture(autouse=True)
def escrows(store: SqlStore) -> None:
    """One with a payout, one whose order is a wildcard, one of neither."""
    with_payout = escrow("first", order_id="order-1")
    wildcards = escrow("second", order_id="%_\\order")
    plain = escrow("third", order_id="order-3")
    for row in (with_payout, wildcards, plain):
        store.write_now(partial(add, row))
    store.write_now(lambda tx: tx.outputs.add(output("coin", "first")))
    store.write_now(lambda tx: decide(tx, "payout", "first", plan("coin")))
    store.write_now(lambda tx: tx.payouts._change("payout", txid=hex64("payment")))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("order-", {"first", "third"}),
        ("order-3", {"third"}),
        ("sec", {"second"}),
        (hex64("txid of coin")[:10], {"first"}),
        (hex64("payment"), {"first"}),
        ("rder", set()),
        ("%", {"second"}),
        ("%_\\o", {"second"}),
        ("_rder", set()),
        ("' OR ''='", set()),
    ],
)
def test_by_the_beginning_of_what_names_it(store: SqlStore, text: str, ids: set[str]) -> None:
    assert found(store, text) == ids


def test_payouts_that_wait_for_a_person_and_escrows_that_fail_are_counted(store: SqlStore) -> None:
    assert store.read_now(lambda tx: (tx.payouts.held(5), tx.escrows.failing())) == ([], 0)
    store.write_now(lambda tx: tx.payouts.move(tx.payouts.get("payout"), PayoutState.HELD, trouble="Look."))
    store.write_now(lambda tx: tx.escrows.looked_at(tx.escrows.get("third"), 1.0, failures=2, trouble="Busy."))
    held, failing = store.read_now(lambda tx: (tx.payouts.held(5), tx.escrows.failing()))
    assert [payout.trouble for payout in held] == ["Look."]
    assert failing == 1


def test_what_open_escrows_were_ordered_for_is_summed_and_closed_ones_are_not(store: SqlStore) -> None:
    amount = store.read_now(lambda tx: tx.escrows.get("third")).terms.amount_piconero
    assert store.read_now(lambda tx: tx.escrows.open_piconero()) == 3 * amount
    cancelled = State.CANCELLED
    store.write_now(lambda tx: tx.escrows.change("third", expected=State.SETTING_UP, now=5, state=cancelled))
    assert store.read_now(lambda tx: tx.escrows.open_piconero()) == 2 * amount
