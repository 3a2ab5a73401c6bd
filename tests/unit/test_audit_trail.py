"""The audit trail's chains: written with the change or not at all, one after another, and by nobody else."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import select, update

from monero_escrow.store import audit_check, audit_verify, facts, schema
from monero_escrow.store.audit_adopt import UNCHAINED_UP_TO, adopt, chain_earlier_rows
from monero_escrow.store.audit_check import Problem
from monero_escrow.store.audit_checkpoints import make_checkpoint
from monero_escrow.store.audit_seal import Checkpoint
from monero_escrow.store.audit_table import WALLET_OPERATION, AuditHeadBrokenError
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.origin import asked_from, done_by
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import SQLCIPHER, TWICE, OpenStore, on_both_engines, on_postgresql
from unit.rows import add_funded, escrow
from unit.slots import VirtualClock
from unit.trails import verified, write_as_before

on_all = pytest.mark.parametrize("engine", [SQLCIPHER, "postgresql", TWICE], indirect=True)
_a = schema.audit


def chain(store: SqlStore, name: str) -> list[tuple[int, str]]:
    query = select(_a.c.seq, _a.c.action).where(_a.c.chain == name).order_by(_a.c.seq)
    return store.read_now(lambda tx: [(row.seq, row.action) for row in tx.connection.execute(query)])


@on_all
async def test_rows_go_into_the_chain_of_their_escrow_of_their_trio_or_of_the_node(store: SqlStore) -> None:
    def work(tx: Transaction) -> None:
        add_funded(tx)
        tx.audit.add("shop", "init_escrow", 1.0, escrow_id="escrow")
        tx.audit.add("service", "set_up_begun", 2.0, trio_id="stock")
        tx.audit.add("service", "key_created", 3.0)
        tx.audit.add("shop", "release", 4.0, escrow_id="escrow")

    with done_by("main"), asked_from("192.0.2.7"):
        await store.write(work)

    assert chain(store, "escrow") == [(1, "init_escrow"), (2, "release")]
    assert chain(store, "trio:stock") == [(1, "set_up_begun")]
    assert chain(store, "node:main") == [(1, "key_created")]
    assert {row.source for row in store.read_now(lambda tx: tx.audit.of("escrow"))} == {"192.0.2.7"}
    assert verified(store).troubles == []


@on_both_engines
async def test_what_is_undone_is_not_in_the_trail_and_what_follows_links_to_what_is(store: SqlStore) -> None:
    class RefusedError(Exception):
        pass

    def undone(tx: Transaction) -> None:
        tx.audit.add("shop", "never", 1.0, escrow_id="escrow")
        raise RefusedError

    def partly(tx: Transaction) -> None:
        tx.audit.add("shop", "before", 2.0, escrow_id="escrow")
        with suppress(RefusedError), tx.part():
            tx.audit.add("shop", "inside", 3.0, escrow_id="escrow")
            tx.audit.of("escrow")  # reading writes what waits
            tx.audit.add("shop", "inside too", 3.0, escrow_id="escrow")
            raise RefusedError
        with tx.part():
            tx.audit.add("shop", "kept", 4.0, escrow_id="escrow")

    await store.write(add_funded)
    works = [store.write(one) for one in (partly, undone, partly, undone)]  # on the file, in one group
    ended = await asyncio.gather(*works, return_exceptions=True)

    assert [type(one) for one in ended] == [type(None), RefusedError] * 2
    assert chain(store, "escrow") == [(1, "before"), (2, "kept"), (3, "before"), (4, "kept")]
    assert verified(store).troubles == []


@on_both_engines
async def test_many_who_write_to_one_chain_without_a_lock_on_its_escrow_all_get_a_place(open_store: OpenStore) -> None:
    stores, times = (open_store(), open_store()), 12
    await asyncio.gather(
        *(
            store.write(lambda tx: tx.audit.add("service", "noted", 1.0, escrow_id="one"))
            for _ in range(times)
            for store in stores
        )
    )

    assert [seq for seq, _ in chain(stores[0], "one")] == list(range(1, 2 * times + 1))
    assert [one.problem for one in verified(stores[0]).troubles] == []


@on_postgresql
async def test_one_escrow_waits_for_no_other_in_the_trail(open_store: OpenStore) -> None:
    """A transaction that has written its row and not committed keeps nobody else's row waiting."""
    slow, quick = open_store(), open_store()
    with slow._begin(writes=True) as connection:
        tx = Transaction(connection, slow._sealer)
        tx.audit.add("service", "slow", 1.0, escrow_id="one")
        tx.audit.write()
        await asyncio.wait_for(
            quick.write(lambda tx: tx.audit.add("service", "quick", 1.0, escrow_id="other")), timeout=5
        )
    assert verified(slow).rows == 2


@on_both_engines
async def test_the_history_that_shops_see_leaves_the_operations_on_wallets_out(store: SqlStore) -> None:
    def work(tx: Transaction) -> None:
        tx.audit.add("shop", "init_escrow", 1.0, escrow_id="escrow")
        tx.audit.add("service", "set_up_begun", 0.5, trio_id="trio")
        tx.audit.add("service", WALLET_OPERATION, 2.0, escrow_id="escrow", detail={"step": "gate"}, result="ok")

    await store.write(work)
    assert [row.action for row in store.read_now(lambda tx: tx.audit.of("escrow"))] == ["init_escrow"]
    story = store.read_now(lambda tx: tx.audit.story("escrow", "trio"))
    assert sorted(row.action for row in story) == ["init_escrow", "set_up_begun", WALLET_OPERATION]


# Rows that were there before the chains


@on_both_engines
async def test_rows_of_before_the_chains_are_chained_once_and_say_since_when(
    store: SqlStore, clock: VirtualClock
) -> None:
    await store.write(lambda tx: write_as_before(tx, 1_200))
    await store.write(lambda tx: facts.put_fact(tx.connection, UNCHAINED_UP_TO, 1_200))
    assert len(verified(store).troubles) == 1_000, "the first of them are named"

    await store.write(lambda tx: adopt(tx, 5.0, up_to=1_200))  # a start that was interrupted after some
    assert await chain_earlier_rows(store, clock) == 700
    assert await chain_earlier_rows(store, clock) == 0
    found = verified(store)

    assert found.troubles == []
    assert (found.rows, found.chained_later) == (1_201, 1_200)
    assert chain(store, "node:earlier")[-1][1] == "earlier_rows_chained"


@on_both_engines
@pytest.mark.parametrize("rows_of_before", [0, 3])
async def test_the_note_of_the_migration_is_obeyed_once_and_a_forged_one_seals_nothing(
    store: SqlStore, clock: VirtualClock, rows_of_before: int
) -> None:
    """It takes no key: a row in no chain, and a note that it was there before."""
    await store.write(lambda tx: write_as_before(tx, rows_of_before))
    if rows_of_before:
        await store.write(lambda tx: facts.put_fact(tx.connection, UNCHAINED_UP_TO, rows_of_before))
    assert await chain_earlier_rows(store, clock) == rows_of_before

    await store.write(lambda tx: write_as_before(tx, 1))
    await store.write(lambda tx: facts.put_fact(tx.connection, UNCHAINED_UP_TO, 999_999))
    assert await chain_earlier_rows(store, clock) == 0
    assert [one.problem for one in verified(store).troubles] == [Problem.UNCHAINED]


@on_both_engines
async def test_what_a_node_of_an_earlier_version_writes_meanwhile_is_named_until_a_person_adopts_it(
    store: SqlStore, clock: VirtualClock
) -> None:
    await store.write(lambda tx: tx.audit.add("shop", "init_escrow", 1.0, escrow_id="e1"))
    await chain_earlier_rows(store, clock)
    await store.write(lambda tx: write_as_before(tx, 3))
    await chain_earlier_rows(store, clock)

    found = verified(store)
    assert [(one.problem, one.chain) for one in found.troubles] == [
        (Problem.UNCHAINED, None),
        (Problem.UNCHAINED, "e1"),
        (Problem.UNCHAINED, "e2"),
    ]
    assert "id 3" in found.troubles[0].message

    await store.write(lambda tx: adopt(tx, 9.0))
    await store.write(lambda tx: tx.audit.add("shop", "release", 10.0, escrow_id="e1"))
    assert verified(store).troubles == []
    assert chain(store, "e1") == [(1, "init_escrow"), (2, "noted"), (3, "release")]


# An end that somebody changed


@on_both_engines
@pytest.mark.parametrize("tampering", ["changed", "removed"])
async def test_nothing_is_written_after_an_end_that_another_hand_changed_until_a_person_mends_it(
    store: SqlStore, tampering: str
) -> None:
    await store.write(add_funded)
    for _ in range(3):
        await store.write(lambda tx: tx.audit.add("shop", "done", 1.0, escrow_id="escrow"))
    heads = schema.audit_heads
    statement = update(heads).values(seq=2) if tampering == "changed" else heads.delete()
    await store.write(lambda tx: tx.connection.execute(statement) and None)

    def signs(tx: Transaction) -> None:
        tx.escrows.look_at_height("escrow", 77)
        tx.audit.add("service", "payout_to_be_signed", 2.0, escrow_id="escrow")

    with pytest.raises(AuditHeadBrokenError, match=r"audit trail of escrow escrow"):
        await store.write(signs)
    query = select(schema.escrows.c.due_height)
    assert store.read_now(lambda tx: tx.connection.scalar(query)) is None, "the change without its row never was"
    assert {one.problem for one in verified(store).troubles} == {Problem.HEAD}
    assert await store.write(lambda tx: make_checkpoint(tx, 3.0)) is None, "what is not ours is not signed"

    assert await store.write(lambda tx: tx.audit.mend("escrow", "operator:ann", 4.0, "escrow")) == 3
    await store.write(signs)
    assert [action for _, action in chain(store, "escrow")][-2:] == ["trail_mended", "payout_to_be_signed"]
    assert verified(store).troubles == []


@on_both_engines
async def test_verifying_one_escrow_can_be_stopped_between_checkpoints_and_keeps_no_other_chains_promises(
    store: SqlStore,
) -> None:
    def noted(tx: Transaction, *, escrow_id: str) -> None:
        tx.audit.add("shop", "one", 1.0, escrow_id=escrow_id)

    for number in range(3):
        await store.write(partial(noted, escrow_id=f"e{number}"))
        await store.write(lambda tx: make_checkpoint(tx, 2.0) and None)
    told: list[float] = []
    promised: list[str] = []

    def tell(_what: str, done: float) -> None:
        told.append(done)

    def promises_of(signed: list[Checkpoint]) -> Any:
        promised.extend(head[0] for one in signed for head in one.heads)
        return audit_check.promises_of(signed)

    with patch.object(audit_verify, "promises_of", promises_of):
        assert store.read_now(lambda tx: verify(tx, tell, escrow_id="e1")).troubles == []
    assert told[:3] == [0.0, 0.0, 0.0]
    assert promised == ["e1"]


@on_both_engines
async def test_one_escrow_alone_is_verified_and_one_without_any_row_is_named(store: SqlStore) -> None:
    await store.write(add_funded)
    await store.write(lambda tx: tx.escrows.add(escrow("other")))
    await store.write(lambda tx: tx.audit.add("shop", "init_escrow", 1.0, escrow_id="escrow"))
    await store.write(lambda tx: make_checkpoint(tx, 2.0) and None)

    assert verified(store, escrow_id="escrow").rows == 1
    assert verified(store, escrow_id="escrow").troubles == []
    assert [one.message for one in verified(store).troubles] == ["escrow other: it has no audit trail at all."]
