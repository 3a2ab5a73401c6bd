"""The address codec: what it reads, and each of the ways it refuses. `monero` from PyPI is the independent oracle."""

from __future__ import annotations

import dataclasses

import pytest
from monero import const
from monero.address import address as oracle_address
from monero.backends.offline import OfflineWallet
from monero.seed import Seed
from monero.wallet import Wallet
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
    shortened_address,
)
from monero_escrow.core.curve import IDENTITY_POINT, is_prime_order_point, keccak256

# What the original design shows as its result.
ORIGINAL_EXAMPLE = "9sCrDesy9LK11111111111111111111111111111111118YcC9Gacso6vvEkES46JsBqWdhFAZxqAPkzB6E89FYP8h4p53e"
SEED = Seed("0123456789abcdef" * 4)
SPEND, VIEW = bytes.fromhex(SEED.public_spend_key()), bytes.fromhex(SEED.public_view_key())
PAYMENT_ID = bytes.fromhex("00c0ffee00000001")
ORACLE_NETS = {Network.MAINNET: const.NET_MAIN, Network.STAGENET: const.NET_STAGE, Network.TESTNET: const.NET_TEST}
PREFIXES = {
    (Network.MAINNET, AddressKind.STANDARD): 18,
    (Network.MAINNET, AddressKind.INTEGRATED): 19,
    (Network.MAINNET, AddressKind.SUBADDRESS): 42,
    (Network.REGTEST, AddressKind.STANDARD): 18,
    (Network.REGTEST, AddressKind.INTEGRATED): 19,
    (Network.REGTEST, AddressKind.SUBADDRESS): 42,
    (Network.TESTNET, AddressKind.STANDARD): 53,
    (Network.TESTNET, AddressKind.INTEGRATED): 54,
    (Network.TESTNET, AddressKind.SUBADDRESS): 63,
    (Network.STAGENET, AddressKind.STANDARD): 24,
    (Network.STAGENET, AddressKind.INTEGRATED): 25,
    (Network.STAGENET, AddressKind.SUBADDRESS): 36,
}

SMALL_ORDER_POINTS = [
    bytes.fromhex(encoded)
    for encoded in (
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 2
        "0000000000000000000000000000000000000000000000000000000000000000",  # order 4
        "0000000000000000000000000000000000000000000000000000000000000080",  # order 4
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",  # order 8
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",  # order 8
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",  # order 8
    )
]
NON_CANONICAL_POINTS = [
    *((2**255 - 19 + excess).to_bytes(32, "little") for excess in range(19)),  # y at or above the field's prime
    bytes.fromhex("0100000000000000000000000000000000000000000000000000000000000080"),  # the identity, signed
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),  # the order-2 point, signed
]
POINTS_WITH_TORSION = [bindings.crypto_core_ed25519_add(SPEND, point) for point in SMALL_ORDER_POINTS]
OFF_THE_CURVE = bytes([2]) + bytes(31)
BAD_POINTS = [*SMALL_ORDER_POINTS, *NON_CANONICAL_POINTS, *POINTS_WITH_TORSION, OFF_THE_CURVE]


def assembled(prefix: int, spend: bytes, view: bytes, payment_id: bytes = b"") -> str:
    """An address text with a right checksum and whatever keys are given: what our own encoder refuses to make."""
    content = bytes([prefix]) + spend + view + payment_id
    return base58.encode(content + keccak256(content)[:4])


def refusal(text: object, network: Network = Network.MAINNET) -> InvalidAddressError:
    """The error with which the text is refused."""
    with pytest.raises(InvalidAddressError) as caught:
        parse_address(text, network)  # type: ignore[arg-type]
    return caught.value


GOOD = assembled(18, SPEND, VIEW)
GOOD_INTEGRATED = assembled(19, SPEND, VIEW, PAYMENT_ID)


# What it reads


@pytest.mark.parametrize("network", ORACLE_NETS)
def test_a_standard_address_of_the_oracle_is_read_with_its_keys(network: Network) -> None:
    text = str(SEED.public_address(ORACLE_NETS[network]))

    address = parse_address(text, network)

    assert (address.kind, address.network, address.text) == (AddressKind.STANDARD, network, text)
    assert (address.public_spend_key, address.public_view_key) == (SPEND, VIEW)
    assert address.payment_id is None


@pytest.mark.parametrize("network", ORACLE_NETS)
def test_a_subaddress_of_the_oracle_is_read_with_its_keys(network: Network) -> None:
    primary = SEED.public_address(ORACLE_NETS[network])
    subaddress = Wallet(OfflineWallet(primary, SEED.secret_view_key())).get_address(1, 7)

    address = parse_address(str(subaddress), network)

    assert (address.kind, address.network, address.text) == (AddressKind.SUBADDRESS, network, str(subaddress))
    assert address.public_spend_key.hex() == subaddress.spend_key() != SEED.public_spend_key()
    assert address.public_view_key.hex() == subaddress.view_key()


@pytest.mark.parametrize("network", ORACLE_NETS)
def test_an_integrated_address_of_the_oracle_is_read_with_its_payment_id(network: Network) -> None:
    integrated = SEED.public_address(ORACLE_NETS[network]).with_payment_id(PAYMENT_ID.hex())

    address = parse_address(str(integrated), network)

    assert (address.kind, address.network, address.text) == (AddressKind.INTEGRATED, network, str(integrated))
    assert (address.public_spend_key, address.public_view_key) == (SPEND, VIEW)
    assert address.payment_id == PAYMENT_ID


@pytest.mark.parametrize(("network", "kind"), PREFIXES)
def test_each_network_and_kind_has_its_own_prefix(network: Network, kind: AddressKind) -> None:
    payment_id = PAYMENT_ID if kind is AddressKind.INTEGRATED else None

    text = encode_address(kind, network, SPEND, VIEW, payment_id)

    assert text == assembled(PREFIXES[network, kind], SPEND, VIEW, payment_id or b"")
    assert parse_address(text, network) == Address(kind, network, SPEND, VIEW, payment_id)
    assert parse_address(text, network).network_prefix == PREFIXES[network, kind]


def test_a_private_regtest_chain_reads_mainnet_addresses_as_its_own() -> None:
    assert parse_address(GOOD, Network.REGTEST).network is Network.REGTEST


# The address that must never be shown


@pytest.mark.parametrize("network", Network)
def test_the_original_example_address_is_refused_for_its_identity_key_on_every_network(network: Network) -> None:
    assert oracle_address(ORIGINAL_EXAMPLE).spend_key() == IDENTITY_POINT.hex()  # the oracle reads it without complaint

    error = refusal(ORIGINAL_EXAMPLE, network)

    assert error.reason is AddressFault.IDENTITY_SPEND_KEY
    assert "stopped early" in error.message
    assert "one party alone" in error.message
    assert "Do not send coins" in error.what_to_do


@pytest.mark.parametrize(("network", "kind"), PREFIXES)
def test_an_identity_key_is_never_a_valid_address(network: Network, kind: AddressKind) -> None:
    payment_id = PAYMENT_ID if kind is AddressKind.INTEGRATED else None
    text = assembled(PREFIXES[network, kind], IDENTITY_POINT, VIEW, payment_id or b"")

    assert refusal(text, network).reason is AddressFault.IDENTITY_SPEND_KEY
    with pytest.raises(InvalidAddressError) as caught:
        encode_address(kind, network, IDENTITY_POINT, VIEW, payment_id)
    assert caught.value.reason is AddressFault.IDENTITY_SPEND_KEY


def test_an_identity_view_key_is_refused_too() -> None:
    assert refusal(assembled(18, SPEND, IDENTITY_POINT)).reason is AddressFault.INVALID_VIEW_KEY


@pytest.mark.parametrize("point", BAD_POINTS, ids=bytes.hex)
def test_a_key_that_no_private_key_belongs_to_is_refused(point: bytes) -> None:
    assert not is_prime_order_point(point)
    if point != IDENTITY_POINT:
        assert refusal(assembled(18, point, VIEW)).reason is AddressFault.INVALID_SPEND_KEY
    assert refusal(assembled(18, SPEND, point)).reason is AddressFault.INVALID_VIEW_KEY
    with pytest.raises(InvalidAddressError):
        Address(AddressKind.STANDARD, Network.MAINNET, SPEND, point)


def test_torsion_is_found_even_where_the_library_overlooks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As libsodium did before the end of 2025: its subgroup checks took no notice of the point of order two."""
    order_two = SMALL_ORDER_POINTS[0]
    checked = bindings.crypto_scalarmult_ed25519_noclamp

    def overlooking(scalar: bytes, point: bytes) -> bytes:
        if point == SPEND:
            return checked(scalar, SPEND)
        return bindings.crypto_core_ed25519_add(checked(scalar, SPEND), order_two)

    monkeypatch.setattr(bindings, "crypto_core_ed25519_is_valid_point", lambda _point: True)
    monkeypatch.setattr(bindings, "crypto_scalarmult_ed25519_noclamp", overlooking)

    assert is_prime_order_point(SPEND)
    assert not is_prime_order_point(bindings.crypto_core_ed25519_add(SPEND, order_two))


# The other ways to be refused


@pytest.mark.parametrize("value", [None, 7, b"44AFFq", ["44AFFq"]], ids=lambda value: type(value).__name__)
def test_only_text_is_read(value: object) -> None:
    assert refusal(value).reason is AddressFault.NOT_TEXT


@pytest.mark.parametrize("text", ["", " ", "\n\t"], ids=repr)
def test_an_empty_address_is_refused_as_empty(text: str) -> None:
    assert refusal(text).reason is AddressFault.EMPTY


@pytest.mark.parametrize("text", [f" {GOOD}", f"{GOOD}\n", f"\u00a0{GOOD}"], ids=["space", "newline", "no-break"])
def test_surrounding_whitespace_is_refused_and_not_stripped(text: str) -> None:
    assert refusal(text).reason is AddressFault.SURROUNDING_WHITESPACE


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("0", "'0'"),
        ("O", "'O'"),
        ("I", "'I'"),
        ("l", "'l'"),
        (" ", "' '"),
        ("\u0430", r"'\u0430'"),
        ("\x1b", r"'\x1b'"),
    ],
    ids=ascii,
)
def test_a_character_outside_base58_is_named_with_its_position(character: str, shown: str) -> None:
    error = refusal(GOOD[:16] + character + GOOD[17:])

    assert error.reason is AddressFault.FOREIGN_CHARACTER
    assert "Character 17 " in error.message
    assert shown in error.message


@pytest.mark.parametrize("length", [1, 4, 11, 94, 96, 105, 107, 128])
def test_a_truncated_or_prolonged_address_is_refused_with_its_length(length: int) -> None:
    error = refusal((GOOD_INTEGRATED + GOOD)[:length])

    assert error.reason is AddressFault.WRONG_LENGTH
    assert f" {length} characters" in error.message


def test_a_huge_text_is_refused_by_its_length() -> None:
    assert refusal("4" * 1_000_000).reason is AddressFault.WRONG_LENGTH


@pytest.mark.parametrize(
    "text",
    [assembled(19, SPEND, VIEW), assembled(18, SPEND, VIEW, PAYMENT_ID), assembled(42, SPEND, VIEW, PAYMENT_ID)],
    ids=["integrated without payment ID", "standard with payment ID", "subaddress with payment ID"],
)
def test_a_length_that_contradicts_the_prefix_is_refused(text: str) -> None:
    assert refusal(text).reason is AddressFault.WRONG_LENGTH


def test_a_block_too_large_for_its_bytes_is_refused_with_its_place() -> None:
    error = refusal(GOOD[:11] + "z" * 11 + GOOD[22:])

    assert error.reason is AddressFault.IMPOSSIBLE_BLOCK
    assert "characters 12 to 22" in error.message


def test_a_changed_character_is_refused_by_the_checksum() -> None:
    changed = GOOD[:40] + ("2" if GOOD[40] != "2" else "3") + GOOD[41:]

    error = refusal(changed)

    assert error.reason is AddressFault.WRONG_CHECKSUM
    assert shortened_address(changed) in error.message


@pytest.mark.parametrize("prefix", [0, 17, 0x80 | 18, 255])
def test_a_prefix_that_no_network_uses_is_refused(prefix: int) -> None:
    error = refusal(assembled(prefix, SPEND, VIEW))

    assert error.reason is AddressFault.UNKNOWN_PREFIX
    assert f"prefix {prefix}," in error.message


@pytest.mark.parametrize("asked", Network)
@pytest.mark.parametrize("owner", ORACLE_NETS)
def test_an_address_of_another_network_is_refused_by_that_networks_name(owner: Network, asked: Network) -> None:
    text = str(SEED.public_address(ORACLE_NETS[owner]))
    if asked is owner or (owner, asked) == (Network.MAINNET, Network.REGTEST):
        assert parse_address(text, asked).network is asked
        return

    error = refusal(text, asked)

    assert error.reason is AddressFault.OTHER_NETWORK
    assert f"an address of {owner}" in error.message
    assert f"this is {asked}" in error.message


def test_every_refusal_has_a_stable_code_and_says_what_to_do() -> None:
    error = refusal(GOOD[:-1])

    assert error.code == "invalid_address"
    assert error.what_to_do


@pytest.mark.parametrize("payment_id", [None, b"", bytes(7), bytes(9), bytes(32)], ids=repr)
def test_an_integrated_address_needs_a_payment_id_of_eight_bytes(payment_id: bytes | None) -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        encode_address(AddressKind.INTEGRATED, Network.MAINNET, SPEND, VIEW, payment_id)


@pytest.mark.parametrize("kind", [AddressKind.STANDARD, AddressKind.SUBADDRESS])
@pytest.mark.parametrize("payment_id", [b"", PAYMENT_ID], ids=repr)
def test_no_other_address_takes_a_payment_id(kind: AddressKind, payment_id: bytes) -> None:
    with pytest.raises(ValueError, match="no payment ID"):
        encode_address(kind, Network.MAINNET, SPEND, VIEW, payment_id)


# What it never shows

TELLING = 11  # characters in a row: one Base58 block, more than the shortened form has on either side


@pytest.mark.parametrize(
    "text",
    [
        f"{GOOD} ",
        f"0{GOOD[1:]}",
        GOOD[:-1],
        GOOD[:11] + "z" * 11 + GOOD[22:],
        GOOD[:-1] + ("1" if GOOD[-1] != "1" else "2"),
        assembled(17, SPEND, VIEW),
        assembled(19, SPEND, VIEW),
        assembled(53, SPEND, VIEW),
        ORIGINAL_EXAMPLE,
        assembled(18, SMALL_ORDER_POINTS[3], VIEW),
        assembled(18, SPEND, SMALL_ORDER_POINTS[3]),
    ],
)
def test_no_refusal_shows_more_than_the_shortened_address(text: str) -> None:
    error = refusal(text)

    shown = f"{error.message} {error.what_to_do} {error!r}"
    assert not any(text[start : start + TELLING] in shown for start in range(len(text) - TELLING))


def test_a_private_key_pasted_as_an_address_is_not_quoted() -> None:
    private_key = "123456789abcdef1" * 4  # all its digits are Base58 too

    error = refusal(private_key)

    assert not any(private_key[start : start + 4] in error.message for start in range(60))
    assert shortened_address(private_key) == "…"


def test_an_address_prints_itself_only_in_short() -> None:
    address = parse_address(GOOD, Network.MAINNET)

    assert address.shortened == f"{GOOD[:6]}…{GOOD[-4:]}"
    for printed in (repr(address), str(address), f"{address}"):
        assert printed == f"Address(standard, mainnet, {address.shortened})"


def test_an_address_cannot_be_altered_and_its_text_always_fits_its_parts() -> None:
    address = parse_address(GOOD, Network.MAINNET)

    with pytest.raises(dataclasses.FrozenInstanceError):
        address.text = GOOD_INTEGRATED  # type: ignore[misc]
    assert dataclasses.replace(address, kind=AddressKind.SUBADDRESS).text == assembled(42, SPEND, VIEW)
