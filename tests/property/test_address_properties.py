"""The address codec for all keys, and for whatever is no address; checked against two oracles.

One is `monero` from PyPI. The other is the slow arithmetic below, written from RFC 8032, for what a point is.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monero import const
from monero.address import address as oracle_address
from monero.base58 import decode as oracle_decode
from monero.base58 import encode as oracle_encode
from monero.seed import Seed
from nacl import bindings

from monero_escrow.core import base58
from monero_escrow.core.address import (
    Address,
    AddressFault,
    AddressKind,
    InvalidAddressError,
    Network,
    encode_address,
    parse_address,
)
from monero_escrow.core.curve import GROUP_ORDER, is_prime_order_point, keccak256, public_key, scalar_reduce
from monero_escrow.core.keys import WalletKeys

ORACLE_NETS = {
    Network.MAINNET: const.NET_MAIN,
    Network.STAGENET: const.NET_STAGE,
    Network.TESTNET: const.NET_TEST,
    Network.REGTEST: const.NET_MAIN,
}

networks = st.sampled_from(Network)
private_keys = st.integers(1, GROUP_ORDER - 1).map(lambda number: number.to_bytes(32, "little"))
public_keys = private_keys.map(public_key)
keys_or_bytes = public_keys | st.binary(min_size=32, max_size=32)


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    """A sound address of any network and kind."""
    kind = draw(st.sampled_from(AddressKind))
    payment_id = draw(st.binary(min_size=8, max_size=8)) if kind is AddressKind.INTEGRATED else None
    return Address(kind, draw(networks), draw(public_keys), draw(public_keys), payment_id)


def refused(text: str, network: Network) -> AddressFault:
    """The fault for which the text is refused."""
    with pytest.raises(InvalidAddressError) as caught:
        parse_address(text, network)
    assert text not in caught.value.message or len(text) < 12
    return caught.value.reason


# Agreement with the oracle


@given(addresses())
def test_an_address_is_read_as_it_was_written(address: Address) -> None:
    assert parse_address(address.text, address.network) == address


@given(addresses())
def test_the_oracle_reads_our_addresses_as_we_mean_them(address: Address) -> None:
    oracle = oracle_address(address.text)

    assert oracle.net == ORACLE_NETS[address.network]
    assert type(oracle).__name__ == {
        AddressKind.STANDARD: "Address",
        AddressKind.SUBADDRESS: "SubAddress",
        AddressKind.INTEGRATED: "IntegratedAddress",
    }[address.kind]  # fmt: skip
    assert oracle.spend_key() == address.public_spend_key.hex()
    assert oracle.view_key() == address.public_view_key.hex()
    if address.payment_id is not None:
        assert int(oracle.payment_id()) == int.from_bytes(address.payment_id, "big")
        standard = encode_address(
            AddressKind.STANDARD, address.network, address.public_spend_key, address.public_view_key
        )
        assert str(oracle.base_address()) == standard
        assert str(oracle_address(standard).with_payment_id(address.payment_id.hex())) == address.text


@given(st.binary(min_size=32, max_size=32).filter(lambda entropy: any(scalar_reduce(entropy))), networks)
def test_any_entropy_gives_the_wallet_of_the_oracles_seed(entropy: bytes, network: Network) -> None:
    seed = Seed(entropy.hex())

    keys = WalletKeys.from_entropy(entropy, network)

    assert keys.private_spend_key_hex == seed.secret_spend_key()
    assert keys.private_view_key_hex == seed.secret_view_key()
    assert keys.address == str(seed.public_address(ORACLE_NETS[network]))


@given(st.binary(max_size=90))
def test_base58_agrees_with_the_oracle_both_ways(data: bytes) -> None:
    text = base58.encode(data)

    assert text == oracle_encode(data.hex())
    assert base58.decode(text) == data == bytes.fromhex(oracle_decode(text))
    assert len(text) == base58.encoded_length(len(data))


@given(st.text(alphabet=base58.ALPHABET, max_size=40))
def test_base58_reads_no_two_texts_as_the_same_bytes(text: str) -> None:
    try:
        data = base58.decode(text)
    except base58.Base58Error:
        return
    assert base58.encode(data) == text


# What is no address


@given(addresses(), st.data())
def test_one_changed_character_is_always_refused(address: Address, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(address.text) - 1))
    character = data.draw(st.sampled_from(base58.ALPHABET).filter(lambda other: other != address.text[position]))

    fault = refused(address.text[:position] + character + address.text[position + 1 :], address.network)

    assert fault in (AddressFault.WRONG_CHECKSUM, AddressFault.IMPOSSIBLE_BLOCK)


@given(addresses(), st.data())
def test_two_exchanged_characters_are_always_refused(address: Address, data: st.DataObject) -> None:
    position = data.draw(
        st.integers(0, len(address.text) - 2).filter(lambda at: len({*address.text[at : at + 2]}) == 2)
    )
    first, second = address.text[position], address.text[position + 1]

    fault = refused(address.text[:position] + second + first + address.text[position + 2 :], address.network)

    assert fault in (AddressFault.WRONG_CHECKSUM, AddressFault.IMPOSSIBLE_BLOCK)


@given(addresses(), st.data())
def test_every_truncation_is_refused(address: Address, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, len(address.text) - 1))

    fault = refused(address.text[:length], address.network)

    if length == 95:  # an integrated address cut to the length of the others
        assert fault in (AddressFault.WRONG_CHECKSUM, AddressFault.IMPOSSIBLE_BLOCK)
    else:
        assert fault is AddressFault.WRONG_LENGTH


@given(st.one_of(st.text(), st.binary(min_size=69, max_size=77).map(base58.encode)), networks)
def test_random_text_and_random_bytes_are_refused(text: str, network: Network) -> None:
    refused(text, network)


@given(st.integers(0, 255) | st.sampled_from([18, 24, 36, 42, 53, 63]), keys_or_bytes, keys_or_bytes, networks)
def test_a_right_checksum_makes_an_address_only_of_sound_keys_and_a_prefix_of_the_network(
    prefix: int, spend: bytes, view: bytes, network: Network
) -> None:
    content = bytes([prefix]) + spend + view
    text = base58.encode(content + keccak256(content)[:4])
    of_network = {
        Network.MAINNET: (18, 42),
        Network.REGTEST: (18, 42),
        Network.TESTNET: (53, 63),
        Network.STAGENET: (24, 36),
    }[network]

    if prefix in of_network and is_prime_order_point_by_definition(spend) and is_prime_order_point_by_definition(view):
        assert parse_address(text, network).text == text
    else:
        refused(text, network)


@given(addresses(), networks)
def test_an_address_is_refused_on_every_network_but_its_own(address: Address, other: Network) -> None:
    if ORACLE_NETS[address.network] == ORACLE_NETS[other]:
        assert parse_address(address.text, other).text == address.text
    else:
        assert refused(address.text, other) is AddressFault.OTHER_NETWORK


# What is a key

FIELD_PRIME = 2**255 - 19
CURVE_D = -121665 * pow(121666, -1, FIELD_PRIME) % FIELD_PRIME
ROOT_OF_MINUS_ONE = pow(2, (FIELD_PRIME - 1) // 4, FIELD_PRIME)
Point = tuple[int, int]
TORSION_POINT = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")  # of order 8


def decompressed(encoded: bytes) -> Point | None:
    """RFC 8032, 5.1.3: the point, or None if the encoding is not the canonical one of a point on the curve."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= FIELD_PRIME:
        return None
    x_squared = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, FIELD_PRIME) % FIELD_PRIME
    x = pow(x_squared, (FIELD_PRIME + 3) // 8, FIELD_PRIME)
    if x * x % FIELD_PRIME != x_squared:
        x = x * ROOT_OF_MINUS_ONE % FIELD_PRIME
    if x * x % FIELD_PRIME != x_squared or (x == 0 and sign == 1):
        return None
    return (x if x & 1 == sign else FIELD_PRIME - x), y


def add(left: Point, right: Point) -> Point:
    """The complete addition law of the twisted Edwards curve."""
    (x1, y1), (x2, y2) = left, right
    product = CURVE_D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, FIELD_PRIME)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, FIELD_PRIME)
    return x % FIELD_PRIME, y % FIELD_PRIME


def multiply(factor: int, point: Point) -> Point:
    """Double and add."""
    result = (0, 1)
    for bit in bin(factor)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def is_prime_order_point_by_definition(encoded: bytes) -> bool:
    """A canonical point other than the identity that the group order takes to the identity."""
    point = decompressed(encoded)
    return point is not None and point != (0, 1) and multiply(GROUP_ORDER, point) == (0, 1)


def with_torsion(encoded: bytes, times: int) -> bytes:
    """The point plus so many times the point of order eight."""
    for _ in range(times):
        encoded = bindings.crypto_core_ed25519_add(encoded, TORSION_POINT)
    return encoded


@given(st.binary(min_size=32, max_size=32))
def test_any_bytes_are_a_key_exactly_if_the_definition_says_so(encoded: bytes) -> None:
    assert is_prime_order_point(encoded) == is_prime_order_point_by_definition(encoded)


@given(public_keys, st.integers(0, 7))
def test_a_key_with_a_torsion_part_is_none_and_without_is_one(key: bytes, times: int) -> None:
    point = with_torsion(key, times)

    assert is_prime_order_point(point) == is_prime_order_point_by_definition(point) == (times == 0)
