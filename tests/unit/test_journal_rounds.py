"""The journal of a set-up's rounds, when the database does not take what was to be written."""

from __future__ import annotations

import pytest

from monero_escrow.core.roles import Role
from monero_escrow.escrows.journal import Rounds, Step
from monero_escrow.store.store import SqlStore
from monero_escrow.store.trail_tables import OK
from monero_escrow.store.transaction import Transaction
from unit.engines import on_both_engines
from unit.rows import escrow

pytestmark = on_both_engines

ON = {Role.BUYER: "buyer@127.0.0.1:1"}


def rounds_of(trio_id: str) -> Rounds:
    return Rounds("escrow", trio_id)


async def results(store: SqlStore) -> list[tuple[str, str | None]]:
    steps = await store.read(lambda tx: tx.journal.of("escrow"))
    return [(str(row["subject_id"]), row["result"]) for row in steps]


async def test_a_round_ends_with_the_transaction_that_begins_the_next(store: SqlStore) -> None:
    await store.write(lambda tx: tx.escrows.add(escrow()))
    rounds = rounds_of("mine")
    await store.write(lambda tx: rounds.intend(tx, Step.PREPARE, ON, 1.0))
    await store.write(lambda tx: rounds.intend(tx, Step.MAKE, ON, 2.0))
    assert await results(store) == [("mine", OK), ("mine", None)]
    await store.write(lambda tx: rounds.end(tx, "The process died.", 3.0))
    assert await results(store) == [("mine", OK), ("mine", "The process died.")]


async def test_a_step_that_was_never_written_down_ends_nobody_elses(store: SqlStore) -> None:
    await store.write(lambda tx: tx.escrows.add(escrow()))
    mine, theirs = rounds_of("mine"), rounds_of("theirs")

    def never_committed(tx: Transaction) -> None:
        mine.intend(tx, Step.PREPARE, ON, 1.0)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await store.write(never_committed)
    await store.write(lambda tx: theirs.intend(tx, Step.PREPARE, ON, 2.0))  # and gets the number that mine had
    await store.write(lambda tx: mine.end(tx, "disk full", 3.0))
    assert await results(store) == [("theirs", None)]
