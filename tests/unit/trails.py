"""What the tests of the audit trail share: trails of every kind, and the judgement of one."""

from __future__ import annotations

import random
from typing import Any

from sqlalchemy import insert, select

from monero_escrow.store import schema
from monero_escrow.store.audit_adopt import adopt
from monero_escrow.store.audit_check import Verified
from monero_escrow.store.audit_checkpoints import make_checkpoint
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.origin import done_by
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction

_a = schema.audit


def verified(store: SqlStore, **how: Any) -> Verified:
    return store.read_now(lambda tx: verify(tx, **how))


def write_a_trail(tx: Transaction, chance: random.Random, rows: int) -> list[tuple[str, int]]:
    """Some escrows, trios and nodes in turn, in transactions of one to three rows, with checkpoints between; each
    row's chain and number."""
    for number in range(rows):
        detail = {"n": number, "of": chance.choice([1, 1.0, True, None, "š\ud800", {"b": 1, "a": [2.5]}])}
        who, at = chance.choice(["service", "shop:acme:1f"]), chance.uniform(0, 2e9)
        match chance.randrange(7):
            case 0:
                with done_by(chance.choice(["main", "second"])):
                    tx.audit.add(who, "node_drained", at, detail=detail)
            case 1:
                tx.audit.add(who, "set_up_begun", at, trio_id=chance.choice("xy"), detail=detail)
            case 2:  # as an earlier version writes it, and chained later
                late = {"escrow_id": chance.choice(["a", "b", None]), "detail": detail, "actor": who}
                tx.connection.execute(insert(_a).values(at=at, action="late", **late))
                if chance.random() < 0.5:
                    adopt(tx, chance.choice([3e9, 4e9]))
            case _:
                tx.audit.add(who, "release", at, escrow_id=chance.choice("abc"), to_state="paying_out", detail=detail)
        if chance.random() < 0.5:
            tx.audit.write()
        if chance.random() < 0.1:
            make_checkpoint(tx, at)
    tx.audit.write()
    adopt(tx, 5e9)
    return [(row.chain, row.seq) for row in tx.connection.execute(select(_a.c.chain, _a.c.seq).order_by(_a.c.id))]


def write_as_before(tx: Transaction, count: int) -> None:
    """As the version before wrote them."""
    for number in range(count):
        values = {"escrow_id": f"e{number % 7}" if number % 5 else None, "at": float(number), "actor": "service"}
        tx.connection.execute(insert(_a).values(action="noted", detail={"n": number}, **values))
