"""The store on each of its engines: all or nothing, nothing lost, and what the database itself keeps true."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from monero_escrow.core.address import InvalidAddressError
from monero_escrow.core.errors import ConflictError, InvariantError, NotFoundError
from monero_escrow.core.key_exchange import KeyExchange, Round
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.store import schema
from monero_escrow.store.records import PayoutState, Scope
from monero_escrow.store.sealing import SealBrokenError
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import OpenStore, on_both_engines
from unit.rows import (
    NETWORK,
    add_funded,
    address,
    decide,
    escrow,
    hex64,
    message,
    output,
    participants,
    plan,
)

pytestmark = on_both_engines

# Transactions


async def test_a_write_that_fails_leaves_nothing_behind(store: SqlStore) -> None:
    def fails_at_the_end(tx: Transaction) -> None:
        add_funded(tx)
        tx.audit.add("shop", "something", 100.0, escrow_id="escrow")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.write(fails_at_the_end)

    assert await store.read(lambda tx: tx.escrows.counts()) == {}
    assert await store.read(lambda tx: tx.audit.of("escrow")) == []
    await store.write(add_funded)


async def test_what_is_told_after_a_commit_is_told_only_when_it_is_durable_and_never_of_what_failed(
    store: SqlStore,
) -> None:
    told: list[str] = []

    def succeeds(tx: Transaction) -> None:
        tx.after_commit(lambda: told.append("added"))
        add_funded(tx)
        assert told == []

    def fails(tx: Transaction) -> None:
        tx.after_commit(lambda: told.append("added again"))
        add_funded(tx)

    await store.write(succeeds)
    with pytest.raises(IntegrityError):
        await store.write(fails)

    assert told == ["added"]


async def test_a_cancelled_write_has_happened_or_not_by_the_time_its_caller_goes_on(store: SqlStore) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        begun.set()
        assert go_on.wait(10)
        add_funded(tx)

    caller = asyncio.create_task(store.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await store.read(lambda tx: tx.escrows.counts()) == {State.SETTING_UP: 1}


async def test_writes_of_many_at_once_lose_nothing(store: SqlStore) -> None:
    await asyncio.gather(
        *(store.write(lambda tx, n=n: tx.escrows.add(escrow(f"escrow {n}"))) for n in range(40))  # type: ignore[misc]
    )

    assert await store.read(lambda tx: tx.escrows.counts()) == {State.SETTING_UP: 40}


async def test_two_programs_that_change_what_they_read_wait_for_each_other(
    store: SqlStore, open_store: OpenStore
) -> None:
    """Two nodes, or the command line beside the service: neither writes over what the other one wrote."""
    beside = open_store()
    await store.write(add_funded)

    def one_more(tx: Transaction) -> int:
        before = tx.escrows.get("escrow")
        tx.escrows.looked_at(before, before.due_at, failures=before.failures + 1)
        return before.failures

    counts = await asyncio.gather(*(either.write(one_more) for _ in range(20) for either in (store, beside)))

    assert sorted(counts) == list(range(40))


async def test_a_reader_sees_all_of_a_write_or_nothing_while_it_goes_on(store: SqlStore) -> None:
    halfway, go_on = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        tx.escrows.add(escrow())
        halfway.set()
        assert go_on.wait(10)
        tx.outputs.add(output())

    writing = asyncio.create_task(store.write(slow))
    await asyncio.to_thread(halfway.wait, 10)
    assert await store.read(lambda tx: (tx.escrows.counts(), tx.outputs.of("escrow"))) == ({}, [])
    go_on.set()
    await writing

    assert await store.read(lambda tx: len(tx.outputs.of("escrow"))) == 1


async def test_an_error_of_the_database_shows_none_of_the_values(store: SqlStore) -> None:
    await store.write(add_funded)

    def an_address_twice(tx: Transaction) -> None:
        tx.escrows.add(escrow("another"))
        for name in ("escrow", "another"):
            tx.escrows.change(name, expected=State.SETTING_UP, now=101.0, deposit_address=address("deposit"))

    def no_amount(tx: Transaction) -> None:
        tx.connection.execute(update(schema.escrows).values(amount_piconero=0))

    for work in (add_funded, an_address_twice, no_amount):
        with pytest.raises(IntegrityError) as caught:
            await store.write(work)
        shown = "".join(traceback.format_exception(caught.value))
        for value in (address("buyer"), address("deposit"), "order of escrow"):
            assert value not in shown


# What the database keeps true


async def refused(store: SqlStore, work: Callable[[Transaction], object], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=f"(?i){constraint}"):
        await store.write(work)


async def test_an_order_has_one_escrow_and_another_shop_may_use_the_same_order_id(store: SqlStore) -> None:
    await store.write(lambda tx: tx.escrows.add(escrow("one", order_id="order")))

    await refused(store, lambda tx: tx.escrows.add(escrow("two", order_id="order")), "UNIQUE")
    await store.write(lambda tx: tx.escrows.add(escrow("two", order_id="order", shop_id="another shop")))
    for shop, found in (("shop", "one"), ("another shop", "two")):
        of_order = await store.read(lambda tx, shop=shop: tx.escrows.of_order(shop, "order"))  # type: ignore[misc]
        assert of_order.id == found
    assert await store.read(lambda tx: tx.escrows.of_order("shop", "unknown")) is None


async def test_an_address_belongs_to_one_order_and_to_one_trio(store: SqlStore) -> None:
    def two_escrows(tx: Transaction) -> None:
        for name in ("one", "two"):
            tx.escrows.add(escrow(name))
            tx.trios.add(name, name, 0, 100.0)
        tx.escrows.change("one", expected=State.SETTING_UP, now=101.0, deposit_address=address("deposit"))
        tx.trios.finish("one", address("deposit"), hex64("view key"), NETWORK, 101.0)

    await store.write(two_escrows)

    again = {"expected": State.SETTING_UP, "now": 101.0, "deposit_address": address("deposit")}
    await refused(store, lambda tx: tx.escrows.change("two", **again), "UNIQUE")  # type: ignore[arg-type]
    await refused(store, lambda tx: tx.trios.finish("two", address("deposit"), "", NETWORK, 101.0), "UNIQUE")


async def test_an_anchor_belongs_to_one_payout(store: SqlStore) -> None:
    await store.write(add_funded)
    await store.write(lambda tx: decide(tx, "one", "escrow", plan("coin of escrow")))

    await refused(store, lambda tx: decide(tx, "two", "escrow", plan("coin of escrow", "x"), 2), "anchor_public_key")
    await refused(store, lambda tx: decide(tx, "two", "escrow", plan("x"), 1), "UNIQUE")


async def test_an_output_belongs_to_one_decision(store: SqlStore) -> None:
    def two_coins(tx: Transaction) -> None:
        tx.escrows.add(escrow())
        for name in ("a", "b"):
            tx.outputs.add(output(name))
        decide(tx, "one", "escrow", plan("a"), 1)
        decide(tx, "two", "escrow", plan("b"), 2)
        tx.outputs.give_to_payout("escrow", [hex64("a")], "one")

    await store.write(two_coins)

    for wanted in ([hex64("a"), hex64("b")], [hex64("a")], [hex64("unknown")]):
        with pytest.raises(ConflictError):
            await store.write(lambda tx, wanted=wanted: tx.outputs.give_to_payout("escrow", wanted, "two"))  # type: ignore[misc]
    given = await store.read(lambda tx: {coin.public_key: coin.payout_id for coin in tx.outputs.of("escrow")})
    assert given == {hex64("a"): "one", hex64("b"): None}


async def test_an_output_that_a_decision_names_is_never_forgotten(store: SqlStore) -> None:
    def decided(tx: Transaction) -> None:
        add_funded(tx)
        decide(tx, "payout", "escrow", plan("coin of escrow"))
        tx.outputs.give_to_payout("escrow", [hex64("coin of escrow")], "payout")
        tx.outputs.add(output("another"))
        tx.outputs.forget("escrow", hex64("coin of escrow"))
        tx.outputs.forget("escrow", hex64("another"))

    await store.write(decided)

    assert [coin.payout_id for coin in await store.read(lambda tx: tx.outputs.of("escrow"))] == ["payout"]


async def test_a_key_image_belongs_to_one_output(store: SqlStore) -> None:
    await store.write(add_funded)
    await store.write(lambda tx: tx.outputs.add(output("a", key_image=hex64("image"))))

    await refused(store, lambda tx: tx.outputs.add(output("b", key_image=hex64("image"))), "key_image")


@pytest.mark.parametrize("unlock_time", [2**63 - 1, 2**63, 2**64 - 1])
async def test_a_coin_with_any_unlock_time_a_sender_can_choose_is_recorded(store: SqlStore, unlock_time: int) -> None:
    """A number that the column cannot hold would stop every look at this escrow: a stranger could send one."""
    await store.write(add_funded)
    await store.write(lambda tx: tx.outputs.add(output("locked", unlock_time=unlock_time)))

    coins = await store.read(lambda tx: tx.outputs.of("escrow"))
    assert {coin.unlock_time for coin in coins} == {0, 2**63 - 1}


@pytest.mark.parametrize("amount", [0, -1])
async def test_an_escrow_over_nothing_is_refused(store: SqlStore, amount: int) -> None:
    await store.write(lambda tx: tx.escrows.add(escrow()))

    await refused(
        store,
        lambda tx: tx.connection.execute(update(schema.escrows).values(amount_piconero=amount)),
        "ck_escrows_amount",
    )


async def test_what_belongs_to_an_escrow_cannot_be_written_without_it(store: SqlStore) -> None:
    await refused(store, lambda tx: tx.outputs.add(output()), "FOREIGN KEY")
    await refused(store, lambda tx: decide(tx, "payout", "escrow", plan()), "FOREIGN KEY")
    await refused(store, lambda tx: tx.trios.add_hosted(participants("unknown"), 100.0), "FOREIGN KEY")


async def test_an_escrow_that_moved_meanwhile_is_not_moved_again(store: SqlStore) -> None:
    await store.write(add_funded)

    with pytest.raises(InvariantError):
        await store.write(lambda tx: tx.escrows.change("escrow", expected=State.FUNDED, now=1.0, state=State.SETTLED))
    assert (await store.read(lambda tx: tx.escrows.get("escrow"))).state is State.SETTING_UP


# Trios


async def test_a_trio_comes_back_with_keys_messages_and_address(store: SqlStore) -> None:
    def make(tx: Transaction) -> None:
        tx.trios.add("trio", None, 7, 100.0)
        tx.trios.add_hosted(participants("trio"), 100.0)
        for made in (Round.PREPARE, Round.MAKE, Round.EXCHANGE):
            tx.trios.add_messages("trio", made, {role: message(role, made) for role in ROLES}, 100.0)
        tx.trios.finish("trio", address("deposit"), hex64("view key"), NETWORK, 101.0)

    await store.write(make)

    trio = await store.read(lambda tx: tx.trios.get("trio"))
    assert trio.participants == {wallet.role: wallet for wallet in participants("trio")}
    messages = {(Round(number), role): message(role, number) for role in ROLES for number in (1, 2, 3)}
    assert trio.exchange == KeyExchange(messages, dict.fromkeys(ROLES, address("deposit")))
    assert await store.read(lambda tx: tx.trios.view_key("trio")) == hex64("view key")
    for ours in (address("deposit"), participants("trio")[0].primary_address):
        assert await store.read(lambda tx, ours=ours: tx.trios.knows_wallet(ours))  # type: ignore[misc]
    assert not await store.read(lambda tx: tx.trios.knows_wallet(address("buyer")))


async def test_the_store_refuses_an_address_that_does_not_decode_and_keeps_the_trio_as_it_was(store: SqlStore) -> None:
    """The third of the three places; the first of these is the original's, made of the identity point."""
    original = "9sCrDesy9LK11111111111111111111111111111111118YcC9Gacso6vvEkES46JsBqWdhFAZxqAPkzB6E89FYP8h4p53e"
    await store.write(lambda tx: tx.trios.add("trio", None, 0, 100.0))

    for bad in (original, "", address("deposit")[:-1]):
        with pytest.raises(InvalidAddressError):
            await store.write(lambda tx, bad=bad: tx.trios.finish("trio", bad, "", NETWORK, 1.0))  # type: ignore[misc]

    assert (await store.read(lambda tx: tx.trios.get("trio"))).address is None
    with pytest.raises(NotFoundError):
        await store.read(lambda tx: tx.trios.view_key("trio"))


async def test_a_message_copied_into_another_row_does_not_open(store: SqlStore) -> None:
    def swapped(tx: Transaction) -> None:
        tx.trios.add("trio", None, 0, 100.0)
        tx.trios.add_messages("trio", Round.PREPARE, {role: message(role, 1) for role in ROLES}, 100.0)
        for role, becomes in ((Role.BUYER, "x"), (Role.VENDOR, Role.BUYER), ("x", Role.VENDOR)):
            rows = update(schema.messages).where(schema.messages.c.role == role)
            tx.connection.execute(rows.values(role=becomes))

    await store.write(swapped)

    with pytest.raises(SealBrokenError):
        await store.read(lambda tx: tx.trios.get("trio"))


async def test_a_finished_trio_is_not_abandoned_with_the_unfinished_ones(store: SqlStore) -> None:
    def make(tx: Transaction) -> None:
        for name in ("finished", "unfinished"):
            tx.trios.add(name, "escrow", 0, 100.0)
        tx.trios.finish("finished", address("deposit"), "", NETWORK, 101.0)
        tx.trios.abandon_unfinished("escrow", "begun anew", 102.0)

    await store.write(make)

    states = [(await store.read(lambda tx, n=n: tx.trios.get(n))).state for n in ("finished", "unfinished")]  # type: ignore[misc]
    assert states == ["ready", "abandoned"]


# Payouts


async def test_a_plan_and_every_signed_blob_come_back_exactly(store: SqlStore) -> None:
    def pay(tx: Transaction) -> None:
        add_funded(tx)
        decide(tx, "payout", "escrow", plan("coin of escrow", "large"))
        for turn in ("first", "second"):
            number = tx.payouts.add_proposal("payout", f"txset {turn}", 1_000, 102.0)
            tx.payouts.keep_signed("payout", number, f"blob {turn}", hex64(turn), 103.0)
        tx.payouts.move(tx.payouts.get("payout"), PayoutState.SIGNED, txid=hex64("second"))

    await store.write(pay)

    (payout,) = await store.read(lambda tx: tx.payouts.of("escrow"))
    assert payout.plan == plan("coin of escrow", "large")
    assert (payout.state, payout.txid) == (PayoutState.SIGNED, hex64("second"))
    assert await store.read(lambda tx: [tx.payouts.signed("payout", hex64(t)) for t in ("first", "second")]) == [
        "blob first",
        "blob second",
    ]
    assert await store.read(lambda tx: tx.payouts.raw("payout")) is None
    with pytest.raises(NotFoundError):
        await store.read(lambda tx: tx.payouts.signed("payout", hex64("unknown")))


# Keys


async def test_a_key_opens_until_it_expires_or_is_revoked_and_is_stored_nowhere(store: SqlStore) -> None:
    record, key = await store.write(lambda tx: tx.keys.create(Scope.SHOP, "acme", "till", 100.0, expires_at=200.0))

    assert await store.read(lambda tx: tx.keys.find(key, 199.9)) == record
    assert await store.read(lambda tx: tx.keys.find(key, 200.0)) is None
    for wrong in (key[:-1], key + "x", "", record.id, key.replace("shop", "operator")):
        assert await store.read(lambda tx, wrong=wrong: tx.keys.find(wrong, 150.0)) is None  # type: ignore[misc]
    assert key not in repr(await store.read(lambda tx: tx.connection.execute(schema.api_keys.select()).all()))
    await store.write(lambda tx: tx.keys.revoke(record.id, 150.0))
    assert await store.read(lambda tx: tx.keys.find(key, 151.0)) is None
    for unknown in (record.id, "unknown"):
        with pytest.raises(NotFoundError):
            await store.write(lambda tx, unknown=unknown: tx.keys.revoke(unknown, 152.0))  # type: ignore[misc]


async def test_a_shops_key_names_its_shop(store: SqlStore) -> None:
    await refused(store, lambda tx: tx.keys.create(Scope.SHOP, None, "till", 100.0), "ck_api_keys_shop")
    arbiter, _ = await store.write(lambda tx: tx.keys.create(Scope.ARBITER, None, "judge", 100.0))
    assert arbiter.actor == f"arbiter:judge:{arbiter.id}"


async def test_the_same_idempotency_key_of_a_caller_is_recorded_once(store: SqlStore) -> None:
    await store.write(lambda tx: tx.idempotency.add("shop", "key", "print", {"answer": 1}, 100.0))

    await refused(store, lambda tx: tx.idempotency.add("shop", "key", "other", {}, 101.0), "UNIQUE")
    await store.write(lambda tx: tx.idempotency.add("another shop", "key", "other", {}, 101.0))
    assert await store.read(lambda tx: tx.idempotency.find("shop", "key")) == ("print", {"answer": 1})
