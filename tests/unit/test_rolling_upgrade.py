"""An upgrade rolls over the nodes: those of the earlier version go on, on the schema of the newer one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, Table, delete, insert, select, text, update

from monero_escrow.store import schema
from monero_escrow.store.opening import open_postgresql, open_sqlcipher
from monero_escrow.store.postgresql import postgresql_engine
from monero_escrow.store.sealing import derive_key
from monero_escrow.store.sqlcipher import sqlcipher_engine
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.earlier_schema import REVISIONS, Look, begin, tables_of, upgrade, what_breaks
from unit.engines import SQLCIPHER, on_both_engines, on_postgresql
from unit.full_database import fill_every_table
from unit.rows import MASTER_KEY, NETWORK

EARLIER = (REVISIONS[0], REVISIONS[-2])
"""The schema of the version before, from which an upgrade rolls; and the first, from which most was added."""
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def place(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Path | str:
    """Where a database is that has no tables yet."""
    return tmp_path / "rolling.db" if engine == SQLCIPHER else str(request.getfixturevalue("empty_database"))


@pytest.fixture
def database(place: Path | str) -> Iterator[Engine]:
    key = derive_key(MASTER_KEY, "database")
    made = sqlcipher_engine(place, key) if isinstance(place, Path) else postgresql_engine(place)
    yield made
    made.dispose()


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """At least one of every table, as this version writes them."""
    store = open_sqlcipher(tmp_path / "full.db", MASTER_KEY, NETWORK)
    store.write_now(fill_every_table)
    found = store.read_now(everything)
    store.close()
    return found


def everything(tx: Transaction) -> Rows:
    return {
        table.name: [dict(row._mapping) for row in tx.connection.execute(select(table))]
        for table in schema.metadata.sorted_tables
    }


def opened(place: Path | str) -> SqlStore:
    if isinstance(place, Path):
        return open_sqlcipher(place, MASTER_KEY, NETWORK)
    return open_postgresql(place, MASTER_KEY, NETWORK)


# Each migration


@on_both_engines
def test_every_migration_only_adds(database: Engine) -> None:
    looks = []
    for revision in REVISIONS:
        upgrade(database, revision)
        with database.connect() as connection:
            looks.append((revision, Look.at(connection)))

    broken = {later: what_breaks(before, after) for (_, before), (later, after) in pairwise(looks)}

    assert broken == {revision: [] for revision in REVISIONS[1:]}
    assert len(looks[-1][1].columns) == len(schema.metadata.tables)


BREAKING = {
    "DROP TABLE idempotency_keys": "idempotency_keys is gone",
    "ALTER TABLE nodes DROP COLUMN draining_at": "nodes.draining_at is gone",
    "ALTER TABLE nodes RENAME COLUMN slots TO processes": "nodes.slots is gone",
    "ALTER TABLE nodes ADD COLUMN rack TEXT NOT NULL": "nodes.rack is new and must have a value",
    "ALTER TABLE nodes ALTER COLUMN draining_at SET NOT NULL": "nodes.draining_at: may not be empty",
    "ALTER TABLE nodes ALTER COLUMN name TYPE VARCHAR(8)": "nodes.name: VARCHAR(64) became VARCHAR(8)",
    "ALTER TABLE escrows ALTER COLUMN trouble TYPE VARCHAR(500)": "escrows.trouble: TEXT became VARCHAR(500)",
    "ALTER TABLE duties ALTER COLUMN fence TYPE INTEGER": "duties.fence: BIGINT became INTEGER",
    "ALTER TABLE payouts ALTER COLUMN failures DROP DEFAULT": "payouts.failures: lost the value",
    "ALTER TABLE nodes ADD CONSTRAINT few CHECK (slots < 9)": "nodes: check few is new",
    "ALTER TABLE nodes ADD UNIQUE (version)": "nodes: unique ['version'] is new",
    "CREATE UNIQUE INDEX one ON nodes (version)": "nodes: unique ['version'] is new",
    "ALTER TABLE duties ADD FOREIGN KEY (node_id) REFERENCES nodes (id)": "duties: foreign key ['node_id'] to nodes",
}
ADDING = [
    "CREATE TABLE racks (name TEXT NOT NULL PRIMARY KEY)",
    "ALTER TABLE nodes ADD COLUMN rack TEXT",
    "ALTER TABLE nodes ADD COLUMN rack TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE nodes ALTER COLUMN name TYPE VARCHAR(80)",
    "ALTER TABLE nodes ALTER COLUMN name TYPE TEXT",
    "ALTER TABLE nodes ALTER COLUMN slots TYPE BIGINT",
    "CREATE INDEX more ON nodes (version)",
]


@on_postgresql
def test_what_would_break_the_earlier_code_is_found_and_what_only_adds_is_not(database: Engine) -> None:
    upgrade(database, "head")
    with database.connect() as connection:
        before = Look.at(connection)
        connection.rollback()
        for statement in [*BREAKING, *ADDING]:
            connection.execute(text(statement))
            broken = what_breaks(before, Look.at(connection))
            connection.rollback()
            if statement in BREAKING:
                assert any(found.startswith(BREAKING[statement]) for found in broken), statement
            else:
                assert broken == [], statement


# The earlier code on the newer schema


@on_both_engines
@pytest.mark.parametrize("revision", EARLIER)
def test_what_code_of_an_earlier_schema_writes_is_taken_and_this_version_works_with_it(
    database: Engine, place: Path | str, rows: Rows, revision: str
) -> None:
    """With exactly its tables and columns, as they were reflected before the upgrade."""
    upgrade(database, revision)
    earlier = tables_of(database)
    upgrade(database, "head")

    written = write_with(earlier, database, rows)

    assert written == {name: len(rows[name]) for name in earlier.tables}
    store = opened(place)
    now = store.read_now(everything)
    for name, table in earlier.tables.items():
        assert [_known_to(table, row) for row in now[name]] == [_known_to(table, row) for row in rows[name]], name
    (payout,) = store.read_now(lambda tx: tx.payouts.of("escrow"))
    assert store.read_now(lambda tx: tx.payouts.raw(payout.id)) is not None
    assert len(store.read_now(lambda tx: tx.trios.get("trio")).exchange.messages) == 9
    (claim,) = store.write_now(claim_everything)
    assert claim.subject == "escrow"
    store.close()


@on_both_engines
@pytest.mark.parametrize("revision", EARLIER)
def test_what_this_version_wrote_code_of_an_earlier_schema_reads_changes_and_removes(
    database: Engine, place: Path | str, revision: str
) -> None:
    """And what it does not know of stays as it is."""
    upgrade(database, revision)
    earlier = tables_of(database)
    store = opened(place)
    store.write_now(fill_every_table)
    store.write_now(claim_everything)
    before = store.read_now(everything)

    with begin(database) as connection:
        for table in earlier.sorted_tables:
            for row in connection.execute(select(table)).all():
                values = {name: value for name, value in row._mapping.items() if not table.columns[name].primary_key}
                done = connection.execute(update(table).where(*_same(table, row)).values(**values))
                assert done.rowcount == 1, table.name

    assert store.read_now(everything) == before
    with begin(database) as connection:
        for table in reversed(earlier.sorted_tables):
            for row in connection.execute(select(table)).all():
                connection.execute(delete(table).where(*_same(table, row)))
    after = store.read_now(everything)
    assert not any(after[name] for name in earlier.tables)
    store.close()


def claim_everything(tx: Transaction) -> list[Any]:
    tx.nodes.join("newer", "newer", "9.9.9", 15.0)
    return tx.work.claim_due("newer", "newer", tx.nodes.now(), 10, home_seconds=0.0)


def write_with(earlier: MetaData, database: Engine, rows: Rows) -> dict[str, int]:
    """Insert these rows through the earlier tables: every column that they have, and no other."""
    with begin(database) as connection:
        for table in earlier.sorted_tables:
            connection.execute(delete(table))  # what a migration put there is among the rows as well
            for row in rows[table.name]:
                connection.execute(insert(table).values(**_known_to(table, row)))
    with database.connect() as connection:
        return {name: len(connection.execute(select(table)).all()) for name, table in earlier.tables.items()}


def _known_to(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    return {column.name: row[column.name] for column in table.columns}


def _same(table: Table, row: Any) -> Iterator[Any]:
    return (column == row._mapping[column.name] for column in table.primary_key.columns)
