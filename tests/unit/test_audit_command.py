"""`monero-escrow audit`: what it prints, writes and ends with."""

from __future__ import annotations

import csv
import getpass
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from monero_escrow.cli.audit import (
    NOT_WHOLE,
    adopt_rows,
    checkpoint_trail,
    export_trail,
    mend_chain,
    show_key,
    verify_trail,
)
from monero_escrow.cli.books import write_books
from monero_escrow.cli.doctor import doctor
from monero_escrow.cli.escrow import resume_payout
from monero_escrow.cli.keys import create
from monero_escrow.cli.rescan import rescan
from monero_escrow.core.errors import InvalidInputError, NotFoundError
from monero_escrow.core.payout_states import PayoutState
from monero_escrow.store import schema
from monero_escrow.store.audit_file import AuditFileError
from monero_escrow.store.durable_file import ExportFailedError
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.records import Scope
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.command_line import set_environment
from unit.rows import MASTER_KEY, NETWORK, XMR, add_funded, decide, escrow, hex64, output, plan
from unit.trails import write_as_before

Said = pytest.CaptureFixture[str]
_a = schema.audit


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlStore]:
    """With a trail of two escrows, three rows each."""
    set_environment(monkeypatch, tmp_path)
    opened = open_sqlcipher(tmp_path / "escrow.db", MASTER_KEY, NETWORK)
    opened.write_now(two_trails)
    yield opened
    opened.close()


def two_trails(tx: Transaction) -> None:
    for escrow_id in ("one", "two"):
        add_funded(tx, escrow_id)
        for action in ("init_escrow", "deposit_complete", "release"):
            tx.audit.add("shop:acme:1f", action, 1.7e9, escrow_id=escrow_id)


def verified(capsys: Said, **how: object) -> tuple[int, dict[str, object]]:
    capsys.readouterr()
    code = verify_trail(json_output=True, **how)  # type: ignore[arg-type]
    return code, json.loads(capsys.readouterr().out)


def test_a_whole_trail_is_called_so(store: SqlStore, capsys: Said) -> None:
    assert verify_trail() == 0
    assert capsys.readouterr().out == "The audit trail is whole: 6 rows in 2 chains, 0 checkpoints.\n"


def test_a_changed_and_a_removed_row_are_named_by_escrow_and_number(store: SqlStore, capsys: Said) -> None:
    store.write_now(lambda tx: tx.connection.execute(update(_a).where(_a.c.id == 2).values(actor="x")) and None)
    store.write_now(lambda tx: tx.connection.execute(delete(_a).where(_a.c.id == 5)) and None)

    assert verify_trail() == NOT_WHOLE
    said = capsys.readouterr()
    assert "escrow one, row 2: is not as the service wrote it.\n" in said.out
    assert "escrow two, row 2: removed.\n" in said.out
    assert "docs/audit.md" in said.err
    assert verify_trail(escrow="one") == NOT_WHOLE
    code, found = verified(capsys, escrow="two")
    assert code == NOT_WHOLE
    assert found["troubles"] == [
        {
            "problem": "missing",
            "chain": "two",
            "first_row": 2,
            "last_row": 2,
            "message": "escrow two, row 2: removed.",
        }
    ]


def test_a_cut_off_tail_shows_by_a_checkpoint_that_was_kept(store: SqlStore, tmp_path: Path, capsys: Said) -> None:
    heads = store.read_now(lambda tx: tx.connection.execute(schema.audit_heads.select()).all())
    last_id = 6
    store.write_now(lambda tx: tx.audit.add("shop:acme:1f", "late", 1.8e9, escrow_id="one"))
    checkpoint_trail(tmp_path / "kept.jsonl")

    def put_back(tx: Transaction) -> None:
        tx.connection.execute(delete(_a).where(_a.c.id > last_id))
        for table in (schema.audit_heads, schema.audit_checkpoints):
            tx.connection.execute(delete(table))
        for row in heads:
            tx.connection.execute(schema.audit_heads.insert().values(**row._mapping))

    store.write_now(put_back)

    assert verified(capsys)[0] == 0, "the database alone looks whole"
    code, found = verified(capsys, checkpoint=tmp_path / "kept.jsonl")
    assert code == NOT_WHOLE
    assert "escrow one, row 4: signed by checkpoint 1, and removed since." in str(found["troubles"])


def test_an_export_is_verified_with_the_public_key_and_without_the_service(
    store: SqlStore, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_trail(tmp_path / "trail.jsonl", since="2001-01-01")
    show_key()
    key = capsys.readouterr().out.splitlines()[-1]
    monkeypatch.delenv("DB_ENCRYPTION_KEY")

    assert verify_trail(file=tmp_path / "trail.jsonl", public_key=key) == 0
    with pytest.raises(ExportFailedError):
        export_trail(tmp_path / "trail.jsonl")
    for wrong in ("", "zz", key[:-2], "00"):
        with pytest.raises(InvalidInputError):
            verify_trail(file=tmp_path / "trail.jsonl", public_key=wrong)
    with pytest.raises(InvalidInputError):
        verify_trail(public_key=key)
    with pytest.raises(AuditFileError):
        verify_trail(file=tmp_path / "escrow.db", public_key=key)


def test_an_escrow_that_is_not_there_is_no_whole_trail(store: SqlStore) -> None:
    with pytest.raises(NotFoundError):
        verify_trail(escrow="three")


def test_a_command_says_who_typed_it(store: SqlStore, tmp_path: Path) -> None:
    checkpoint_trail(tmp_path / "kept.jsonl")
    rows = store.read_now(lambda tx: tx.connection.execute(_a.select().where(_a.c.chain == "node:commands")).all())
    assert [(row.action, row.source) for row in rows] == [("trail_checkpointed", f"local:{getpass.getuser()}")]


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "", "1e9"])
def test_a_date_that_is_none_is_refused(store: SqlStore, tmp_path: Path, since: str) -> None:
    with pytest.raises(InvalidInputError):
        write_books(tmp_path / "books.csv", since=since)
    assert not (tmp_path / "books.csv").exists()


def test_rows_of_an_earlier_version_are_adopted_by_a_person(store: SqlStore, capsys: Said) -> None:
    store.write_now(lambda tx: write_as_before(tx, 4))
    assert verify_trail() == NOT_WHOLE
    adopt_rows()
    assert "4 rows are chained from now on" in capsys.readouterr().out
    assert verify_trail() == 0
    assert "4 rows were written by an earlier version and chained later" in capsys.readouterr().out


def test_a_chain_whose_end_was_changed_is_mended_by_a_person(store: SqlStore, capsys: Said) -> None:
    store.write_now(lambda tx: tx.connection.execute(update(schema.audit_heads).values(seq=1)) and None)
    assert verify_trail() == NOT_WHOLE
    mend_chain("one")
    mend_chain("two")
    assert "after row 3" in capsys.readouterr().out
    assert verify_trail() == 0


def test_the_books_have_every_deposit_and_payout_and_no_formula(store: SqlStore, tmp_path: Path) -> None:
    def deal(tx: Transaction) -> None:
        tx.escrows.add(escrow("evil", order_id='=HYPERLINK("http://example.com")'))
        tx.outputs.add(output("evil coin", "evil"))
        decide(tx, "payout", "evil", plan("evil coin"))
        number = tx.payouts.add_proposal("payout", hex64("txset"), 1_000, 102.0)
        tx.payouts.keep_signed("payout", number, hex64("blob"), hex64("paid"), 103.0)
        payout = tx.payouts.get("payout")
        tx.payouts.move(payout, PayoutState.SIGNED, txid=hex64("paid"), fee_piconero=1_000)
        tx.payouts.move(tx.payouts.get("payout"), PayoutState.BROADCAST, broadcast_at=104.0)

    store.write_now(deal)
    write_books(tmp_path / "books.csv")
    write_books(tmp_path / "books.jsonl")
    with (tmp_path / "books.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))

    assert [(row["escrow_id"], row["kind"]) for row in rows] == [
        ("evil", "deposit"),
        ("evil", "refund"),
        ("one", "deposit"),
        ("two", "deposit"),
    ]
    deposit, paid = (row for row in rows if row["escrow_id"] == "evil")
    assert deposit["order_id"] == paid["order_id"] == '\'=HYPERLINK("http://example.com")'
    assert (deposit["amount_piconero"], deposit["amount_xmr"]) == (str(XMR), "1")
    assert paid["txid"] == hex64("paid")
    assert int(paid["amount_piconero"]) + int(paid["fee_piconero"]) == XMR
    assert paid["time"] == "1970-01-01T00:01:44Z"
    objects = [json.loads(line) for line in (tmp_path / "books.jsonl").read_text().splitlines()]
    assert objects[0]["order_id"].startswith("=HYPERLINK"), "no spreadsheet reads JSON"
    assert len(objects) == 4
    with pytest.raises(ExportFailedError):
        write_books(tmp_path / "books.csv")
    with pytest.raises(InvalidInputError):
        write_books(tmp_path / "books.xls")


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 10001"), OSError("No username set")])
def test_whoever_has_only_a_number_as_in_a_container_is_known_by_it(
    store: SqlStore, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def nobody() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", nobody)
    checkpoint_trail(tmp_path / "kept.jsonl")
    create(scope=Scope.OPERATOR)
    with pytest.raises(NotFoundError):
        resume_payout("nowhere", 1)
    with pytest.raises(NotFoundError):
        rescan("nowhere")

    query = select(_a.c.action, _a.c.actor, _a.c.source).order_by(_a.c.id.desc()).limit(2)
    rows = store.read_now(lambda tx: [tuple(row) for row in tx.connection.execute(query)])
    number = os.getuid()
    assert rows == [
        ("key_created", f"operator:{number}", f"local:{number}"),
        ("trail_checkpointed", f"operator:{number}", f"local:{number}"),
    ]


def doctors_words(capsys: Said) -> list[tuple[str, str]]:
    """What `doctor` finds about the trail."""
    capsys.readouterr()
    doctor(json_output=True)
    findings = json.loads(capsys.readouterr().out)
    return [(one["level"], one["message"]) for one in findings if one["what"] == "audit trail"]


def test_doctor_looks_at_the_newest_rows_and_says_how_to_look_at_all(store: SqlStore, capsys: Said) -> None:
    whole = "the newest 6 rows and their chains are whole; `monero-escrow audit verify` looks at all of it"
    assert doctors_words(capsys) == [("ok", whole)]

    store.write_now(lambda tx: tx.connection.execute(update(_a).where(_a.c.id == 2).values(actor="x")) and None)
    assert doctors_words(capsys) == [("error", "escrow one, row 2: is not as the service wrote it.")]


def test_doctor_warns_of_what_no_checkpoint_signs(store: SqlStore, capsys: Said) -> None:
    store.write_now(lambda tx: tx.audit.add("service", "late", 1.7e9 + 7_200, escrow_id="one"))
    ((level, message),) = doctors_words(capsys)
    assert (level, message) == ("warning", "no checkpoint signs what was done in the 2 h before its newest row")
