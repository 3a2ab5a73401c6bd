"""The commands that know a file do their work on a server too, or say who does it instead."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest

from monero_escrow.cli import doctor_database
from monero_escrow.cli.backup import ServerBacksUpError, backup, drill, restore
from monero_escrow.cli.doctor import doctor
from monero_escrow.cli.escrow import list_escrows, resume_payout, show
from monero_escrow.cli.keys import create, list_keys, revoke
from monero_escrow.cli.migrate_store import migrate_store
from monero_escrow.cli.rescan import rescan
from monero_escrow.config import SettingsError
from monero_escrow.core.errors import InvalidInputError
from monero_escrow.core.life_cycle import State
from monero_escrow.nodes.bell import ANY_ESCROW
from monero_escrow.service import AlreadyRunningError, only_one
from monero_escrow.store import facts, schema
from monero_escrow.store.migrate import SchemaMissingError, SchemaOutdatedError
from monero_escrow.store.node_table import CHANNEL
from monero_escrow.store.opening import (
    DatabaseMovedError,
    OtherDatabaseError,
    PostgresqlStore,
    open_postgresql,
)
from monero_escrow.store.records import PayoutState, Scope
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.command_line import set_environment
from unit.full_database import fill_every_table
from unit.rows import MASTER_KEY, NETWORK, add_funded, address, decide, escrow, plan

Said = pytest.CaptureFixture[str]
Set = pytest.MonkeyPatch


@pytest.fixture
def settings(database_url: str, tmp_path: Path, monkeypatch: Set) -> Set:
    """Of a service on a server."""
    set_environment(monkeypatch, tmp_path, DATABASE_URL=database_url)
    return monkeypatch


@pytest.fixture
def server(database_url: str, settings: Set) -> Iterator[PostgresqlStore]:
    opened = open_postgresql(database_url, MASTER_KEY, NETWORK)
    yield opened
    opened.close()


def heard_by_nodes(url: str, command: Callable[[], object]) -> str:
    """What the command rings."""
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        command()
        (heard,) = listener.notifies(timeout=10, stop_after=1)
    return heard.payload


def escrow_with_address(tx: Transaction) -> None:
    tx.escrows.add(escrow(due_at=None))
    awaiting = {"state": State.AWAITING_DEPOSIT, "deposit_address": address("deposit")}
    tx.escrows.change("escrow", expected=State.SETTING_UP, now=101.0, **awaiting)


# Keys, escrows, rescan, drill


def test_keys_are_made_listed_and_revoked_there(server: PostgresqlStore, tmp_path: Path, capsys: Said) -> None:
    create(scope=Scope.SHOP, shop="acme", days=1, json_output=True)
    made = json.loads(capsys.readouterr().out)
    revoke(made["id"])
    capsys.readouterr()
    list_keys(json_output=True)

    (key,) = json.loads(capsys.readouterr().out)
    assert (key["id"], bool(key["revoked_at"])) == (made["id"], True)
    assert not (tmp_path / "escrow.db").exists()


def test_the_first_key_makes_the_tables_and_says_where(empty_database: str, settings: Set, capsys: Said) -> None:
    settings.setenv("DATABASE_URL", empty_database)
    with pytest.raises(SchemaMissingError):
        list_keys()

    create(scope=Scope.OPERATOR)

    said = capsys.readouterr().err
    assert "Made a new database at 127.0.0.1:" in said
    assert str(psycopg.conninfo.conninfo_to_dict(empty_database)["password"]) not in said
    list_keys()


def test_a_key_is_dated_by_the_databases_clock(server: PostgresqlStore, capsys: Said) -> None:
    with patch("time.time", lambda: 7.0):
        create(scope=Scope.OPERATOR, days=1)

    (key,) = server.read_now(lambda tx: tx.keys.all())
    assert key.created_at > 1_000_000_000
    assert key.expires_at == pytest.approx(key.created_at + 86_400)


def test_escrows_are_listed_and_shown_there(server: PostgresqlStore, capsys: Said) -> None:
    server.write_now(add_funded)

    list_escrows()
    show("escrow")

    assert "order of escrow of shop" in capsys.readouterr().out


def test_a_rescan_is_heard_by_the_nodes(server: PostgresqlStore, database_url: str, capsys: Said) -> None:
    server.write_now(escrow_with_address)

    assert heard_by_nodes(database_url, lambda: rescan("escrow")) == "- escrow"
    assert heard_by_nodes(database_url, lambda: rescan(every=True)) == f"- {ANY_ESCROW}"

    assert capsys.readouterr().out.count("the first node that is free begins at once.") == 2
    due_at = server.read_now(lambda tx: tx.escrows.get("escrow").due_at)
    assert due_at == pytest.approx(server.read_now(lambda tx: tx.nodes.now()), abs=60)


def test_a_payout_that_is_taken_up_again_is_heard_by_the_nodes(
    server: PostgresqlStore, database_url: str, capsys: Said
) -> None:
    server.write_now(held_payout)

    assert heard_by_nodes(database_url, lambda: resume_payout("escrow", 1)) == "- escrow"

    assert server.read_now(lambda tx: tx.payouts.get("payout").state) is not PayoutState.HELD


def held_payout(tx: Transaction) -> None:
    add_funded(tx)
    decide(tx, "payout", "escrow", plan("coin of escrow"))
    tx.payouts.move(tx.payouts.get("payout"), PayoutState.HELD, trouble="somebody must look")


def test_a_command_on_a_file_rings_nowhere(store: SqlStore, tmp_path: Path, monkeypatch: Set, capsys: Said) -> None:
    set_environment(monkeypatch, tmp_path)
    store.write_now(escrow_with_address)

    rescan("escrow")

    assert "the running service begins within half a minute." in capsys.readouterr().out


def test_a_drill_draws_its_escrows_there(server: PostgresqlStore) -> None:
    with pytest.raises(InvalidInputError, match="No escrow has an address"):
        drill()


@pytest.mark.parametrize("command", [backup, lambda: restore(Path("copy"))])
def test_backup_and_restore_leave_a_server_to_its_own_tools(
    settings: Set, tmp_path: Path, command: Callable[[], None]
) -> None:
    with pytest.raises(ServerBacksUpError, match="DATABASE_URL names a PostgreSQL database") as caught:
        command()

    assert "docs/postgresql.md" in caught.value.what_to_do
    assert list(tmp_path.iterdir()) == []


# migrate-store


def test_migrate_store_counts_what_it_moved_and_says_how_to_go_on(
    store: SqlStore, settings: Set, tmp_path: Path, capsys: Said
) -> None:
    store.write_now(fill_every_table)
    store.close()

    migrate_store()

    said = capsys.readouterr().out
    rows = dict(re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE))
    assert set(rows) == {table.name for table in schema.metadata.sorted_tables} - {"facts"}  # each database has its own
    assert f"{sum(map(int, rows.values()))} rows are at 127.0.0.1:" in said
    assert "each was read back and compared" in said
    assert "docs/upgrading.md" in said
    list_escrows(json_output=True)
    (moved,) = json.loads(capsys.readouterr().out)
    assert moved["escrow_id"] == "escrow"
    settings.delenv("DATABASE_URL")
    with pytest.raises(DatabaseMovedError):
        list_escrows()
    with pytest.raises(DatabaseMovedError):
        backup()


def test_migrate_store_tells_a_script_how_many_rows_each_table_has(
    store: SqlStore, settings: Set, capsys: Said
) -> None:
    store.write_now(add_funded)
    store.close()

    migrate_store(json_output=True)

    answer = json.loads(capsys.readouterr().out)
    assert (answer["rows"]["escrows"], answer["rows"]["payouts"], answer["arrived_earlier"]) == (1, 0, False)


def test_a_file_on_which_a_service_runs_is_not_moved(store: SqlStore, server: PostgresqlStore, tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(AlreadyRunningError):
        migrate_store()

    assert facts.MOVED_TO not in store.read_now(lambda tx: facts.read_facts(tx.connection))


def test_an_earlier_versions_file_is_brought_up_to_date_first(
    store: SqlStore, settings: Set, server: PostgresqlStore
) -> None:
    store.write_now(lambda tx: tx.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0004'"))

    with pytest.raises(SchemaOutdatedError, match="0004") as caught:
        migrate_store()

    assert "Start the service of this version once" in caught.value.what_to_do


def test_a_server_of_another_network_takes_nothing(store: SqlStore, server: PostgresqlStore, settings: Set) -> None:
    server.write_now(lambda tx: facts.put_fact(tx.connection, "network", "mainnet"))

    with pytest.raises(OtherDatabaseError, match="mainnet, not stagenet"):
        migrate_store()

    assert facts.MOVED_TO not in store.read_now(lambda tx: facts.read_facts(tx.connection))


def test_without_a_server_or_without_a_file_nothing_is_moved_and_nothing_made(settings: Set, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"There is no escrow\.db") as caught:
        migrate_store()
    assert "DATA_DIR" in caught.value.what_to_do

    settings.delenv("DATABASE_URL")
    with pytest.raises(SettingsError, match="DATABASE_URL is not set"):
        migrate_store()

    assert list(tmp_path.iterdir()) == []


# doctor


def found(capsys: Said, *what: str) -> list[tuple[str, str, str]]:
    capsys.readouterr()
    doctor(json_output=True)
    findings = json.loads(capsys.readouterr().out)
    return [(one["what"], one["level"], one["message"]) for one in findings if one["what"] in what]


def test_doctor_looks_at_the_server_its_nodes_and_the_clocks(server: PostgresqlStore, capsys: Said) -> None:
    server.write_now(lambda tx: tx.nodes.join("1", "first", "0.1.0", 15.0))

    database, at, tls, clock, nodes = found(capsys, "database", "server", "TLS", "clock", "nodes")

    assert database == ("database", "ok", "opens; 0 escrows")
    assert at[:2] == ("server", "ok")
    assert "PostgreSQL 1" in at[2]
    assert tls == ("TLS", "ok", "not encrypted; the server is on this machine")
    assert clock == ("clock", "ok", "agrees with the database's")
    assert nodes == ("nodes", "ok", "first is alive")


def test_doctor_changes_nothing_on_the_server(server: PostgresqlStore, capsys: Said) -> None:
    def everything(tx: Transaction) -> list[object]:
        return [tx.connection.execute(table.select()).all() for table in schema.metadata.sorted_tables]

    before = server.read_now(everything)
    found(capsys)
    assert server.read_now(everything) == before


def test_doctor_tells_of_nodes_that_are_silent(server: PostgresqlStore, capsys: Said) -> None:
    server.write_now(lambda tx: tx.nodes.join("1", "first", "0.1.0", -60.0))

    alone, silent = found(capsys, "nodes")

    assert alone[1:] == ("ok", f"none is alive; this one would be {socket.gethostname()}")
    assert silent[1] == "warning"
    assert "first has been silent for" in silent[2]


def test_doctor_tells_of_a_file_that_was_left_behind_unless_it_was_moved(
    store: SqlStore, settings: Set, capsys: Said
) -> None:
    store.write_now(lambda tx: facts.put_fact(tx.connection, facts.MOVED_TO, "db.example.com/escrow"))
    create(scope=Scope.OPERATOR)
    assert [level for _, level, _ in found(capsys, "database")] == ["ok"]

    store.write_now(lambda tx: facts.drop_fact(tx.connection, facts.MOVED_TO))
    _, left = found(capsys, "database")

    assert left[1] == "warning"
    assert "its escrows are not looked at" in left[2]


def test_doctor_tells_of_a_server_that_was_replaced(server: PostgresqlStore, capsys: Said) -> None:
    server.write_now(lambda tx: facts.put_fact(tx.connection, facts.SERVER_HISTORY, "7/00000001"))

    _, replaced = found(capsys, "server")

    assert replaced == ("server", "warning", "was replaced, or set back to an earlier state, since it was last used")


def test_doctor_tells_when_a_clock_is_wrong(server: PostgresqlStore, capsys: Said) -> None:
    now = time.time
    with patch("time.time", lambda: now() - 3_600):
        ((_, level, message),) = found(capsys, "clock")

    assert level == "warning"
    assert "is 3,600 s behind the database's" in message


@pytest.mark.parametrize(
    ("url", "used", "level"),
    [
        ("postgresql://db.example.com/escrow", "TLSv1.3", "warning"),
        ("postgresql://db.example.com/escrow?sslmode=require", "TLSv1.3", "warning"),
        ("postgresql://db.example.com/escrow?sslmode=verify-ca", "TLSv1.3", "warning"),
        ("postgresql://db.example.com/escrow?sslmode=disable", None, "warning"),
        ("postgresql://db.example.com/escrow?sslmode=verify-full", "TLSv1.3", "ok"),
        ("postgresql://127.0.0.1/escrow", None, "ok"),
        ("postgresql:///escrow?host=/run/postgresql", None, "ok"),
    ],
)
def test_doctor_warns_of_a_server_elsewhere_that_need_not_prove_who_it_is(
    url: str, used: str | None, level: str
) -> None:
    finding = doctor_database.tls_finding(url, used)

    assert finding.level == level
    assert (finding.message.partition(",")[0].partition(";")[0] == "not encrypted") is (used is None)
    assert ("verify-full" in finding.what_to_do) is (level == "warning")


def test_doctor_tells_what_a_start_would_make_and_what_it_could_not(
    settings: Set, empty_database: str, database_url: str, capsys: Said
) -> None:
    settings.setenv("DATABASE_URL", empty_database)
    ((_, level, message),) = found(capsys, "database")
    assert (level, message[:26]) == ("ok", "will be made in 127.0.0.1:")

    password = str(psycopg.conninfo.conninfo_to_dict(database_url)["password"])
    settings.setenv("DATABASE_URL", database_url.replace(password, "not the password"))
    ((_, level, message),) = found(capsys, "database")
    assert level == "error"
    assert "password authentication failed" in message
    assert "not the password" not in message
