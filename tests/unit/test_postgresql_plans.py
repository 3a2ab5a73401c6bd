"""With 100,000 escrows in the table, what is asked all the time is found by index: shown with EXPLAIN."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine, event

from monero_escrow.core.life_cycle import State
from monero_escrow.store.opening import open_postgresql
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from shared_postgres import SharedPostgres, at_once
from unit.rows import MASTER_KEY, NETWORK

T = TypeVar("T")

_ESCROWS = 100_000
_MANY = f"""
    INSERT INTO escrows (id, shop_id, order_id, request_fingerprint, state, amount_piconero, buyer_refund_address,
        vendor_payout_address, fee_bearer, commission_parts, deposit_window_seconds, due_at, wakes, in_pool_piconero,
        failures, fence, created_at, updated_at)
    SELECT 'escrow' || n, 'shop' || n % 50, 'order' || n, 'print',
        CASE WHEN n % 1000 = 0 THEN 'setting_up' WHEN n % 1000 = 1 THEN 'paying_out' WHEN n % 10 = 2 THEN 'funded'
             WHEN n % 10 = 3 THEN 'awaiting_deposit' ELSE 'settled' END,
        1000000000000, 'buyer', 'vendor', 'receivers', 0, 3600,
        CASE WHEN n % 10 IN (2, 3) OR n % 1000 < 2 THEN 1000 + n END, 0, 0, 0, 0, n, n
    FROM generate_series(1, {_ESCROWS}) AS n
"""  # noqa: S608  a number of ours


@pytest.fixture(scope="module")
def crowd(postgres: SharedPostgres) -> Iterator[SqlStore]:
    """A store with so many escrows."""
    with postgres.database(migrated=True) as url:
        at_once(postgres.server.administer(_MANY, "VACUUM ANALYZE escrows", url=url))
        store = open_postgresql(url, MASTER_KEY, NETWORK)
        yield store
        store.close()


def plans_of(store: SqlStore, work: Callable[[Transaction], T]) -> tuple[T, list[str]]:
    """What the work gives, and how the server would run each of its statements."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        statements.append((statement, values))

    def explained(tx: Transaction) -> tuple[T, list[str]]:
        engine: Engine = tx.connection.engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            result = work(tx)
        finally:
            event.remove(engine, "before_cursor_execute", note)
        explain = (tx.connection.exec_driver_sql(f"EXPLAIN {said}", values) for said, values in statements)
        return result, ["\n".join(row[0] for row in rows) for rows in explain]

    return store.write_now(explained)


def by_index(plans: list[str], *, sorts: bool = False) -> bool:
    """Whether no statement reads the table of escrows from end to end, nor (unless it may) sorts what it found."""
    bad = "Seq Scan on escrows" if sorts else "Seq Scan on escrows|Sort Key"
    return bool(plans) and not any(re.search(bad, plan) for plan in plans)


def test_what_is_due_is_claimed_by_index(crowd: SqlStore) -> None:
    claims, plans = plans_of(crowd, lambda tx: tx.work.claim_due("node", "node", 1e6, 20, home_seconds=30.0))

    assert len(claims) == 20
    assert by_index(plans), "\n\n".join(plans)


def test_when_the_next_one_is_due_is_known_by_index(crowd: SqlStore) -> None:
    earliest, plans = plans_of(crowd, lambda tx: tx.work.next_due_at("node", home_seconds=30.0))

    assert earliest is not None
    assert by_index(plans), "\n\n".join(plans)


_PAGES: dict[str, dict[str, Any]] = {
    "all": {"shop_id": None, "states": None, "before": None},
    "all, further": {"shop_id": None, "states": None, "before": (50_000.0, "escrow50000")},
    "of a shop": {"shop_id": "shop7", "states": None, "before": None},
    "of a shop, further": {"shop_id": "shop7", "states": None, "before": (50_000.0, "escrow50000")},
    "in a state": {"shop_id": None, "states": frozenset({State.FUNDED}), "before": None},
    "of a shop, in a state": {"shop_id": "shop3", "states": frozenset({State.AWAITING_DEPOSIT}), "before": None},
}
_SORTED = "of a shop, in a state"  # two indexes together find few rows


@pytest.mark.parametrize("which", _PAGES)
def test_a_page_of_the_list_is_read_by_index(crowd: SqlStore, which: str) -> None:
    page, plans = plans_of(crowd, lambda tx: tx.escrows.page(**_PAGES[which], limit=50))

    assert len(page) == 50
    assert by_index(plans, sorts=which == _SORTED), "\n\n".join(plans)


def test_an_order_is_found_by_index(crowd: SqlStore) -> None:
    found, plans = plans_of(crowd, lambda tx: tx.escrows.of_order("shop7", "order7"))

    assert found is not None
    assert by_index(plans), "\n\n".join(plans)


def test_how_many_are_in_each_state_is_counted_from_an_index_alone(crowd: SqlStore) -> None:
    counts, plans = plans_of(crowd, lambda tx: tx.escrows.counts())

    assert sum(counts.values()) == _ESCROWS
    assert by_index(plans), "\n\n".join(plans)
    assert all("Index Only Scan" in plan for plan in plans)
