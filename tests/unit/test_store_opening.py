"""Opening the encrypted file: whose key, which network, which schema, and what stands in its bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import sqlcipher3.dbapi2 as sqlcipher
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, select, text

from monero_escrow.core.errors import EscrowError
from monero_escrow.core.key_exchange import Round
from monero_escrow.core.roles import ROLES
from monero_escrow.store import schema
from monero_escrow.store.migrate import SchemaTooNewError, migrate
from monero_escrow.store.opening import OtherDatabaseError, open_sqlcipher
from monero_escrow.store.sealing import derive_key
from monero_escrow.store.sqlcipher import DatabaseUnusableError, WrongDatabaseKeyError, begin, sqlcipher_engine
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.rows import MASTER_KEY, NETWORK, add_funded, address, decide, hex64, message, participants, plan

OTHER_KEY = bytes(32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "escrow.db"


@pytest.fixture
def opened(path: Path, request: pytest.FixtureRequest) -> Callable[[], SqlStore]:
    """Opens the store, and closes it when the test is over."""

    def open_it() -> SqlStore:
        store = open_sqlcipher(path, MASTER_KEY, NETWORK)
        request.addfinalizer(store.close)
        return store

    return open_it


Opened = Callable[[], SqlStore]


def contents(folder: Path) -> dict[str, bytes]:
    """The database and its write-ahead log. (The -shm file is only an index of the log, made anew by each opening.)"""
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}


# The key


async def test_a_wrong_key_leaves_the_file_byte_for_byte_as_it_was(path: Path, opened: Opened) -> None:
    store = opened()
    await store.write(add_funded)
    store.close()
    before = contents(path.parent)

    with pytest.raises(WrongDatabaseKeyError) as caught:
        open_sqlcipher(path, OTHER_KEY, NETWORK)

    assert contents(path.parent) == before
    assert "DB_ENCRYPTION_KEY" in caught.value.what_to_do
    assert await opened().read(lambda tx: tx.escrows.get("escrow").id) == "escrow"


async def test_a_wrong_key_leaves_what_a_crash_left_behind_as_it_was_too(path: Path, opened: Opened) -> None:
    """The copy is what a killed service leaves: most of it is still in the write-ahead log."""
    await opened().write(add_funded)
    crashed = path.parent.with_name("crashed")
    shutil.copytree(path.parent, crashed)
    before = contents(crashed)
    assert len(before["escrow.db-wal"]) > 0

    with pytest.raises(WrongDatabaseKeyError):
        open_sqlcipher(crashed / "escrow.db", OTHER_KEY, NETWORK)

    assert contents(crashed) == before
    store = open_sqlcipher(crashed / "escrow.db", MASTER_KEY, NETWORK)
    assert await store.read(lambda tx: tx.escrows.get("escrow").id) == "escrow"
    store.close()


@pytest.mark.parametrize("content", [b"SQLite format 3\0" + bytes(4080), os.urandom(8192), b"not a database"])
def test_a_file_that_is_no_database_of_ours_is_refused_and_left_as_it_was(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises((WrongDatabaseKeyError, DatabaseUnusableError)):
        open_sqlcipher(path, MASTER_KEY, NETWORK)

    assert contents(path.parent) == {"escrow.db": content}


def test_a_folder_that_cannot_be_made_is_told_with_what_to_do(path: Path) -> None:
    path.parent.write_text("a file where the folder should be")

    with pytest.raises(DatabaseUnusableError, match="cannot be made") as caught:
        open_sqlcipher(path, MASTER_KEY, NETWORK)
    assert "DATA_DIR" in caught.value.what_to_do


def test_the_file_and_its_folder_are_the_services_users_alone(path: Path, opened: Opened) -> None:
    opened()

    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_no_error_of_opening_shows_a_key(path: Path, opened: Opened, capfd: pytest.CaptureFixture[str]) -> None:
    opened()

    with pytest.raises(WrongDatabaseKeyError) as caught:
        open_sqlcipher(path, OTHER_KEY, NETWORK)

    shown = caught.value.message + "".join(capfd.readouterr())
    for master in (MASTER_KEY, OTHER_KEY):
        for key in (master, derive_key(master, "database"), derive_key(master, "sealing")):
            assert key.hex() not in shown
    assert "HMAC" not in shown, "SQLCipher logs to standard error"


async def test_the_settings_that_make_a_commit_durable_are_on(opened: Opened) -> None:
    def pragmas(tx: Transaction) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return {name: tx.connection.scalar(text(f"PRAGMA {name}")) for name in names}

    store = opened()

    for of_kind in (store.read, store.write):
        assert await of_kind(pragmas) == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


# Network and schema


@pytest.mark.parametrize("network", ["mainnet", "testnet", "regtest"])
def test_a_database_of_another_network_is_refused_and_left_as_it_was(path: Path, opened: Opened, network: str) -> None:
    opened().close()
    before = contents(path.parent)

    with pytest.raises(OtherDatabaseError, match=f"stagenet, not {network}"):
        open_sqlcipher(path, MASTER_KEY, network)

    assert contents(path.parent) == before


def test_a_schema_newer_than_the_code_is_refused_and_left_as_it_was(path: Path, opened: Opened) -> None:
    opened().close()
    connection = sqlcipher.connect(str(path))
    connection.execute(f"PRAGMA key = \"x'{derive_key(MASTER_KEY, 'database').hex()}'\"")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = contents(path.parent)

    with pytest.raises(SchemaTooNewError, match="9999"):
        open_sqlcipher(path, MASTER_KEY, NETWORK)

    assert contents(path.parent) == before


def test_every_refusal_of_a_database_has_a_code_of_its_own() -> None:
    refusals: list[type[EscrowError]] = [
        WrongDatabaseKeyError, DatabaseUnusableError, SchemaTooNewError, OtherDatabaseError,
    ]  # fmt: skip

    assert len({refusal.code for refusal in refusals}) == len(refusals)


def engine_at(path: Path) -> Engine:
    return sqlcipher_engine(path, derive_key(MASTER_KEY, "database"))


def test_the_migrations_make_exactly_the_tables_the_code_has(tmp_path: Path) -> None:
    engine = engine_at(tmp_path / "migrated.db")
    migrate(partial(begin, engine))

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_the_migrations_make_the_same_constraints_too(tmp_path: Path) -> None:
    """Alembic does not compare CHECKs and keys on this engine: so the database that the code itself makes is asked."""
    migrated, made = engine_at(tmp_path / "migrated.db"), engine_at(tmp_path / "made.db")
    migrate(partial(begin, migrated))
    with begin(made, writes=True) as connection:
        schema.metadata.create_all(connection)

    for table in schema.metadata.tables:
        for ask in ("get_check_constraints", "get_unique_constraints", "get_pk_constraint", "get_foreign_keys"):
            found, wanted = (getattr(inspect(engine), ask)(table) for engine in (migrated, made))
            assert sorted(map(str, found)) == sorted(map(str, wanted)), f"{ask} of {table}"
    for engine in (migrated, made):
        engine.dispose()


async def test_opening_again_finds_everything_and_changes_nothing(path: Path, opened: Opened) -> None:
    store = opened()
    await store.write(add_funded)
    store.close()
    before = contents(path.parent)

    store = opened()
    assert await store.read(lambda tx: len(tx.outputs.of("escrow"))) == 1
    store.close()

    assert contents(path.parent) == before


# What stands in the bytes


def plant(tx: Transaction) -> None:
    """One of everything nobody else may read."""
    add_funded(tx)
    tx.trios.add("trio", "escrow", 0, 100.0)
    tx.trios.add_hosted(participants("trio"), 100.0)
    for made in (Round.PREPARE, Round.MAKE, Round.EXCHANGE):
        tx.trios.add_messages("trio", made, {role: message(role, made) for role in ROLES}, 100.0)
    tx.trios.finish("trio", address("deposit"), hex64("view key"), NETWORK, 101.0)
    decide(tx, "payout", "escrow", plan("coin of escrow"))
    number = tx.payouts.add_proposal("payout", hex64("txset"), 1_000, 102.0)
    tx.payouts.keep_signed("payout", number, hex64("blob"), hex64("txid"), 103.0)
    tx.payouts.keep_raw("payout", hex64("raw"))


SECRETS = [
    *(secret for wallet in participants("trio") for secret in (wallet.password, wallet.spend_key)),
    *(message(role, number) for role in ROLES for number in (1, 2, 3)),
    *(hex64(name) for name in ("view key", "txset", "blob", "raw")),
]
PRIVATE = [
    *(wallet.primary_address for wallet in participants("trio")),
    *(address(name) for name in ("deposit", "buyer", "vendor")),
    "order of escrow",
    "CREATE TABLE",
]


async def test_neither_the_file_nor_its_log_holds_anything_in_the_clear(path: Path, opened: Opened) -> None:
    store = opened()
    await store.write(plant)
    log = contents(path.parent)
    store.close()
    for kept in (log, contents(path.parent)):
        raw = b"".join(kept.values())
        assert len(raw) > 100_000
        for planted in SECRETS + PRIVATE:
            assert planted.encode() not in raw
            assert planted.encode("utf-16-le") not in raw
            if len(planted) == 64:
                assert bytes.fromhex(planted) not in raw


async def test_even_with_the_database_open_no_column_holds_a_secret_in_the_clear(opened: Opened) -> None:
    store = opened()
    await store.write(plant)

    def every_value(tx: Transaction) -> list[bytes]:
        rows = [row for table in schema.metadata.tables.values() for row in tx.connection.execute(select(table))]
        return [value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row]

    values = await store.read(every_value)

    for secret in SECRETS:
        assert not any(secret.encode() in value for value in values)
    assert any(address("deposit").encode() in value for value in values), "the search finds what is there"


async def test_no_record_shows_a_secret_when_it_is_printed(opened: Opened) -> None:
    store = opened()
    await store.write(plant)

    trio = await store.read(lambda tx: tx.trios.get("trio"))

    assert {wallet.spend_key for wallet in trio.participants.values()} < set(SECRETS)
    assert not any(secret in repr(trio) for secret in SECRETS)
