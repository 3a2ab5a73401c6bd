"""A hosted wallet's keys, checked against the oracle's seed derivation; and the curve functions below them."""

from __future__ import annotations

import dataclasses

import pytest
from monero import const
from monero.seed import Seed
from nacl import bindings

from monero_escrow.core.address import Network, parse_address
from monero_escrow.core.curve import (
    GROUP_ORDER,
    IDENTITY_POINT,
    is_prime_order_point,
    is_private_key,
    keccak256,
    public_key,
    scalar_reduce,
)
from monero_escrow.core.keys import WalletKeys

ENTROPY = bytes(range(200, 232))  # larger than the group order, so that reducing it matters
BASE_POINT = bytes.fromhex("58" + "66" * 31)


def scalar(number: int) -> bytes:
    """The 32 bytes of a number, little-endian."""
    return number.to_bytes(32, "little")


def test_the_same_entropy_as_a_seed_gives_the_same_wallet() -> None:
    seed = Seed(ENTROPY.hex())

    keys = WalletKeys.from_entropy(ENTROPY, Network.STAGENET)

    assert keys.private_spend_key_hex == seed.secret_spend_key() != ENTROPY.hex()
    assert keys.private_view_key_hex == seed.secret_view_key()
    assert keys.public_spend_key.hex() == seed.public_spend_key()
    assert keys.public_view_key.hex() == seed.public_view_key()
    assert keys.address == str(seed.public_address(const.NET_STAGE))


def test_the_25_words_of_the_private_spend_key_give_the_same_wallet() -> None:
    keys = WalletKeys.from_entropy(ENTROPY, Network.MAINNET)

    words = Seed(keys.private_spend_key_hex).phrase

    assert len(words.split()) == 25
    assert str(Seed(words).public_address(const.NET_MAIN)) == keys.address


def test_a_stored_private_spend_key_gives_its_wallet_again() -> None:
    keys = WalletKeys.from_entropy(ENTROPY, Network.TESTNET)

    assert WalletKeys.from_entropy(keys.private_spend_key, Network.TESTNET) == keys
    assert WalletKeys(keys.private_spend_key, Network.TESTNET) == keys


@pytest.mark.parametrize("network", Network)
def test_the_address_is_a_sound_one_of_the_wallets_network(network: Network) -> None:
    keys = WalletKeys.from_entropy(ENTROPY, network)

    address = parse_address(keys.address, network)

    assert (address.public_spend_key, address.public_view_key) == (keys.public_spend_key, keys.public_view_key)


@pytest.mark.parametrize("multiple", [0, 1, 2, 15])
def test_entropy_that_reduces_to_zero_is_refused(multiple: int) -> None:
    with pytest.raises(ValueError, match="not zero"):
        WalletKeys.from_entropy(scalar(multiple * GROUP_ORDER), Network.MAINNET)


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_entropy_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        WalletKeys.from_entropy(b"\x07" * length, Network.MAINNET)


def test_keys_cannot_be_made_from_a_scalar_that_was_not_reduced() -> None:
    with pytest.raises(ValueError, match="reduced"):
        WalletKeys(ENTROPY, Network.MAINNET)


def test_no_way_of_printing_shows_a_key_or_the_full_address() -> None:
    keys = WalletKeys.from_entropy(ENTROPY, Network.MAINNET)
    hidden = [keys.private_spend_key, keys.private_view_key, keys.public_spend_key, keys.public_view_key]

    for printed in (repr(keys), str(keys), f"{keys}", repr([keys])):
        assert keys.address not in printed
        assert not any(key.hex() in printed or repr(key) in printed for key in hidden)


def test_keys_cannot_be_altered() -> None:
    keys = WalletKeys.from_entropy(ENTROPY, Network.MAINNET)

    with pytest.raises(dataclasses.FrozenInstanceError):
        keys.network = Network.TESTNET  # type: ignore[misc]


# The curve


def test_the_hash_is_keccak_and_not_sha3() -> None:
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"abc").hex() == "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"


@pytest.mark.parametrize("number", [0, 1, GROUP_ORDER - 1, GROUP_ORDER, GROUP_ORDER + 1, 2**255 - 19, 2**256 - 1])
def test_reducing_is_the_remainder_by_the_group_order(number: int) -> None:
    assert scalar_reduce(scalar(number)) == scalar(number % GROUP_ORDER)
    assert is_private_key(scalar(number)) == (0 < number < GROUP_ORDER)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_scalars_and_points_have_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        scalar_reduce(bytes(length))
    assert not is_private_key(b"\x01" * length)
    assert not is_prime_order_point(b"\x58" * length)


def test_public_keys_are_unclamped_multiples_of_the_base_point() -> None:
    assert public_key(scalar(1)) == BASE_POINT
    assert public_key(scalar(2)) == bindings.crypto_core_ed25519_add(BASE_POINT, BASE_POINT)
    assert public_key(scalar(GROUP_ORDER - 1)) == BASE_POINT[:31] + bytes([BASE_POINT[31] | 0x80])  # minus the base


@pytest.mark.parametrize("number", [0, GROUP_ORDER, GROUP_ORDER + 1, 2**256 - 1])
def test_there_is_no_public_key_for_zero_or_a_scalar_that_was_not_reduced(number: int) -> None:
    with pytest.raises(ValueError, match="not a private key"):
        public_key(scalar(number))


def test_every_public_key_is_a_prime_order_point_and_the_identity_is_none() -> None:
    assert all(is_prime_order_point(public_key(scalar(number))) for number in (1, 2, 8, GROUP_ORDER - 1))
    assert not is_prime_order_point(IDENTITY_POINT)
