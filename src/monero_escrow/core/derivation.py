"""What sender and receiver of an output share: the point D, and what follows from it.

With a transaction's public key R and a private view key a, D = 8·a·R (`generate_key_derivation` in Monero's
`src/crypto/crypto.cpp`). From D and the output's position come its view tag, its one-time key and its amount.

**The fast way.** Multiplying a point of Ed25519 costs libsodium 70 µs, on the Montgomery form of the same curve 34:
that one (X25519, RFC 7748) climbs a ladder on the coordinate u = (1+y)/(1−y) alone. Two things are in the way.

- X25519 wants its number k to be a multiple of 8 with bit 254 as its highest. Since D = 8·a·R = ±8·(l−a)·R and u does
  not know the sign, k is 8a or 8(l−a), whichever has bit 254: exactly one of the two, but for one key in 2^126. And a
  multiple of 8 takes out whatever part of small order R has, as Monero's own multiplication by 8 does.
- From u comes y = (u−1)/(u+1), with one inversion for many (Montgomery's trick: P. L. Montgomery, "Speeding the Pollard
  and elliptic curve methods of factorization", 1987, section 10.3.1), but not the sign of x, which is the top bit of D
  as Monero writes it. Finding it out costs more than hashing both, so both are tried.

`tests/property/test_derivation_properties.py` holds the fast way to the plain one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from monero_escrow.core.curve import GROUP_ORDER, IDENTITY_POINT, KEY_BYTES, keccak256, scalar_reduce

_P: Final = 2**255 - 19
_SIGN: Final = 0x80
_LEAST_LADDER_SCALAR: Final = 2**251
_ENCRYPTED_AMOUNT_BYTES: Final = 8


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first (`src/common/varint.h`)."""
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


# --- what follows from D ---


def view_tag(shared: bytes, index: int) -> int:
    """The byte that tells all but one in 256 that the output at this position is not theirs (`derive_view_tag`)."""
    return keccak256(b"view_tag" + shared + varint(index))[0]


def output_scalar(shared: bytes, index: int) -> bytes:
    """Hs(D, i), the secret of one output (`derivation_to_scalar`)."""
    return scalar_reduce(keccak256(shared + varint(index)))


def output_key(scalar: bytes, public_spend_key: bytes) -> bytes:
    """The one-time key Hs(D, i)·G + B (`derive_public_key`). CryptoError unless B is a point."""
    return bindings.crypto_core_ed25519_add(bindings.crypto_scalarmult_ed25519_base_noclamp(scalar), public_spend_key)


def spend_key_of(scalar: bytes, one_time_key: bytes) -> bytes:
    """The other way round: to whom the output belongs if this is its scalar. CryptoError unless the key is a point."""
    return bindings.crypto_core_ed25519_sub(one_time_key, bindings.crypto_scalarmult_ed25519_base_noclamp(scalar))


def amount_with(scalar: bytes, amount: bytes) -> bytes:
    """Encrypt or decrypt an amount, 8 bytes, little-endian (`ecdhHash` in `src/ringct/rctOps.cpp`)."""
    mask = keccak256(b"amount" + scalar)[:_ENCRYPTED_AMOUNT_BYTES]
    return bytes(one ^ other for one, other in zip(mask, amount, strict=True))


# --- D ---


def without_small_order(key: bytes) -> bytes:
    """8·R of what stands where a transaction's public key belongs; the identity point if it is none.

    That is what a wallet goes on with: wallet2 takes the identity for D when it cannot read R (`scan_tx`), as R is one
    of small order. What it can read is what `ge_frombytes_vartime` can: canonical, on the curve, and no minus zero.
    """
    y = int.from_bytes(key, "little") & ~(1 << 255)
    if len(key) != KEY_BYTES or y >= _P or (y in (1, _P - 1) and key[-1] & _SIGN):
        return IDENTITY_POINT
    point = key
    try:
        for _ in range(3):
            point = bindings.crypto_core_ed25519_add(point, point)
    except CryptoError:
        return IDENTITY_POINT
    return point


def shared_point(private_view_key: bytes, eightfold_key: bytes) -> bytes:
    """D = a·(8R), the plain way. `eightfold_key` is of `without_small_order`."""
    if eightfold_key == IDENTITY_POINT:
        return IDENTITY_POINT
    return bindings.crypto_scalarmult_ed25519_noclamp(private_view_key, eightfold_key)


def ladder_scalar(private_view_key: bytes) -> bytes | None:
    """The number by which X25519 makes u(±8·a·R) of u(R); None for the one key in 2^126 that has none."""
    scalar = int.from_bytes(private_view_key, "little")
    for either in (scalar, GROUP_ORDER - scalar):
        if _LEAST_LADDER_SCALAR <= either < 2 * _LEAST_LADDER_SCALAR:
            return (8 * either).to_bytes(KEY_BYTES, "little")
    return None


def ladder_coordinate(key: bytes) -> bytes:
    """u(R) for `shared_y`. R must be a point of which `without_small_order` leaves something."""
    y = int.from_bytes(key, "little") & ~(1 << 255)
    return ((1 + y) * pow(1 - y, -1, _P) % _P).to_bytes(KEY_BYTES, "little")


def shared_y(ladder_scalars: Sequence[bytes], coordinate: bytes) -> list[bytes]:
    """For each number, the y of its D, 32 bytes: that is D as Monero writes it, or D with the top bit set besides.

    The library lets other threads run while it multiplies.
    """
    numerators, denominators, products = [], [], []
    product = 1
    for scalar in ladder_scalars:
        u = int.from_bytes(bindings.crypto_scalarmult(scalar, coordinate), "little")
        products.append(product)
        product = product * (u + 1) % _P
        numerators.append(u - 1)
        denominators.append(u + 1)
    inverse = pow(product, -1, _P)  # u is never −1: that point has order 4
    ys = [b""] * len(products)
    for place in range(len(products) - 1, -1, -1):
        ys[place] = (inverse * products[place] % _P * numerators[place] % _P).to_bytes(KEY_BYTES, "little")
        inverse = inverse * denominators[place] % _P
    return ys


def both_signs(y: bytes) -> tuple[bytes, bytes]:
    """The two points with this y, as Monero writes them."""
    return y, y[:-1] + bytes((y[-1] | _SIGN,))
