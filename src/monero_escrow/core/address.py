"""The address codec: text to keys and back, and the first of three places that never let a half-made address pass.

A Monero address is a network prefix, a public spend key, a public view key, for integrated addresses a payment ID of 8
bytes, and 4 bytes of checksum, in Monero's Base58 (`src/cryptonote_basic/cryptonote_basic_impl.cpp`; the prefixes are
in `src/cryptonote_config.h`). An `Address` cannot hold a key nobody could own: `make_multisig` answers with such an
address when the set-up has only begun, and coins sent there are not in the trio's hands.

Nothing here knows whose address it is. No message or `repr` carries a full address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from monero_escrow.core import base58
from monero_escrow.core.curve import IDENTITY_POINT, KEY_BYTES, is_prime_order_point, keccak256
from monero_escrow.core.errors import InvalidInputError


class Network(StrEnum):
    """The chain an address belongs to. A private regtest chain uses mainnet's prefixes."""

    MAINNET = "mainnet"
    STAGENET = "stagenet"
    TESTNET = "testnet"
    REGTEST = "regtest"


class AddressKind(StrEnum):
    """The three shapes of an address: a wallet's primary one, a further one, or the primary one with a payment ID."""

    STANDARD = "standard"
    SUBADDRESS = "subaddress"
    INTEGRATED = "integrated"


_PAYMENT_ID_BYTES: Final = 8
_CHECKSUM_BYTES: Final = 4
_PLAIN_BYTES: Final = 1 + 2 * KEY_BYTES + _CHECKSUM_BYTES
_TEXT_LENGTHS: Final = {
    AddressKind.STANDARD: base58.encoded_length(_PLAIN_BYTES),
    AddressKind.SUBADDRESS: base58.encoded_length(_PLAIN_BYTES),
    AddressKind.INTEGRATED: base58.encoded_length(_PLAIN_BYTES + _PAYMENT_ID_BYTES),
}

_MAINNET_PREFIXES: Final = {AddressKind.STANDARD: 18, AddressKind.INTEGRATED: 19, AddressKind.SUBADDRESS: 42}
_PREFIXES: Final[Mapping[Network, Mapping[AddressKind, int]]] = {
    Network.MAINNET: _MAINNET_PREFIXES,
    Network.REGTEST: _MAINNET_PREFIXES,
    Network.TESTNET: {AddressKind.STANDARD: 53, AddressKind.INTEGRATED: 54, AddressKind.SUBADDRESS: 63},
    Network.STAGENET: {AddressKind.STANDARD: 24, AddressKind.INTEGRATED: 25, AddressKind.SUBADDRESS: 36},
}
_OWNER_OF_PREFIX: Final = {
    prefix: (network, kind)
    for network, prefixes in _PREFIXES.items()
    if network is not Network.REGTEST
    for kind, prefix in prefixes.items()
}


class AddressFault(StrEnum):
    """Why an address is refused; stable, for programs. The error's sentence is for people."""

    NOT_TEXT = "not_text"
    EMPTY = "empty"
    SURROUNDING_WHITESPACE = "surrounding_whitespace"
    FOREIGN_CHARACTER = "foreign_character"
    WRONG_LENGTH = "wrong_length"
    IMPOSSIBLE_BLOCK = "impossible_block"
    WRONG_CHECKSUM = "wrong_checksum"
    UNKNOWN_PREFIX = "unknown_prefix"
    OTHER_NETWORK = "other_network"
    IDENTITY_SPEND_KEY = "identity_spend_key"
    INVALID_SPEND_KEY = "invalid_spend_key"
    INVALID_VIEW_KEY = "invalid_view_key"


_UNSOUND_KEY: Final = "Do not send coins to this address. Make a new one with a current Monero wallet."
_WHAT_TO_DO: Final[Mapping[AddressFault, str]] = {
    AddressFault.NOT_TEXT: "Send the address as a JSON string.",
    AddressFault.EMPTY: "Give the address.",
    AddressFault.SURROUNDING_WHITESPACE: "Remove the spaces and line breaks around the address.",
    AddressFault.UNKNOWN_PREFIX: "Give a Monero address; this may be one of another currency.",
    AddressFault.OTHER_NETWORK: "Give an address of the network this service runs on.",
    AddressFault.IDENTITY_SPEND_KEY: "Do not send coins to this address. Finish the set-up, or start a new one.",
    AddressFault.INVALID_SPEND_KEY: _UNSOUND_KEY,
    AddressFault.INVALID_VIEW_KEY: _UNSOUND_KEY,
}


class InvalidAddressError(InvalidInputError):
    """The address cannot be used; `reason` says which of the known faults it has."""

    code = "invalid_address"
    what_to_do = "Copy the whole address again from the wallet it comes from, and do not type it."

    def __init__(self, reason: AddressFault, message: str) -> None:
        super().__init__(message, what_to_do=_WHAT_TO_DO.get(reason))
        self.reason = reason


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A sound address of one network: its parts, and its `text`, which is made from them and so always agrees.

    Keys are 32 bytes, a payment ID is 8 bytes and there only if the kind is integrated (ValueError otherwise). A key
    that no private key belongs to raises `InvalidAddressError`. Two are equal if all parts are, the network included.
    """

    kind: AddressKind
    network: Network
    public_spend_key: bytes
    public_view_key: bytes
    payment_id: bytes | None = None
    text: str = field(init=False)

    def __post_init__(self) -> None:
        if self.kind is AddressKind.INTEGRATED:
            if self.payment_id is None or len(self.payment_id) != _PAYMENT_ID_BYTES:
                raise ValueError(f"an integrated address has a payment ID of {_PAYMENT_ID_BYTES} bytes")
        elif self.payment_id is not None:
            raise ValueError(f"a {self.kind} address has no payment ID")
        _refuse_identity_spend_key(self.public_spend_key)
        if not is_prime_order_point(self.public_spend_key):
            raise InvalidAddressError(AddressFault.INVALID_SPEND_KEY, _not_a_key("spend"))
        if not is_prime_order_point(self.public_view_key):
            raise InvalidAddressError(AddressFault.INVALID_VIEW_KEY, _not_a_key("view"))
        content = bytes([self.network_prefix]) + self.public_spend_key + self.public_view_key + (self.payment_id or b"")
        object.__setattr__(self, "text", base58.encode(content + _checksum(content)))

    @property
    def network_prefix(self) -> int:
        """The first byte, which says network and kind. (A varint in Monero; all that exist fit one byte.)"""
        return _PREFIXES[self.network][self.kind]

    @property
    def shortened(self) -> str:
        """The address as logs and messages may show it: `45UVHo…SQDQ`."""
        return shortened_address(self.text)

    def __repr__(self) -> str:
        return f"Address({self.kind}, {self.network}, {self.shortened})"


def parse_address(text: str, network: Network) -> Address:
    """The address this text is, if it is a sound one of this network; `InvalidAddressError` with the reason if not.

    Nothing is repaired: surrounding whitespace is refused like any other fault. The original design's address with the
    identity as spend key is refused for that reason whatever network was asked for, as it is the worst of its faults.
    """
    data = _decode(text)
    owner = _OWNER_OF_PREFIX.get(data[0])
    if owner is None:
        raise InvalidAddressError(
            AddressFault.UNKNOWN_PREFIX,
            f"{shortened_address(text)} starts with the prefix {data[0]}, which no Monero network uses.",
        )
    owner_network, kind = owner
    if len(text) != _TEXT_LENGTHS[kind]:
        raise InvalidAddressError(
            AddressFault.WRONG_LENGTH,
            f"{shortened_address(text)} is marked as a {owner_network} {kind} address, which has "
            f"{_TEXT_LENGTHS[kind]} characters; it has {len(text)}.",
        )
    spend_key, view_key, payment_id = data[1:33], data[33:65], data[65:-_CHECKSUM_BYTES]
    _refuse_identity_spend_key(spend_key)
    if data[0] != _PREFIXES[network][kind]:
        also = " (or of a private regtest chain)" if owner_network is Network.MAINNET else ""
        raise InvalidAddressError(
            AddressFault.OTHER_NETWORK,
            f"{shortened_address(text)} is an address of {owner_network}{also}; this is {network}.",
        )
    return Address(kind, network, spend_key, view_key, payment_id or None)


def encode_address(
    kind: AddressKind, network: Network, spend: bytes, view: bytes, payment_id: bytes | None = None
) -> str:
    """The text of the address with these public keys. Errors as for `Address`."""
    return Address(kind, network, spend, view, payment_id).text


def shortened_address(text: str) -> str:
    """The first six and last four characters of an address, and nothing of a text that has not the length of one."""
    return f"{text[:6]}…{text[-4:]}" if len(text) in _TEXT_LENGTHS.values() else "…"


def _decode(text: str) -> bytes:
    """The bytes of a text that has the form, the length and the checksum of an address, checksum included.

    What has not the length of an address is not quoted: it may be something else, such as a private key pasted into
    the wrong field.
    """
    if not isinstance(text, str):
        raise InvalidAddressError(AddressFault.NOT_TEXT, f"An address is a string, not {type(text).__name__}.")
    stripped = text.strip()
    if not stripped:
        raise InvalidAddressError(AddressFault.EMPTY, "The address is empty.")
    if stripped != text:
        raise InvalidAddressError(
            AddressFault.SURROUNDING_WHITESPACE, "There is whitespace before or after the address."
        )
    foreign = base58.find_foreign_character(text)
    if foreign is not None:
        raise InvalidAddressError(
            AddressFault.FOREIGN_CHARACTER,
            f"Character {foreign + 1} of the address, {text[foreign]!a}, never occurs in one: "
            "addresses are letters and digits without 0, O, I and l.",
        )
    if len(text) not in _TEXT_LENGTHS.values():
        raise InvalidAddressError(
            AddressFault.WRONG_LENGTH,
            f"The address has {len(text)} characters; addresses have {_TEXT_LENGTHS[AddressKind.STANDARD]}, "
            f"integrated ones {_TEXT_LENGTHS[AddressKind.INTEGRATED]}.",
        )
    try:
        data = base58.decode(text)
    except base58.Base58Error as fault:
        raise InvalidAddressError(
            AddressFault.IMPOSSIBLE_BLOCK, f"{shortened_address(text)} has a character changed: {fault}."
        ) from None
    if _checksum(data[:-_CHECKSUM_BYTES]) != data[-_CHECKSUM_BYTES:]:
        raise InvalidAddressError(
            AddressFault.WRONG_CHECKSUM,
            f"The checksum of {shortened_address(text)} is wrong: at least one character was changed.",
        )
    return data


def _refuse_identity_spend_key(spend_key: bytes) -> None:
    if spend_key == IDENTITY_POINT:
        raise InvalidAddressError(
            AddressFault.IDENTITY_SPEND_KEY,
            "The address has the identity point as its public spend key: the multisig set-up stopped early, before the "
            "keys of all participants were in it. Coins sent to it can be taken by one party alone, or are gone.",
        )


def _not_a_key(which: str) -> str:
    return (
        f"The public {which} key of the address is not a key: it is no canonical point of the curve's prime-order "
        "subgroup, so no private key belongs to it."
    )


def _checksum(content: bytes) -> bytes:
    return keccak256(content)[:_CHECKSUM_BYTES]
