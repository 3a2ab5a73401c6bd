"""The rulings so far, as they are read back on both engines."""

from __future__ import annotations

from dataclasses import replace

from monero_escrow.core.payout import PayoutKind
from monero_escrow.store.records import PayoutState
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import on_both_engines
from unit.rows import add_funded, decide, plan

pytestmark = on_both_engines


async def test_rulings_are_listed_newest_first_each_once_without_those_called_off(store: SqlStore) -> None:
    def rule(tx: Transaction) -> None:
        for number, escrow_id in enumerate(("first", "second", "third", "given up", "refunded")):
            add_funded(tx, escrow_id)
            decided = plan(f"coin of {escrow_id}")
            if escrow_id == "refunded":
                decide(tx, escrow_id, escrow_id, decided)
                continue
            for part in (1, 2):  # a ruling over very many outputs is several payouts
                anchor = replace(decided.outputs[0], public_key=f"{escrow_id}/{part}")
                tx.payouts.add(
                    f"{escrow_id}/{part}", escrow_id, part, replace(decided, kind=PayoutKind.RULING, outputs=(anchor,)),
                    decided_by="arbiter:ann:1", reason="6000/4000 of 10,000", now=100.0 + number,
                )  # fmt: skip
            if escrow_id == "given up":
                for payout in tx.payouts.of(escrow_id):
                    tx.payouts.move(payout, PayoutState.HELD)
                    tx.payouts.call_off(tx.payouts.get(payout.id), 200.0)

    await store.write(rule)
    found = await store.read(lambda tx: tx.payouts.rulings(2))
    assert [(ruling.escrow_id, ruling.decided_at) for ruling in found] == [("third", 102.0), ("second", 101.0)]
    assert (found[0].decided_by, found[0].reason) == ("arbiter:ann:1", "6000/4000 of 10,000")
    assert found[0].order_id
    assert len(await store.read(lambda tx: tx.payouts.rulings(20))) == 3
