"""Sealed values open with their key, in their row, for their purpose, unchanged; and in no other way."""

from __future__ import annotations

import pytest

from monero_escrow.store.sealing import SealBrokenError, Sealer, derive_key

SECRET = "a seed nobody may read: ünïcödé too"
SEALER = Sealer(derive_key(bytes(range(32)), "sealing"))


def test_what_was_sealed_opens_again() -> None:
    assert SEALER.open("password", "row 1", SEALER.seal("password", "row 1", SECRET)) == SECRET
    assert SEALER.open("password", "row 1", SEALER.seal("password", "row 1", "")) == ""


@pytest.mark.parametrize(
    ("purpose", "row"),
    [("password", "row 2"), ("spend key", "row 1"), ("password", ""), ("", "row 1"), ("password|row", "1")],
)
def test_a_sealed_value_moved_to_another_row_or_purpose_does_not_open(purpose: str, row: str) -> None:
    sealed = SEALER.seal("password", "row 1", SECRET)

    with pytest.raises(SealBrokenError, match="changed or belongs to another row"):
        SEALER.open(purpose, row, sealed)


def test_no_byte_of_a_sealed_value_can_be_changed() -> None:
    sealed = SEALER.seal("password", "row 1", SECRET)

    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(SealBrokenError):
            SEALER.open("password", "row 1", bytes(changed))


def test_a_sealed_value_that_was_cut_short_or_lengthened_does_not_open() -> None:
    sealed = SEALER.seal("password", "row 1", SECRET)

    for length in range(len(sealed)):
        with pytest.raises(SealBrokenError):
            SEALER.open("password", "row 1", sealed[:length])
    with pytest.raises(SealBrokenError):
        SEALER.open("password", "row 1", sealed + b"\0")


def test_another_key_does_not_open_it_and_the_error_names_both_keys_and_shows_neither() -> None:
    other = Sealer(derive_key(bytes(32), "sealing"))
    sealed = SEALER.seal("password", "row 1", SECRET)

    with pytest.raises(SealBrokenError) as caught:
        other.open("password", "row 1", sealed)

    assert SEALER.key_id in caught.value.message
    assert other.key_id in caught.value.message
    for sealer in (SEALER, other):
        assert sealer.key.hex() not in caught.value.message
        assert sealer.key_id not in sealer.key.hex()


def test_the_same_secret_never_looks_the_same_twice_and_never_like_itself() -> None:
    sealed = [SEALER.seal("password", "row 1", SECRET) for _ in range(50)]

    assert len(set(sealed)) == 50
    assert len({value[4:16] for value in sealed}) == 50, "a nonce served twice"
    assert not any(SECRET.encode()[:8] in value for value in sealed)


def test_each_purpose_has_a_key_of_its_own_and_none_is_the_master_key() -> None:
    master = bytes(range(32))
    keys = {derive_key(master, "database"), derive_key(master, "sealing"), derive_key(bytes(32), "sealing"), master}

    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)
    assert derive_key(master, "database") == derive_key(master, "database")


def test_a_sealer_shows_no_key() -> None:
    assert SEALER.key.hex() not in repr(SEALER)
    assert repr(SEALER.key) not in repr(SEALER)
