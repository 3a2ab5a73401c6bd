"""`monero-escrow escrow show`: a story that a person can read, and a program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from monero_escrow.cli.escrow import show
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.escrows.timeline import operator_can
from monero_escrow.escrows.views import Round, escrow_view, rounds_of
from monero_escrow.store.audit_table import WALLET_OPERATION
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.records import PayoutState
from monero_escrow.store.store import SqlStore
from monero_escrow.store.trail_tables import OK
from monero_escrow.store.transaction import Transaction
from unit.command_line import set_environment
from unit.rows import MASTER_KEY, NETWORK, address, escrow, output, plan

Said = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlStore]:
    set_environment(monkeypatch, tmp_path, COLUMNS="200")
    opened = open_sqlcipher(tmp_path / "escrow.db", MASTER_KEY, NETWORK)
    yield opened
    opened.close()


def lived(tx: Transaction) -> None:
    """Ordered, set up at the second attempt, released, and its payout's signing did not end."""
    tx.escrows.add(escrow("e1", order_id="[red]<b>order</b>"))
    changes = {"state": State.FUNDED, "deposit_address": address("its"), "trouble": "No slot [free]."}
    tx.escrows.change("e1", expected=State.SETTING_UP, now=150.0, **changes)
    tx.audit.add("shop:acme:1f", "init_escrow", 100.0, escrow_id="e1", to_state="setting_up")
    for role in ROLES:
        step = tx.journal.intend(escrow_id="e1", subject_id="t1", name="gate", role=role, slot=None, now=101.0)
        tx.journal.end(step, OK if role is not Role.BUYER else "It did not answer.", 103.5)
    tx.audit.add("service", WALLET_OPERATION, 103.5, escrow_id="e1", detail={"step": "gate"}, result="no_answer")
    tx.audit.add("service", "address_ready", 104.0, escrow_id="e1", to_state="awaiting_deposit", detail={"x": 1})
    tx.journal.intend(escrow_id="e1", subject_id="p1", name="sign", role=Role.BUYER, slot=None, now=4_000.0)


def test_the_story_says_what_happened_how_long_and_what_can_be_done(store: SqlStore, capsys: Said) -> None:
    store.write_now(lived)
    show("e1")
    said = capsys.readouterr().out

    assert "order [red]<b>order</b> of shop" in said, "what a shop wrote is shown as it is"
    assert "funded, for " in said
    assert "the shop may: " in said
    assert "No slot [free]." in said
    assert "monero-escrow doctor" in said
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "1970-01-01 00:01:40 shop:acme:1f init escrow setting_up" in lines
    assert "1970-01-01 00:01:41 1 s 2 s service gate (buyer, vendor, arbiter): It did not answer." in lines
    assert "1970-01-01 00:01:44 3 s service address ready (x 1) awaiting_deposit" in lines
    assert "1970-01-01 01:06:40 1 h 4 min service sign (buyer): not ended, or nobody knows how" in lines
    assert sum("gate" in line for line in lines) == 1, "a round is told of once"


def test_how_long_it_is_funded_counts_from_when_it_was_funded_whatever_was_done_since(
    store: SqlStore, capsys: Said
) -> None:
    def funded_two_hours_ago(tx: Transaction) -> None:
        lived(tx)
        now = tx.nodes.now()
        tx.audit.add(
            "service", "deposit_complete", now - 7_230, escrow_id="e1", from_state="awaiting_deposit", to_state="funded"
        )
        tx.audit.add("service", "deposit_seen", now - 60, escrow_id="e1", from_state="funded", to_state="funded")
        failed = tx.journal.intend(escrow_id="e1", subject_id="p1", name="sign", role=None, slot=None, now=now - 5)
        tx.journal.end(failed, "It did not answer.", now - 4)

    store.write_now(funded_two_hours_ago)
    show("e1")

    assert "funded, for 2 h" in capsys.readouterr().out


def test_steps_are_of_one_round_though_others_were_noted_between_them(store: SqlStore) -> None:
    def two_rounds(tx: Transaction) -> list[Round]:
        tx.escrows.add(escrow("e1"))
        for name, role in (("gate", Role.BUYER), ("sign", None), ("gate", Role.VENDOR)):
            step = tx.journal.intend(escrow_id="e1", subject_id="t1", name=name, role=role, slot=None, now=100.0)
            if role is not Role.VENDOR:
                tx.journal.end(step, OK, 102.0)
        return rounds_of(tx.journal.of("e1"))

    gate, sign = store.write_now(two_rounds)

    assert (gate.name, gate.roles, gate.seconds) == ("gate", ("buyer", "vendor"), None)
    assert (sign.name, sign.roles, sign.seconds, sign.troubles) == ("sign", (), 2.0, ())


def test_of_a_held_payout_the_operator_is_told_all_that_can_be_done(store: SqlStore) -> None:
    def hold(tx: Transaction) -> list[str]:
        tx.escrows.add(escrow("e1"))
        tx.outputs.add(output("coin", "e1"))
        tx.payouts.add("p1", "e1", 1, plan(), decided_by="shop", reason=None, now=100.0)
        tx.payouts.move(tx.payouts.get("p1"), PayoutState.HELD, trouble="Somebody must look.")
        return operator_can(escrow_view(tx, "e1"))

    said = " ".join(store.write_now(hold))

    assert "`monero-escrow escrow resume-payout e1 1`" in said
    assert "--replace" in said
    assert "POST /api/escrows/e1/payouts/1/call-off" in said
    assert "POST /api/escrows/e1/payouts/1/write-off" in said


def test_the_same_as_json(store: SqlStore, capsys: Said) -> None:
    store.write_now(lived)
    show("e1", json_output=True)
    shown = json.loads(capsys.readouterr().out)

    assert [chapter["what"] for chapter in shown["timeline"]] == [
        "init escrow",
        "gate (buyer, vendor, arbiter)",
        "address ready (x 1)",
        "sign (buyer)",
    ]
    assert [entry["action"] for entry in shown["history"]] == ["init_escrow", "address_ready"]
    assert "dispute" in shown["shop_may"]
    assert shown["operator_can"]
