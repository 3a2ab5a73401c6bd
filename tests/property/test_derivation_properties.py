"""D by the ladder is D the plain way; and what a key of no use, or of a stranger's making, comes to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from monero_escrow.core.curve import GROUP_ORDER, IDENTITY_POINT, public_key
from monero_escrow.core.derivation import (
    amount_with,
    both_signs,
    ladder_coordinate,
    ladder_scalar,
    output_key,
    output_scalar,
    shared_point,
    shared_y,
    spend_key_of,
    view_tag,
    without_small_order,
)

P = 2**255 - 19
SCALARS = st.integers(min_value=1, max_value=GROUP_ORDER - 1).map(lambda number: number.to_bytes(32, "little"))
ORDINARY = st.integers(2**126, GROUP_ORDER - 2**126).map(lambda number: number.to_bytes(32, "little"))
"""All but one private key in 2^126."""

# The eight points whose order divides 8, as Monero writes them.
ORDER_TWO = (P - 1).to_bytes(32, "little")
ORDER_FOUR = (bytes(32), bytes(31) + b"\x80")
ORDER_EIGHT = tuple(
    bytes.fromhex(text)
    for text in (
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
)
SMALL_ORDER = (IDENTITY_POINT, ORDER_TWO, *ORDER_FOUR, *ORDER_EIGHT)

NO_POINT = (
    bytes([2]) + bytes(31),  # on the twist
    b"\xff" * 32,
    P.to_bytes(32, "little"),  # zero, not in its shortest form
    (P + 1).to_bytes(32, "little"),  # the identity, not in its shortest form
    bytes([1]) + bytes(30) + b"\x80",  # the identity with minus zero
    ORDER_TWO[:-1] + bytes([ORDER_TWO[-1] | 0x80]),
    b"",
    bytes(31),
    bytes(33),
)


@given(ORDINARY, SCALARS, st.sampled_from(SMALL_ORDER))
def test_the_ladder_comes_to_the_plain_point_but_for_its_sign(private: bytes, other: bytes, twist: bytes) -> None:
    """Also for a key with a part of small order, which both must drop."""
    key = bindings.crypto_core_ed25519_add(public_key(other), twist)
    plain = shared_point(private, without_small_order(key))
    scalar = ladder_scalar(private)
    assert scalar is not None
    (y,) = shared_y([scalar], ladder_coordinate(key))
    assert plain in both_signs(y)


@given(st.lists(SCALARS, min_size=1, max_size=20), SCALARS)
@settings(max_examples=30)
def test_many_at_once_come_to_the_same_as_one_by_one(privates: list[bytes], other: bytes) -> None:
    coordinate = ladder_coordinate(public_key(other))
    scalars = [scalar for scalar in map(ladder_scalar, privates) if scalar is not None]
    assert shared_y(scalars, coordinate) == [shared_y([scalar], coordinate)[0] for scalar in scalars]


@given(ORDINARY)
def test_the_ladders_number_is_one_that_x25519_takes_as_it_is(private: bytes) -> None:
    scalar = ladder_scalar(private)
    assert scalar is not None
    number = int.from_bytes(scalar, "little")
    assert number % 8 == 0
    assert number >> 254 == 1
    assert number // 8 % GROUP_ORDER in (
        int.from_bytes(private, "little"),
        -int.from_bytes(private, "little") % GROUP_ORDER,
    )


def test_a_key_that_the_ladder_cannot_take_is_told() -> None:
    assert ladder_scalar((1).to_bytes(32, "little")) is None
    assert ladder_scalar((GROUP_ORDER - 1).to_bytes(32, "little")) is None


@given(SCALARS, SCALARS, SCALARS, st.integers(0, 2**64 - 1), st.integers(0, 300))
def test_what_the_sender_makes_the_receiver_finds(
    transaction: bytes, view: bytes, spend: bytes, amount: int, index: int
) -> None:
    sent = shared_point(transaction, without_small_order(public_key(view)))
    received = shared_point(view, without_small_order(public_key(transaction)))
    assert sent == received
    assert view_tag(sent, index) == view_tag(received, index)
    scalar = output_scalar(sent, index)
    assert spend_key_of(scalar, output_key(scalar, public_key(spend))) == public_key(spend)
    encrypted = amount_with(scalar, amount.to_bytes(8, "little"))
    assert int.from_bytes(amount_with(output_scalar(received, index), encrypted), "little") == amount


@pytest.mark.parametrize("key", SMALL_ORDER, ids=bytes.hex)
def test_of_a_point_of_small_order_nothing_is_left(key: bytes) -> None:
    assert without_small_order(key) == IDENTITY_POINT


@pytest.mark.parametrize("key", NO_POINT, ids=bytes.hex)
def test_what_is_no_point_is_taken_for_the_identity_as_wallets_do(key: bytes) -> None:
    assert without_small_order(key) == IDENTITY_POINT


@given(st.binary(min_size=32, max_size=32))
def test_no_bytes_make_it_raise(key: bytes) -> None:
    eightfold = without_small_order(key)
    assert bindings.crypto_core_ed25519_is_valid_point(eightfold) or eightfold == IDENTITY_POINT
    if eightfold != IDENTITY_POINT:
        assert len(ladder_coordinate(key)) == 32
