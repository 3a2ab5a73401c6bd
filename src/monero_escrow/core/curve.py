"""Ed25519 as Monero uses it: the hash, the scalars and the points, each a thin function over a library.

Scalars and points are 32 bytes, little-endian, as in Monero's `src/crypto`. Nothing here makes randomness, and nothing
is clamped: Monero's private keys are plain numbers modulo the group order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from Crypto.Hash import keccak
from nacl import bindings

KEY_BYTES: Final = 32
GROUP_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""The prime order of the subgroup that the base point generates (`l` in Monero's source)."""

IDENTITY_POINT: Final = b"\x01" + bytes(KEY_BYTES - 1)
"""The neutral element: the "public key" of the private key zero. As a spend key it means nobody made a real one."""

_ZERO_SCALAR: Final = bytes(KEY_BYTES)
_EIGHTH: Final = pow(8, -1, GROUP_ORDER).to_bytes(KEY_BYTES, "little")


def keccak256(data: bytes) -> bytes:
    """Monero's `cn_fast_hash`: Keccak-256 with the padding from before SHA-3 was standardised. 32 bytes."""
    return keccak.new(digest_bits=256, data=data).digest()


def scalar_reduce(number: bytes) -> bytes:
    """A 32-byte number modulo the group order (`sc_reduce32`); ValueError for any other length."""
    if len(number) != KEY_BYTES:
        raise ValueError(f"a scalar is {KEY_BYTES} bytes, not {len(number)}")
    # libsodium reduces 64 bytes at a time; the upper half is zero here.
    return bindings.crypto_core_ed25519_scalar_reduce(number + bytes(KEY_BYTES))


def is_private_key(scalar: bytes) -> bool:
    """Whether these bytes are a private key: 32 of them, reduced, and not zero."""
    return len(scalar) == KEY_BYTES and scalar != _ZERO_SCALAR and scalar_reduce(scalar) == scalar


def public_key(private_key: bytes) -> bytes:
    """The public key: private key times base point, unclamped.

    ValueError for what is no private key, so that this can never return the identity point.
    """
    if not is_private_key(private_key):
        raise ValueError("not a private key: it must be a reduced scalar of 32 bytes, and not zero")
    return bindings.crypto_scalarmult_ed25519_base_noclamp(private_key)


@lru_cache(16_384)  # of public keys alone, and the same ones again and again: a trio's address is checked many times
def is_prime_order_point(encoded: bytes) -> bool:
    """Whether these bytes are the one right encoding of a point a private key can belong to.

    That is: 32 bytes, canonical, on the curve, in the prime-order subgroup, and not the identity. Every key made
    honestly passes. Monero's own `validate_address` is no substitute: 0.18.5.3 refuses what this refuses, but 0.18.4.0
    takes any point on the curve, the identity included.
    """
    if len(encoded) != KEY_BYTES or not bindings.crypto_core_ed25519_is_valid_point(encoded):
        return False
    # libsodium before the end of 2025, PyNaCl 1.5's included, takes a good point plus the point of order two for a good
    # one (CVE-2025-69277). Going there and back through the subgroup drops any such part, so only a good point returns.
    point = bindings.crypto_scalarmult_ed25519_noclamp(_EIGHTH, encoded)
    for _ in range(3):
        point = bindings.crypto_core_ed25519_add(point, point)
    return point == encoded
