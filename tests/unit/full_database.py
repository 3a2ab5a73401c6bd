"""A database in which no table is empty, and values of every kind that is hard to carry to another engine."""

from __future__ import annotations

from sqlalchemy import insert, select

from monero_escrow.core.key_exchange import Round
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.store import schema
from monero_escrow.store.audit_checkpoints import make_checkpoint
from monero_escrow.store.records import Scope
from monero_escrow.store.share_table import Share
from monero_escrow.store.trail_tables import OK
from monero_escrow.store.transaction import Transaction
from unit.rows import NETWORK, add_funded, address, decide, hex64, message, participants, plan

HARD_TO_CARRY = {
    "numbers": [1, 1.0, True, None, 0.1 + 0.2, 2**63 - 1, -1e-300],
    "text": "šroubek \U0001f529 \u202e\x7f '\"\\",
    "escaped": "\ud800 \u0000",
    "z before a": {"z": [], "a": {}},
}


def fill_every_table(tx: Transaction) -> None:
    """An escrow whose payout is signed, with its trio; another trio in stock; and all that was written beside."""
    add_funded(tx)
    _add_trio(tx, "trio", "escrow")
    _add_trio(tx, "stock", None)
    decide(tx, "payout", "escrow", plan("coin of escrow"))
    number = tx.payouts.add_proposal("payout", hex64("txset"), 1_000, 102.0)
    tx.payouts.keep_signed("payout", number, hex64("blob"), hex64("txid"), 103.0)
    tx.payouts.keep_raw("payout", hex64("raw"))
    key, _ = tx.keys.create(Scope.SHOP, "shop", "šop", 100.0, None)
    tx.sessions.open(key.id, 100.0, 200.0)
    tx.evidence.add("escrow", Role.BUYER, "It was empty.\nŠ", "shop", 100.0)
    step_id = tx.journal.intend(
        escrow_id="escrow", subject_id="trio", name="make_wallet", role=Role.BUYER, slot="buyer@127.0.0.1:1", now=100.5
    )
    tx.journal.end(step_id, OK, 100.1 + 0.2)
    tx.journal.intend(escrow_id=None, subject_id="stock", name="make_wallet", role=None, slot=None, now=101.0)
    tx.audit.add("shop", "init", 100.0, escrow_id="escrow", detail=HARD_TO_CARRY)
    make_checkpoint(tx, 100.0)
    tx.outbox.add("shop", "escrow", "escrow.init", HARD_TO_CARRY, 100.0)
    tx.idempotency.add("shop:shop", "key", hex64("request"), HARD_TO_CARRY, 100.0)
    tx.connection.execute(insert(schema.scanned_blocks).values(height=2_000_000_000, hash=hex64("block")))
    tx.nodes.join("node", "first", "0.1.0", 15.0)
    tx.nodes.use_slots("node", {"place": "http://127.0.0.1:1"})
    tx.shares.publish(Share("first", "run", {"key:0123": (7, 1.5)}))


def _add_trio(tx: Transaction, trio_id: str, escrow_id: str | None) -> None:
    tx.trios.add(trio_id, escrow_id, 0, 100.0)
    tx.trios.add_hosted(participants(trio_id), 100.0)
    for made in (Round.PREPARE, Round.MAKE, Round.EXCHANGE):
        tx.trios.add_messages(trio_id, made, {role: message(role, made) for role in ROLES}, 100.0)
    tx.trios.finish(trio_id, address(f"deposit of {trio_id}"), hex64("view key"), NETWORK, 101.0)


def empty_tables(tx: Transaction) -> list[str]:
    """Those of which a test that uses this would learn nothing."""
    return [
        name for name, table in schema.metadata.tables.items() if tx.connection.execute(select(table)).first() is None
    ]
