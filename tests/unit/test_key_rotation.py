"""`keys rotate`: a new key beside the old one, and the old one's end; in the table and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from monero_escrow.cli.keys import create, list_keys, revoke, rotate
from monero_escrow.core.errors import InvalidInputError, NotFoundError
from monero_escrow.store import schema
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.records import ApiKeyRecord, Scope
from monero_escrow.store.store import SqlStore
from unit.command_line import set_environment
from unit.engines import on_both_engines
from unit.rows import MASTER_KEY, NETWORK

NOW = 1_000_000.0
DAY = 86_400.0
Said = pytest.CaptureFixture[str]


def made(store: SqlStore, expires_at: float | None = None) -> tuple[ApiKeyRecord, str]:
    return store.write_now(lambda tx: tx.keys.create(Scope.SHOP, "acme", "till 3", NOW - DAY, expires_at))


def opens(store: SqlStore, key: str, now: float) -> bool:
    return store.read_now(lambda tx: tx.keys.find(key, now)) is not None


@on_both_engines
def test_both_keys_open_during_the_overlap_and_only_the_new_one_after_it(store: SqlStore) -> None:
    old, old_key = made(store)
    new, new_key = store.write_now(lambda tx: tx.keys.rotate(old.id, NOW, 3_600, None))
    assert (new.scope, new.shop_id, new.name, new.expires_at) == (Scope.SHOP, "acme", "till 3", None)
    assert new_key != old_key
    assert opens(store, old_key, NOW + 3_599)
    assert opens(store, new_key, NOW)
    assert not opens(store, old_key, NOW + 3_600)
    assert opens(store, new_key, NOW + 1_000 * DAY)


@on_both_engines
def test_a_new_key_lives_as_long_as_the_old_one_did_unless_it_is_told_otherwise(store: SqlStore) -> None:
    old, _ = made(store, expires_at=NOW + 9 * DAY)
    new, _ = store.write_now(lambda tx: tx.keys.rotate(old.id, NOW, 3_600, None))
    assert new.expires_at == NOW + 10 * DAY
    newer, _ = store.write_now(lambda tx: tx.keys.rotate(new.id, NOW, 3_600, NOW + DAY))
    assert newer.expires_at == NOW + DAY


@on_both_engines
def test_an_overlap_makes_no_key_live_longer(store: SqlStore) -> None:
    old, old_key = made(store, expires_at=NOW + 60)
    store.write_now(lambda tx: tx.keys.rotate(old.id, NOW, DAY, None))
    assert not opens(store, old_key, NOW + 60)


@on_both_engines
def test_what_opens_nothing_cannot_be_rotated(store: SqlStore) -> None:
    expired, _ = made(store, expires_at=NOW)
    revoked, _ = made(store)
    store.write_now(lambda tx: tx.keys.revoke(revoked.id, NOW))
    for key_id in (expired.id, revoked.id, "nosuch"):
        with pytest.raises(NotFoundError):
            store.write_now(lambda tx, key_id=key_id: tx.keys.rotate(key_id, NOW, DAY, None))  # type: ignore[misc]
    assert len(store.read_now(lambda tx: tx.keys.all())) == 2


@on_both_engines
def test_a_last_use_never_goes_back(store: SqlStore) -> None:
    key, _ = made(store)
    for at in (NOW + 5, NOW + 3):
        store.write_now(lambda tx, at=at: tx.keys.used({key.id: at, "gone": at}))  # type: ignore[misc]
    assert store.read_now(lambda tx: tx.keys.all())[0].last_used_at == NOW + 5


@pytest.fixture
def key_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> str:
    """A shop's key, made on the command line."""
    set_environment(monkeypatch, tmp_path)
    create(scope=Scope.SHOP, shop="acme", json_output=True)
    return str(json.loads(capsys.readouterr().out)["id"])


def listed(capsys: Said) -> list[dict[str, object]]:
    list_keys(json_output=True)
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


def test_the_command_shows_the_new_key_once_and_says_until_when_the_old_one_is_good(
    key_id: str, tmp_path: Path, capsys: Said
) -> None:
    rotate(key_id, overlap="24h", json_output=True)
    said = json.loads(capsys.readouterr().out)
    assert said["replaces"] == key_id
    old, new = listed(capsys)
    assert (old["id"], new["id"]) == (key_id, said["id"])
    assert old["expires_at"] == said["old_expires_at"]
    assert new["expires_at"] == ""
    store = open_sqlcipher(tmp_path / "escrow.db", MASTER_KEY, NETWORK)
    try:
        rows = store.read_now(lambda tx: tx.connection.execute(select(schema.audit)).all())
    finally:
        store.close()
    assert [row.action for row in rows] == ["key_created", "key_rotated"]
    assert rows[1].detail["new_key_id"] == new["id"]
    assert said["key"] not in str(rows)


def test_for_people_the_key_alone_is_on_standard_output(key_id: str, capsys: Said) -> None:
    rotate(key_id, overlap="0s")
    printed = capsys.readouterr()
    assert printed.out.startswith("me_shop_")
    assert len(printed.out.split()) == 1
    assert key_id in printed.err


@pytest.mark.parametrize("overlap", ["", "24", "h", "1.5h", "-1h", "1w", "24h1", "٢h"])
def test_what_is_no_duration_is_refused_and_nothing_changed(key_id: str, overlap: str, capsys: Said) -> None:
    with pytest.raises(InvalidInputError, match="no duration"):
        rotate(key_id, overlap=overlap)
    assert len(listed(capsys)) == 1


def test_a_revoked_key_is_not_rotated(key_id: str, capsys: Said) -> None:
    revoke(key_id)
    with pytest.raises(NotFoundError, match="valid"):
        rotate(key_id, overlap="1h")
