"""The scan finds what was sent to whom, whoever made the transaction, and nothing else; it never raises."""

from __future__ import annotations

import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from monero_escrow.core.curve import IDENTITY_POINT, public_key, scalar_reduce
from monero_escrow.core.derivation import (
    amount_with,
    output_key,
    output_scalar,
    shared_point,
    varint,
    view_tag,
    without_small_order,
)
from monero_escrow.core.scan import (
    MOST_MAIN_KEYS,
    MOST_OUTPUTS,
    Hint,
    PublicOutput,
    PublicTransaction,
    Watcher,
    scan,
)

XMR = 10**12
ORDER_TWO = (2**255 - 20).to_bytes(32, "little")
NO_POINT = bytes([2]) + bytes(31)


def scalar(name: str) -> bytes:
    return scalar_reduce(Random(name).randbytes(32))


def watcher(name: str) -> Watcher:
    return Watcher(name, scalar(f"view key of {name}"), public_key(scalar(f"spend key of {name}")))


WATCHERS = [watcher(name) for name in ("ann", "bob", "cat")]
ANN = WATCHERS[0]


def output(shared: bytes, index: int, to: Watcher, amount: int = XMR, *, tagged: bool = True) -> PublicOutput:
    """What a sender makes who shares D with the receiver."""
    one = output_scalar(shared, index)
    encrypted = amount_with(one, amount.to_bytes(8, "little"))
    tag = view_tag(shared, index) if tagged else None
    return PublicOutput(output_key(one, to.public_spend_key), tag, encrypted_amount=encrypted)


def shared_with(secret: bytes, to: Watcher) -> bytes:
    return shared_point(secret, without_small_order(public_key(to.private_view_key)))


def somebody_elses(index: int) -> PublicOutput:
    return output(IDENTITY_POINT, index, watcher("a stranger"))


@given(st.lists(st.sampled_from([0, 1, 2, None]), min_size=1, max_size=6), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=40)
def test_each_output_is_found_for_whom_it_was_sent_to(receivers: list[int | None], tagged: bool, salt: int) -> None:
    secret = scalar(f"transaction {salt}")
    outputs = [
        somebody_elses(index)
        if to is None
        else output(shared_with(secret, WATCHERS[to]), index, WATCHERS[to], index + 1, tagged=tagged)
        for index, to in enumerate(receivers)
    ]
    hints = scan([PublicTransaction("txid", b"\x01" + public_key(secret), tuple(outputs))], WATCHERS)
    expected = {
        Hint(WATCHERS[to].escrow_id, "txid", index, index + 1) for index, to in enumerate(receivers) if to is not None
    }
    assert set(hints) == expected
    assert len(hints) == len(expected)


def test_every_public_key_of_a_transaction_is_tried_up_to_the_bound() -> None:
    secrets = [scalar(f"key {number}") for number in range(MOST_MAIN_KEYS + 1)]
    extra = b"".join(b"\x01" + public_key(secret) for secret in secrets)
    outputs = tuple(output(shared_with(secret, ANN), index, ANN) for index, secret in enumerate(secrets))
    found = scan([PublicTransaction("txid", extra, outputs)], WATCHERS)
    assert sorted(hint.output_index for hint in found) == list(range(MOST_MAIN_KEYS))


def test_an_additional_key_is_for_the_output_of_its_place_and_of_no_use_without_a_main_key() -> None:
    main, second = scalar("main"), scalar("second")
    keys = b"\x04" + varint(2) + public_key(scalar("first")) + public_key(second)
    outputs = (somebody_elses(0), output(shared_with(second, ANN), 1, ANN, 7))
    assert scan([PublicTransaction("txid", b"\x01" + public_key(main) + keys, outputs)], WATCHERS) == [
        Hint("ann", "txid", 1, 7)
    ]
    assert scan([PublicTransaction("txid", keys, outputs)], WATCHERS) == []
    moved = (outputs[1], outputs[0])
    assert scan([PublicTransaction("txid", b"\x01" + public_key(main) + keys, moved)], WATCHERS) == []


@pytest.mark.parametrize("key", [NO_POINT, IDENTITY_POINT, ORDER_TWO], ids=["no point", "identity", "order two"])
def test_a_payment_without_a_real_key_is_found_as_wallets_find_it(key: bytes) -> None:
    outputs = (somebody_elses(0), output(IDENTITY_POINT, 1, ANN, 5))
    assert scan([PublicTransaction("txid", b"\x01" + key, outputs)], WATCHERS) == [Hint("ann", "txid", 1, 5)]


def test_a_key_with_a_part_of_small_order_changes_nothing() -> None:
    secret = scalar("transaction")
    twisted = bindings.crypto_core_ed25519_add(public_key(secret), ORDER_TWO)
    outputs = (output(shared_with(secret, ANN), 0, ANN, 5),)
    assert scan([PublicTransaction("txid", b"\x01" + twisted, outputs)], WATCHERS) == [Hint("ann", "txid", 0, 5)]


def test_the_amount_of_a_reward_is_in_the_clear_and_one_that_cannot_be_read_is_said_to_be_unknown() -> None:
    secret = scalar("transaction")
    hidden = output(shared_with(secret, ANN), 0, ANN)
    reward = PublicOutput(hidden.key, hidden.view_tag, amount_piconero=XMR)
    unreadable = PublicOutput(hidden.key, hidden.view_tag, encrypted_amount=bytes(32))
    extra = b"\x01" + public_key(secret)
    for one, amount in ((reward, XMR), (unreadable, None)):
        assert scan([PublicTransaction("txid", extra, (one,))], WATCHERS) == [Hint("ann", "txid", 0, amount)]


def test_a_view_key_that_the_ladder_cannot_take_finds_its_coins_all_the_same() -> None:
    odd = Watcher("odd", (1).to_bytes(32, "little"), public_key(scalar("spend key")))
    assert odd.ladder_scalar is None
    secret = scalar("transaction")
    one = PublicTransaction("txid", b"\x01" + public_key(secret), (output(shared_with(secret, odd), 0, odd),))
    assert scan([one], [*WATCHERS, odd]) == [Hint("odd", "txid", 0, XMR)]


def test_without_watchers_or_outputs_nothing_is_found() -> None:
    extra = b"\x01" + public_key(scalar("transaction"))
    assert scan([PublicTransaction("txid", extra, (somebody_elses(0),))], []) == []
    assert scan([PublicTransaction("txid", extra, ())], WATCHERS) == []


_OUTPUTS = st.builds(
    PublicOutput,
    st.binary(max_size=40),
    st.none() | st.integers(0, 255),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=9),
)


@given(st.lists(_OUTPUTS, max_size=4), st.binary(max_size=120), st.booleans())
@settings(max_examples=60)
def test_whatever_stands_in_a_transaction_the_scan_goes_on(
    outputs: list[PublicOutput], extra: bytes, with_key: bool
) -> None:
    written = b"\x01" + extra if with_key else extra
    secret = scalar("transaction")
    honest = PublicTransaction("ours", b"\x01" + public_key(secret), (output(shared_with(secret, ANN), 0, ANN),))
    found = scan([PublicTransaction("theirs", written, tuple(outputs)), honest], WATCHERS)
    assert [hint for hint in found if hint.txid == "ours"] == [Hint("ann", "ours", 0, XMR)]


def test_thousands_of_keys_and_outputs_cost_no_more_than_the_bound() -> None:
    keys = [public_key(scalar(f"key {number}")) for number in range(200)]
    many = b"".join(b"\x01" + key for key in keys * 20) + b"\x04" + varint(4_000) + b"".join(keys * 20)
    outputs = tuple(somebody_elses(0) for _ in range(1)) * 4_000
    begun = time.process_time()
    assert scan([PublicTransaction("txid", many, outputs)], WATCHERS) == []
    worst = (
        (MOST_MAIN_KEYS + 1) * MOST_OUTPUTS * len(WATCHERS) * 2 * 100e-6
    )  # each pair of key and output, and then some
    assert time.process_time() - begun < worst + 1.0


def test_no_key_shows_in_a_repr() -> None:
    assert ANN.private_view_key.hex() not in repr(ANN)
    assert repr(ANN.private_view_key) not in repr(ANN)
    assert repr(ANN) == "Watcher(escrow_id='ann')"
