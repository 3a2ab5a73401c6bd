"""Sessions of the operator's pages, on both engines: kept as a hash, good as long as their key."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from monero_escrow.store import schema
from monero_escrow.store.records import ApiKeyRecord, Scope
from monero_escrow.store.store import SqlStore
from unit.engines import on_both_engines

pytestmark = on_both_engines


@pytest.fixture
def key(store: SqlStore) -> ApiKeyRecord:
    """An operator's key that runs out at 1,000."""
    return store.write_now(lambda tx: tx.keys.create(Scope.OPERATOR, None, "ada", 0.0, 1_000.0))[0]


def opened(store: SqlStore, key: ApiKeyRecord, *, now: float = 0.0, until: float = 100.0) -> str:
    return store.write_now(lambda tx: tx.sessions.open(key.id, now, until))


def found(store: SqlStore, token: str, now: float) -> ApiKeyRecord | None:
    return store.read_now(lambda tx: tx.sessions.find(token, now))


def test_a_session_is_its_keys_until_it_is_over(store: SqlStore, key: ApiKeyRecord) -> None:
    token = opened(store, key)
    assert found(store, token, 99.0) == key
    assert found(store, token, 100.0) is None
    assert found(store, token + "x", 1.0) is None


def test_a_session_ends_with_its_key(store: SqlStore, key: ApiKeyRecord) -> None:
    token = opened(store, key, until=5_000.0)
    assert found(store, token, 999.0) is not None
    assert found(store, token, 1_000.0) is None
    store.write_now(lambda tx: tx.keys.revoke(key.id, 1.0))
    assert found(store, token, 2.0) is None


def test_closing_one_session_leaves_the_others(store: SqlStore, key: ApiKeyRecord) -> None:
    token, other = opened(store, key), opened(store, key)
    store.write_now(lambda tx: tx.sessions.close(token))
    store.write_now(lambda tx: tx.sessions.close(token))
    assert found(store, token, 1.0) is None
    assert found(store, other, 1.0) is not None


def test_what_is_over_is_removed_with_the_next_sign_in(store: SqlStore, key: ApiKeyRecord) -> None:
    for _ in range(3):
        opened(store, key, until=10.0)
    opened(store, key, now=20.0, until=30.0)
    count = select(func.count()).select_from(schema.sessions)
    assert store.read_now(lambda tx: tx.connection.scalar(count)) == 1


def test_the_token_is_not_in_the_database(store: SqlStore, key: ApiKeyRecord) -> None:
    token = opened(store, key)
    rows = store.read_now(lambda tx: tx.connection.execute(select(schema.sessions)).all())
    assert token not in str(rows)
