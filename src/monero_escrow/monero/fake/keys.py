"""Keys and addresses of fake wallets: real points of the curve, made by hashing instead of by the real algorithms."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from monero_escrow.core import base58
from monero_escrow.core.address import Address, AddressKind, Network, encode_address, parse_address
from monero_escrow.core.curve import IDENTITY_POINT, keccak256, public_key, scalar_reduce


@lru_cache(maxsize=65_536)
def private_key_of(*parts: str) -> bytes:
    """A private key that depends on these texts only."""
    return scalar_reduce(keccak256("\x00".join(parts).encode()))


@lru_cache(maxsize=65_536)
def public_key_of(*parts: str) -> str:
    """The public key of `private_key_of` the same texts, hex."""
    return public_key(private_key_of(*parts)).hex()


def hash_of(*parts: str) -> str:
    """A hash of these texts: a txid, a block's hash, a key image; hex."""
    return keccak256("\x00".join(parts).encode()).hex()


@lru_cache(maxsize=65_536)
def read_address(text: str, network: Network) -> Address:
    """`parse_address`, which is asked for the same few addresses again and again here."""
    return parse_address(text, network)


@lru_cache(maxsize=4_096)
def multisig_address(signers: Iterable[str], view_key: bytes, network: Network) -> str:
    """The shared address of a finished set-up: it depends on who took part, not on who asks."""
    spend = bytes.fromhex(public_key_of("shared spend key", *signers))
    return encode_address(AddressKind.STANDARD, network, spend, public_key(view_key))


@lru_cache(maxsize=4_096)
def half_made_address(view_key: bytes, network: Network) -> str:
    """What a wallet shows between make and exchange: nobody owns its spend key, the identity point.

    `Address` refuses to hold such keys, and so its text is put together by hand here.
    """
    prefix = Address(AddressKind.STANDARD, network, public_key(view_key), public_key(view_key)).network_prefix
    content = bytes([prefix]) + IDENTITY_POINT + public_key(view_key)
    return base58.encode(content + keccak256(content)[:4])
