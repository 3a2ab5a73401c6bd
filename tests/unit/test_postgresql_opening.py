"""Opening a PostgreSQL database: whose key, which network, which schema, and a server and user that can carry it."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import sql
from sqlalchemy import inspect, select

from monero_escrow.core.errors import EscrowError
from monero_escrow.demo.private_postgres import PrivatePostgres
from monero_escrow.monero.processes import free_port
from monero_escrow.monero.waiting import until
from monero_escrow.store import postgresql, schema
from monero_escrow.store.migrate import SchemaOutdatedError, SchemaTooNewError
from monero_escrow.store.opening import OtherDatabaseError, open_postgresql
from monero_escrow.store.postgresql import (
    DatabaseUnreachableError,
    DatabaseUnsuitableError,
    begin,
    postgresql_engine,
)
from monero_escrow.store.transaction import Transaction
from shared_postgres import SharedPostgres
from unit.rows import MASTER_KEY, NETWORK, add_funded, address
from unit.test_store_opening import SECRETS, plant

OTHER_KEY = bytes(32)


def named(url: str) -> str:
    """The database's name, which is its owner's too if it was not copied."""
    return urlsplit(url).path.removeprefix("/")


def everything(url: str) -> list[object]:
    """Every table there, and every row of ours: what must be as it was after a refusal."""
    engine = postgresql_engine(url)
    with engine.connect() as connection:
        there = sorted(inspect(connection).get_table_names())
        ours = [table for name, table in schema.metadata.tables.items() if name in there]
        found: list[object] = [there, *(connection.execute(select(table)).all() for table in ours)]
        if "alembic_version" in there:
            found.append(connection.exec_driver_sql("SELECT * FROM alembic_version").all())
    engine.dispose()
    return found


@contextmanager
def refused(url: str, kind: type[EscrowError], match: str) -> Iterator[None]:
    """The block raises this, and no password is in it."""
    with pytest.raises(kind, match=match) as caught:
        yield
    password = urlsplit(url).password or "no password"
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.what_to_do + repr(caught.value)
    assert password not in shown
    assert caught.value.what_to_do


# The schema

_COMMENTS = ("modify_comment", "add_table_comment")  # they are for whoever reads the code


def test_the_migrations_make_exactly_the_tables_the_code_has(database_url: str) -> None:
    engine = postgresql_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        found = compare_metadata(context, schema.metadata)
    engine.dispose()
    each = [one for several in found for one in (several if isinstance(several, list) else [several])]
    assert [one for one in each if one[0] not in _COMMENTS] == []


def test_the_migrations_make_the_same_constraints_and_indexes_too(database_url: str, empty_database: str) -> None:
    """Alembic compares no CHECKs and no partial indexes: so the database that the code itself makes is asked."""
    migrated, made = postgresql_engine(database_url), postgresql_engine(empty_database)
    with begin(made, writes=True) as connection:
        schema.metadata.create_all(connection)

    asked = ("check_constraints", "unique_constraints", "pk_constraint", "foreign_keys", "indexes", "columns")
    for table in schema.metadata.tables:
        for ask in asked:
            found, wanted = (_sorted(getattr(inspect(engine), f"get_{ask}")(table)) for engine in (migrated, made))
            assert found == wanted, f"{ask} of {table}"
    for engine in (migrated, made):
        engine.dispose()


def _sorted(described: dict[str, object] | list[dict[str, object]]) -> list[str]:
    several = described if isinstance(described, list) else [described]
    return sorted(str({name: value for name, value in one.items() if name != "comment"}) for one in several)


async def test_two_that_start_at_once_on_an_empty_database_both_come_up(empty_database: str) -> None:
    stores = await asyncio.gather(
        *(asyncio.to_thread(open_postgresql, empty_database, MASTER_KEY, NETWORK) for _ in range(3))
    )
    try:
        await stores[0].write(add_funded)
        assert [await store.read(lambda tx: tx.escrows.get("escrow").id) for store in stores] == ["escrow"] * 3
    finally:
        for store in stores:
            store.close()


def test_an_empty_database_is_not_migrated_by_what_only_looks(empty_database: str) -> None:
    with refused(empty_database, SchemaOutdatedError, "no tables yet"):
        open_postgresql(empty_database, MASTER_KEY, NETWORK, migrates=False)
    assert everything(empty_database) == [[]]


def test_a_schema_newer_than_the_code_is_refused_and_left_as_it_was(database_url: str) -> None:
    open_postgresql(database_url, MASTER_KEY, NETWORK).close()
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = everything(database_url)

    with refused(database_url, SchemaTooNewError, "9999"):
        open_postgresql(database_url, MASTER_KEY, NETWORK)
    assert everything(database_url) == before


# Whose it is


async def test_a_wrong_sealing_key_is_recognised_before_anything_is_written(database_url: str) -> None:
    store = open_postgresql(database_url, MASTER_KEY, NETWORK)
    await store.write(add_funded)
    store.close()
    before = everything(database_url)

    with refused(database_url, OtherDatabaseError, "sealing_key_id"):
        open_postgresql(database_url, OTHER_KEY, NETWORK)
    assert everything(database_url) == before


def test_a_database_of_another_network_is_refused_and_left_as_it_was(database_url: str) -> None:
    open_postgresql(database_url, MASTER_KEY, NETWORK).close()
    before = everything(database_url)

    with refused(database_url, OtherDatabaseError, "stagenet, not mainnet"):
        open_postgresql(database_url, MASTER_KEY, "mainnet")
    assert everything(database_url) == before


async def test_no_column_holds_a_secret_in_the_clear(database_url: str) -> None:
    """Who administers the server, or steals a backup of it, finds no key, password, message or signed blob."""
    store = open_postgresql(database_url, MASTER_KEY, NETWORK)
    await store.write(plant)

    def every_value(tx: Transaction) -> list[bytes]:
        rows = [row for table in schema.metadata.tables.values() for row in tx.connection.execute(select(table))]
        return [value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row]

    values = await store.read(every_value)
    store.close()

    for secret in SECRETS:
        assert not any(secret.encode() in value or bytes.fromhex(_hex(secret)) in value for value in values)
    assert any(address("deposit").encode() in value for value in values), "the search finds what is there"


def _hex(secret: str) -> str:
    return secret if all(letter in "0123456789abcdef" for letter in secret) else secret.encode().hex()


# A server and a user that can carry it


def test_a_server_that_does_not_answer(database_url: str) -> None:
    nowhere = database_url.replace(str(urlsplit(database_url).port), str(free_port()))

    with refused(nowhere, DatabaseUnreachableError, f"127.0.0.1:{urlsplit(nowhere).port}/"):
        open_postgresql(nowhere, MASTER_KEY, NETWORK)


def test_several_servers_of_which_none_answers(database_url: str) -> None:
    parts, (one, two) = urlsplit(database_url), (free_port(), free_port())
    several = f"postgresql://{parts.username}:{parts.password}@/escrow?host=127.0.0.1,127.0.0.1&port={one},{two}"

    with refused(several, DatabaseUnreachableError, f"127.0.0.1,127.0.0.1:{one},{two}/escrow"):
        open_postgresql(several, MASTER_KEY, NETWORK)


def test_a_wrong_password(database_url: str) -> None:
    wrong = database_url.replace(urlsplit(database_url).password or "", "guessed-secret")

    with refused(wrong, DatabaseUnreachableError, "password authentication failed"):
        open_postgresql(wrong, MASTER_KEY, NETWORK)


def test_a_database_that_is_not_there(database_url: str) -> None:
    missing = urlsplit(database_url)._replace(path="/nowhere").geturl()

    with refused(missing, DatabaseUnreachableError, "nowhere"):
        open_postgresql(missing, MASTER_KEY, NETWORK)


async def test_a_database_in_another_encoding(postgres: SharedPostgres) -> None:
    url = await postgres.server.new_database("latin", options="ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")

    with refused(url, DatabaseUnsuitableError, "LATIN1"):
        open_postgresql(url, MASTER_KEY, NETWORK)
    assert everything(url) == [[]]


def test_a_server_that_is_too_old(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "LEAST_VERSION", 99)

    with refused(empty_database, DatabaseUnsuitableError, "99 is needed"):
        open_postgresql(empty_database, MASTER_KEY, NETWORK)
    assert everything(empty_database) == [[]]


@pytest.mark.parametrize(
    ("setting", "match"), [("default_transaction_read_only = on", "no writes"), ("synchronous_commit = off", "on disk")]
)
async def test_a_database_set_to_what_would_lose_money(
    postgres: SharedPostgres, empty_database: str, setting: str, match: str
) -> None:
    await postgres.server.administer(f'ALTER DATABASE "{named(empty_database)}" SET {setting}')

    with refused(empty_database, DatabaseUnsuitableError, match):
        open_postgresql(empty_database, MASTER_KEY, NETWORK)
    assert everything(empty_database) == [[]]


async def test_a_server_that_does_not_wait_for_its_disk(postgres: SharedPostgres, empty_database: str) -> None:
    server = postgres.server
    try:
        await server.change_settings(fsync="off")
        await until(_shows(server, "fsync", "off"), limit_seconds=10)
        with refused(empty_database, DatabaseUnsuitableError, "fsync"):
            open_postgresql(empty_database, MASTER_KEY, NETWORK)
    finally:
        await server.administer("ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()")
        await until(_shows(server, "fsync", "on"), limit_seconds=10)
    assert everything(empty_database) == [[]]


def _shows(server: PrivatePostgres, setting: str, value: str) -> Callable[[], Awaitable[bool]]:
    async def shows() -> bool:
        return await server.administer(f"SHOW {setting}") == [(value,)]

    return shows


async def stranger(server: PrivatePostgres, url: str, *grants: str) -> str:
    """The URL of a role that owns nothing in this database, and may do there what it is granted."""
    name = f"stranger_of_{named(url)}"
    role = sql.Identifier(name)
    database = urlsplit(server.admin_url)._replace(path=urlsplit(url).path).geturl()
    await server.administer(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'stranger-secret'").format(role))
    said = [sql.SQL(grant).format(role) for grant in ("REVOKE ALL ON SCHEMA public FROM PUBLIC", *grants)]
    await server.administer(*said, url=database)
    parts = urlsplit(url)
    return parts._replace(netloc=f"{name}:stranger-secret@127.0.0.1:{parts.port}").geturl()


async def test_a_user_who_may_make_no_tables(postgres: SharedPostgres, empty_database: str) -> None:
    url = await stranger(postgres.server, empty_database, "GRANT USAGE ON SCHEMA public TO {}")

    with refused(url, DatabaseUnsuitableError, "may not make tables"):
        open_postgresql(url, MASTER_KEY, NETWORK)
    assert everything(empty_database) == [[]]


async def test_a_user_who_may_not_read_the_tables_that_are_there(postgres: SharedPostgres, database_url: str) -> None:
    open_postgresql(database_url, MASTER_KEY, NETWORK).close()
    url = await stranger(postgres.server, database_url, "GRANT USAGE, CREATE ON SCHEMA public TO {}")

    with refused(url, DatabaseUnsuitableError, "lacks rights"):
        open_postgresql(url, MASTER_KEY, NETWORK)
