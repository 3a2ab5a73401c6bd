"""From the file to PostgreSQL: every row as it is or nothing, and never two live copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest
import sqlcipher3.dbapi2 as sqlcipher
from sqlalchemy import Table, insert, select, text, update

from monero_escrow.core.key_exchange import Round
from monero_escrow.core.roles import Role
from monero_escrow.escrows.context import Context
from monero_escrow.store import facts, schema
from monero_escrow.store.migrate_store import (
    Moved,
    MovedBeforeError,
    MoveInterruptedError,
    RowRefusedError,
    RowsDifferError,
    RowUnreadableError,
    ServerNotEmptyError,
    move_store,
)
from monero_escrow.store.opening import DatabaseMovedError, PostgresqlStore, open_postgresql, open_sqlcipher
from monero_escrow.store.progress import Told, say_nothing
from monero_escrow.store.records import PayoutState
from monero_escrow.store.store import DatabaseBusyError, SqlStore
from monero_escrow.store.transaction import Transaction
from unit.full_database import HARD_TO_CARRY, empty_tables, fill_every_table
from unit.restoring import restored, second_machine
from unit.rows import MASTER_KEY, NETWORK, escrow, hex64, message, participants
from unit.scripted import ScriptedDaemon, broadcast, in_block, look

PLACE = "db.example.com:5432/escrow"
NOW = 2_000.0
MARKS = (facts.COPIED_AT, facts.MOVED_TO)


@pytest.fixture
def server(database_url: str) -> Iterator[PostgresqlStore]:
    opened = open_postgresql(database_url, MASTER_KEY, NETWORK)
    yield opened
    opened.close()


def move(file: SqlStore, server: PostgresqlStore, tell: Told = say_nothing) -> Moved:
    return move_store(file, server, PLACE, NOW, "operator:ann", tell)


def rows_of(store: SqlStore, table: Table) -> list[dict[str, object]]:
    query = select(table).order_by(*table.primary_key.columns)
    found = store.read_now(lambda tx: [dict(row._mapping) for row in tx.connection.execute(query)])
    return sorted(found, key=repr)


def known(store: SqlStore) -> dict[str, str]:
    return store.read_now(lambda tx: facts.read_facts(tx.connection))


def has_nothing(server: SqlStore) -> bool:
    new = (schema.facts, schema.duties)
    return not any(rows_of(server, table) for table in schema.metadata.sorted_tables if table not in new)


def reopened(path: Path) -> SqlStore:
    return open_sqlcipher(path, MASTER_KEY, NETWORK, migrates=False)


def test_every_row_of_every_table_arrives_as_it_was(store: SqlStore, server: PostgresqlStore) -> None:
    store.write_now(fill_every_table)
    assert store.read_now(empty_tables) == []
    tables = [table for table in schema.metadata.sorted_tables if table is not schema.facts]

    moved = move(store, server)

    assert moved.rows == {table.name: len(rows_of(store, table)) for table in tables}
    assert moved.total == sum(moved.rows.values())
    for table in tables:
        arrived = rows_of(server, table)
        if table is schema.audit:
            assert arrived.pop()["action"] == "store_moved"
        if table is schema.audit_heads:
            assert arrived.pop()["chain"] == "node:commands"
        assert arrived == rows_of(store, table), table.name
    detail = server.read_now(lambda tx: tx.audit.of("escrow")[0].detail)
    assert repr(detail) == repr(HARD_TO_CARRY)


def test_what_was_sealed_opens_there(store: SqlStore, server: PostgresqlStore) -> None:
    store.write_now(fill_every_table)
    move(store, server)

    trio = server.read_now(lambda tx: tx.trios.get("trio"))

    assert trio.participants[Role.BUYER] == participants("trio")[0]
    assert trio.exchange.messages[Round.MAKE, Role.VENDOR] == message(Role.VENDOR, Round.MAKE)
    assert server.read_now(lambda tx: tx.payouts.signed("payout", hex64("txid"))) == hex64("blob")


def test_what_comes_next_gets_ids_past_all_that_came(store: SqlStore, server: PostgresqlStore) -> None:
    store.write_now(fill_every_table)
    store.write_now(lambda tx: tx.outbox.leap("service.restored", {}, NOW))
    move(store, server)

    server.write_now(lambda tx: tx.outbox.add("shop", "escrow", "escrow.next", {}, NOW))

    ids = [event.id for event in server.read_now(lambda tx: tx.outbox.after(None, 0, 10))]
    assert len(ids) == 3
    assert ids == sorted(ids)


def test_what_the_file_says_of_itself_holds_there_and_the_servers_history_is_remembered(
    store: SqlStore, server: PostgresqlStore
) -> None:
    store.write_now(lambda tx: facts.put_fact(tx.connection, facts.RESTORED_AT, 7.5))
    before = known(store)

    move(store, server)

    there = known(server)
    assert there.pop(facts.SERVER_HISTORY) == server.history.known
    assert len(there.pop(facts.MOVED_FROM)) == 64
    assert there == before
    assert server.read_now(lambda tx: facts.waits_for_check(tx.connection)), "it asks the chain before it signs"


def test_nobody_writes_into_the_file_while_it_is_moved(store: SqlStore, server: PostgresqlStore) -> None:
    refused: list[str] = []

    def write_there(_what: str, _done: float) -> None:
        if not refused:
            with pytest.raises(DatabaseBusyError, match="locked") as caught:
                store.write_now(lambda tx: tx.escrows.add(escrow()))
            refused.append(caught.value.code)

    with patch("monero_escrow.store.sqlcipher._BUSY_TIMEOUT_MS", 1):
        move(store, server, write_there)

    assert refused == ["database_unavailable"]


def test_no_service_starts_on_a_file_that_was_moved(store: SqlStore, server: PostgresqlStore, tmp_path: Path) -> None:
    move(store, server)
    store.close()

    for migrates in (True, False):
        with pytest.raises(DatabaseMovedError, match=PLACE) as caught:
            open_sqlcipher(tmp_path / "escrow.db", MASTER_KEY, NETWORK, migrates=migrates)
    assert "DATABASE_URL" in caught.value.what_to_do
    assert "docs/upgrading.md" in caught.value.what_to_do


async def test_a_moved_file_is_restored_like_a_backup_of_that_moment(
    store: SqlStore, server: PostgresqlStore, tmp_path: Path
) -> None:
    store.write_now(fill_every_table)
    store.write_now(lambda tx: facts.put_fact(tx.connection, facts.RESTORED_AT, 7.5))
    store.write_now(lambda tx: facts.put_fact(tx.connection, facts.RESTORED_CHECKED_AT, 8.5))
    move(store, server)
    store.close()
    assert not (tmp_path / "escrow.db-wal").exists(), "the file alone is all of it"
    settings = second_machine(tmp_path)

    done = await restored(settings, tmp_path / "escrow.db")

    assert (done.contents.escrows, done.contents.copied_at, done.quarantined) == (1, NOW, 1)
    back = reopened(settings.database_path)
    assert await back.read(lambda tx: facts.waits_for_check(tx.connection)), "that it asked before counts no more"
    assert not any(mark in known(back) for mark in MARKS)
    back.close()


# All or nothing


@pytest.mark.parametrize("moment", ["moving", "comparing", "summing up"])
def test_a_connection_that_breaks_leaves_nothing_there_and_the_next_run_moves_all(
    store: SqlStore, server: PostgresqlStore, database_url: str, moment: str
) -> None:
    store.write_now(fill_every_table)

    def cut(what: str, done: float) -> None:
        if what == moment and done > 0.5:
            cut_all_connections(database_url)

    with pytest.raises(MoveInterruptedError, match=r"did not take") as caught:
        move(store, server, cut)

    assert "Run it again" in caught.value.what_to_do
    assert has_nothing(server)
    assert not any(mark in known(store) for mark in MARKS)
    assert not move(store, server).arrived_earlier
    assert known(store)[facts.MOVED_TO] == PLACE


def test_whoever_is_interrupted_after_the_servers_commit_finishes_with_the_next_run(
    store: SqlStore, server: PostgresqlStore
) -> None:
    interrupted_before_the_mark(store, server)
    assert not any(mark in known(store) for mark in MARKS)
    server.write_now(lambda tx: tx.escrows.add(escrow("made there since")))

    moved = move(store, server)

    assert moved.arrived_earlier
    assert known(store)[facts.MOVED_TO] == PLACE
    assert len(rows_of(server, schema.escrows)) == 2


def test_a_file_that_cannot_be_marked_after_the_servers_commit_is_not_said_to_be_the_only_copy(
    store: SqlStore, server: PostgresqlStore
) -> None:
    store.write_now(fill_every_table)
    full = sqlcipher.OperationalError("database or disk is full")
    with (
        patch.object(store._engine.dialect, "do_commit", side_effect=full),
        pytest.raises(MoveInterruptedError, match="All rows are on the server") as caught,
    ):
        move(store, server)

    assert "start no service on either" in caught.value.what_to_do
    assert move(store, server).arrived_earlier


def test_a_file_that_was_used_again_after_it_had_arrived_is_not_moved_a_second_time(
    store: SqlStore, server: PostgresqlStore
) -> None:
    interrupted_before_the_mark(store, server)
    store.write_now(lambda tx: tx.escrows.add(escrow("made here since")))

    with pytest.raises(MovedBeforeError, match="used since"):
        move(store, server)

    assert not any(mark in known(store) for mark in MARKS)


def test_a_server_that_changes_a_row_is_found_out_before_it_counts(store: SqlStore, server: PostgresqlStore) -> None:
    store.write_now(fill_every_table)
    server.write_now(
        lambda tx: tx.connection.exec_driver_sql(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.message_sealed = set_byte(NEW.message_sealed, 0, 255); RETURN NEW; END $$; "
            "CREATE TRIGGER spoil BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.role = 'vendor') "
            "EXECUTE FUNCTION spoil()"
        )
    )

    with pytest.raises(RowsDifferError, match=r"Row 'stock', 'vendor', 1 of messages"):
        move(store, server)

    assert has_nothing(server)
    assert not any(mark in known(store) for mark in MARKS)


def test_rows_that_the_file_does_not_have_are_found_out_too(store: SqlStore, server: PostgresqlStore) -> None:
    store.write_now(fill_every_table)
    server.write_now(
        lambda tx: tx.connection.exec_driver_sql(
            "CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO scanned_blocks VALUES (1, 'x'); RETURN NEW; END $$; "
            "CREATE TRIGGER double BEFORE INSERT ON escrows FOR EACH ROW EXECUTE FUNCTION double()"
        )
    )

    with pytest.raises(RowsDifferError, match="The file has 1 rows of scanned_blocks, the server 2"):
        move(store, server)
    assert has_nothing(server)


# What is refused


FILLED: dict[str, Callable[[Transaction], object]] = {
    "escrows": lambda tx: tx.escrows.add(escrow()),
    "audit": lambda tx: tx.audit.add("operator:ann", "key_created", NOW),
    "nodes": lambda tx: tx.nodes.join("node", "first", "0.1.0", 15.0),
}


@pytest.mark.parametrize("table", FILLED)
def test_a_database_that_is_not_empty_takes_nothing(store: SqlStore, server: PostgresqlStore, table: str) -> None:
    store.write_now(fill_every_table)
    server.write_now(FILLED[table])

    with pytest.raises(ServerNotEmptyError, match=f"1 row of {table}") as caught:
        move(store, server)

    assert "CREATE DATABASE" in caught.value.what_to_do
    assert not any(mark in known(store) for mark in MARKS)


REFUSED: dict[str, tuple[Table, dict[str, object], str]] = {
    "a NUL": (schema.escrows, {"order_id": "order\0"}, "'escrow' of escrows: .*NUL"),
    "too long": (schema.api_keys, {"name": "n" * 129}, "of api_keys: value too long"),
    "too large": (schema.payouts, {"number": 2**31}, "'payout' of payouts: .*out of range"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_postgresql_cannot_hold_is_named_and_nothing_is_moved(
    store: SqlStore, server: PostgresqlStore, case: str
) -> None:
    table, values, said = REFUSED[case]
    store.write_now(fill_every_table)
    store.write_now(lambda tx: tx.connection.execute(update(table).values(**values)))

    with pytest.raises(RowRefusedError, match=f"does not take row .*{said}") as caught:
        move(store, server)

    assert "nnnn" not in caught.value.message
    assert has_nothing(server)
    assert not any(mark in known(store) for mark in MARKS)


def test_one_bad_row_among_many_is_the_one_that_is_named(store: SqlStore, server: PostgresqlStore) -> None:
    rows = [{"height": height, "hash": "x\0" if height == 777 else "x"} for height in range(1_000)]
    store.write_now(lambda tx: tx.connection.execute(insert(schema.scanned_blocks), rows))

    with pytest.raises(RowRefusedError, match="row 777 of scanned_blocks"):
        move(store, server)


@pytest.mark.parametrize("broken", ["CAST(x'ff' AS TEXT)", "'{no json'"])
def test_a_row_that_cannot_be_read_is_named_and_nothing_is_moved(
    store: SqlStore, server: PostgresqlStore, broken: str
) -> None:
    store.write_now(fill_every_table)
    store.write_now(lambda tx: tx.connection.execute(update(schema.payouts).values(plan=text(broken))))

    with pytest.raises(RowUnreadableError, match="Row 'payout' of payouts cannot be read") as caught:
        move(store, server)

    assert "no json" not in caught.value.message
    assert has_nothing(server)


# What is under way


async def test_a_payout_under_way_goes_on_there(
    ctx: Context, daemon: ScriptedDaemon, store: SqlStore, server: PostgresqlStore
) -> None:
    await broadcast(ctx)
    move(store, server)
    moved = replace(ctx, store=server)

    assert (await look(moved)).state is PayoutState.BROADCAST
    assert daemon.relayed == ["raw"], "its transaction came along"
    daemon.known[hex64("txid")] = in_block(990)
    assert (await look(moved)).state is PayoutState.SETTLED


# ---


def cut_all_connections(url: str) -> None:
    """As if the network between service and server were gone for a moment."""
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def interrupted_before_the_mark(store: SqlStore, server: PostgresqlStore) -> None:
    store.write_now(fill_every_table)
    with patch.object(facts, "mark_as_copy", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        move(store, server)
