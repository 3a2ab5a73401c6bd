"""`monero-escrow nodes`: who is there, who drains, who is forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import update

from monero_escrow.cli.nodes import NotSharedError, drain, forget, list_nodes, resume
from monero_escrow.core.errors import ConflictError, NotFoundError
from monero_escrow.nodes.bell import ANY_ESCROW
from monero_escrow.store import schema
from monero_escrow.store.migrate import SchemaMissingError
from monero_escrow.store.node_table import CHANNEL
from monero_escrow.store.opening import PostgresqlStore, open_postgresql
from monero_escrow.store.transaction import Transaction
from unit.command_line import set_environment
from unit.rows import MASTER_KEY, NETWORK, escrow

Said = pytest.CaptureFixture[str]


@pytest.fixture
def server(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresqlStore]:
    """Two nodes share it: `busy` works on an escrow, `gone` has been silent for an hour."""
    set_environment(monkeypatch, tmp_path, DATABASE_URL=database_url)
    opened = open_postgresql(database_url, MASTER_KEY, NETWORK)
    opened.write_now(two_nodes)
    yield opened
    opened.close()


def two_nodes(tx: Transaction) -> None:
    tx.nodes.join("1", "busy", "0.1.0", 15.0)
    tx.nodes.join("2", "gone", "0.0.9", 15.0)
    n, now = schema.nodes.c, tx.nodes.now()
    silent = {"seen_at": now - 3_600, "lease_until": now - 3_585}
    tx.connection.execute(update(schema.nodes).where(n.id == "2").values(**silent))
    tx.escrows.add(escrow())
    tx.escrows.add(escrow("left"))
    tx.work.claim_due("1", "busy", now, 1, home_seconds=5.0)
    tx.connection.execute(update(schema.escrows).where(schema.escrows.c.id == "left").values(home="gone"))


def listed(capsys: Said) -> dict[str, dict[str, object]]:
    capsys.readouterr()
    list_nodes(json_output=True)
    return {node["name"]: node for node in json.loads(capsys.readouterr().out)}


def actions(server: PostgresqlStore) -> list[tuple[str, object]]:
    a = schema.audit.c
    rows = server.read_now(lambda tx: tx.connection.execute(schema.audit.select().order_by(a.id)).all())
    return [(row.action, row.detail["node"]) for row in rows]


def test_the_list_says_who_is_there_and_since_when_the_others_are_silent(server: PostgresqlStore, capsys: Said) -> None:
    list_nodes()

    head, busy, gone = capsys.readouterr().out.splitlines()
    assert head.split() == ["node", "state", "version", "slots", "works", "on", "lease"]
    assert busy.split()[:5] == ["busy", "alive", "0.1.0", "0", "1"]
    assert "s left" in busy
    assert gone.startswith("gone")
    assert "silent for 1 h" in gone
    assert "0.0.9" in gone
    assert "over for 59 min" in gone


def test_a_script_is_told_the_same(server: PostgresqlStore, capsys: Said) -> None:
    nodes = listed(capsys)

    assert (nodes["busy"]["alive"], nodes["busy"]["working_on"]) == (True, 1)
    assert not nodes["gone"]["alive"]
    assert nodes["gone"]["silent_seconds"] == pytest.approx(3_600, abs=60)


def test_a_node_is_drained_and_takes_up_work_again(server: PostgresqlStore, capsys: Said) -> None:
    drain("busy")
    assert "When `monero-escrow nodes` shows that it works on 0 escrows, stop it." in capsys.readouterr().out
    assert listed(capsys)["busy"]["draining"]
    list_nodes()
    assert "draining for" in capsys.readouterr().out

    resume("busy")

    assert not listed(capsys)["busy"]["draining"]
    assert actions(server) == [("node_drained", "busy"), ("node_resumed", "busy")]


def test_a_node_that_is_gone_is_forgotten_and_nobody_waits_for_its_files(server: PostgresqlStore, capsys: Said) -> None:
    forget("gone")

    assert list(listed(capsys)) == ["busy"]
    homes = server.read_now(lambda tx: tx.connection.execute(schema.escrows.select()).all())
    assert {row.id: row.home for row in homes} == {"escrow": "busy", "left": None}
    assert actions(server) == [("node_forgotten", "gone")]


def test_a_node_that_is_alive_is_not_forgotten(server: PostgresqlStore, capsys: Said) -> None:
    with pytest.raises(ConflictError, match="alive") as caught:
        forget("busy")

    assert "Drain it, stop it" in caught.value.what_to_do
    assert actions(server) == []


@pytest.mark.parametrize("command", [drain, resume, forget])
def test_a_node_that_nobody_knows_is_told_so(server: PostgresqlStore, command: object) -> None:
    with pytest.raises(NotFoundError, match="no node of this name"):
        command("nosuch")  # type: ignore[operator]


def test_the_other_nodes_hear_of_a_change(server: PostgresqlStore, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        drain("busy")
        (heard,) = listener.notifies(timeout=10, stop_after=1)

    assert heard.payload == f"- {ANY_ESCROW}"


def test_an_empty_list_says_what_to_do(database_url: str, server: PostgresqlStore, capsys: Said) -> None:
    server.write_now(lambda tx: tx.nodes.leave("1"))
    server.write_now(lambda tx: tx.nodes.leave("2"))

    list_nodes()

    assert "start a service with this DATABASE_URL" in capsys.readouterr().out


def test_a_database_without_tables_is_not_made_by_a_look(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, tmp_path, DATABASE_URL=empty_database)

    with pytest.raises(SchemaMissingError) as caught:
        list_nodes()

    assert "Start the service once" in caught.value.what_to_do


@pytest.mark.parametrize("command", ["list", "drain", "resume", "forget"])
def test_a_file_serves_one_service_which_needs_no_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    set_environment(monkeypatch, tmp_path)
    name = [] if command == "list" else ["first"]

    with pytest.raises(NotSharedError, match="serves one service alone") as caught:
        {"list": list_nodes, "drain": drain, "resume": resume, "forget": forget}[command](*name)  # type: ignore[operator]

    assert "DATABASE_URL" in caught.value.what_to_do
    assert list(tmp_path.iterdir()) == []
