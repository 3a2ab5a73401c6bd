"""The keys in a transaction's `extra`, of which strangers write every byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monero_escrow.core.derivation import varint
from monero_escrow.core.tx_extra import TransactionKeys, transaction_keys

ONE, TWO, THREE = bytes([1] * 32), bytes([2] * 32), bytes([3] * 32)


def key(value: bytes) -> bytes:
    return b"\x01" + value


def nonce(content: bytes) -> bytes:
    return b"\x02" + varint(len(content)) + content


def additional(*values: bytes) -> bytes:
    return b"\x04" + varint(len(values)) + b"".join(values)


def merge_mining(content: bytes) -> bytes:
    return b"\x03" + varint(len(content)) + content


@pytest.mark.parametrize(
    ("extra", "main", "more"),
    [
        (b"", (), ()),
        (key(ONE), (ONE,), ()),
        (key(ONE) + nonce(b"\x01" + bytes(8)), (ONE,), ()),
        (nonce(b"") + key(ONE), (ONE,), ()),
        (nonce(bytes(255)) + key(ONE), (ONE,), ()),
        (merge_mining(b"\x00" + bytes(32)) + key(ONE), (ONE,), ()),
        (b"\xde" + varint(3) + b"abc" + key(ONE), (ONE,), ()),
        (key(ONE) + key(TWO), (ONE, TWO), ()),
        (key(ONE) + additional(TWO, THREE), (ONE,), (TWO, THREE)),
        (additional(TWO) + key(ONE), (ONE,), (TWO,)),
        (key(ONE) + additional() + additional(TWO), (ONE,), ()),
        (key(ONE) + additional(TWO) + additional(THREE), (ONE,), (TWO,)),
        (key(ONE) + bytes(20), (ONE,), ()),
    ],
    ids=range(13),
)
def test_every_field_that_monero_writes_is_read(extra: bytes, main: tuple[bytes, ...], more: tuple[bytes, ...]) -> None:
    assert transaction_keys(extra) == TransactionKeys(main, more)


@pytest.mark.parametrize(
    "tail",
    [
        key(TWO)[:-1],
        nonce(bytes(256)) + key(TWO),
        b"\x02\x7fabc" + key(TWO),
        b"\x02\x80\x00" + key(TWO),
        b"\x04" + varint(2**60) + TWO,
        b"\x04" + varint(2) + TWO + THREE[:-1],
        b"\x04" + b"\xff" * 9 + b"\x7f",
        b"\x04" + b"\xff" * 20,
        b"\x70" + key(TWO),
        b"\x00" + key(TWO),
    ],
    ids=[
        "half a key",
        "a nonce that is too long",
        "a length that is a lie",
        "a length not in its shortest form",
        "a count beyond all bytes",
        "half a list of keys",
        "a number beyond 64 bits",
        "a number without an end",
        "a tag nobody knows",
        "padding that is not the end",
    ],
)
def test_what_was_read_before_nonsense_counts_and_nothing_behind_it(tail: bytes) -> None:
    assert transaction_keys(key(ONE) + tail) == TransactionKeys((ONE,), ())


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise_or_find_more_than_there_is(extra: bytes) -> None:
    found = transaction_keys(extra)
    assert 32 * (len(found.main) + len(found.additional)) <= len(extra)
    assert all(len(one) == 32 for one in (*found.main, *found.additional))


_FIELDS = st.one_of(
    st.binary(min_size=32, max_size=32).map(key),
    st.binary(max_size=255).map(nonce),
    st.binary(max_size=64).map(merge_mining),
    st.lists(st.binary(min_size=32, max_size=32), max_size=5).map(lambda keys: additional(*keys)),
)


@given(st.lists(_FIELDS, max_size=8), st.binary(max_size=40))
def test_whole_fields_are_read_whatever_follows_them(fields: list[bytes], tail: bytes) -> None:
    whole, followed = transaction_keys(b"".join(fields)), transaction_keys(b"".join(fields) + tail)
    assert followed.main[: len(whole.main)] == whole.main
    assert [one[1:] for one in fields if one[0] == 1] == list(whole.main)
