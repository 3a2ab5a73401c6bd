"""Monero's Base58: text for bytes, block by block, so that each block of 8 bytes is always 11 characters.

Unlike Bitcoin's, which treats the whole input as one number, it works on blocks of 8 bytes; the last block may be
shorter. The rules are those of Monero's `src/common/base58.cpp`: fixed sizes per block, big-endian numbers, leading
`1`s for zeros. With a number too large for its block refused, each text stands for exactly one byte string and back.

This module knows nothing of addresses, prefixes or checksums.
"""

from __future__ import annotations

from typing import Final

ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""The digits by value. `0`, `O`, `I` and `l` are left out because they are easily taken for each other."""

_DIGIT_VALUES: Final = {character: value for value, character in enumerate(ALPHABET)}
_BASE: Final = len(ALPHABET)
_BLOCK_BYTES: Final = 8
_TEXT_LENGTHS: Final = (0, 2, 3, 5, 6, 7, 9, 10, 11)  # by number of bytes in the block, 0 to 8
_BLOCK_CHARACTERS: Final = _TEXT_LENGTHS[_BLOCK_BYTES]
_BYTE_LENGTHS: Final = {characters: size for size, characters in enumerate(_TEXT_LENGTHS)}


class Base58Error(ValueError):
    """The text is not Monero Base58. The sentence says where; it never repeats the text."""


def encoded_length(size_bytes: int) -> int:
    """How many characters this many bytes become: 95 for the 69 bytes of a standard address."""
    full_blocks, rest_bytes = divmod(size_bytes, _BLOCK_BYTES)
    return full_blocks * _BLOCK_CHARACTERS + _TEXT_LENGTHS[rest_bytes]


def encode(data: bytes) -> str:
    """The Base58 text of these bytes; empty for none."""
    return "".join(_encode_block(data[start : start + _BLOCK_BYTES]) for start in range(0, len(data), _BLOCK_BYTES))


def decode(text: str) -> bytes:
    """The bytes this text stands for.

    Raises `Base58Error` for a character outside the alphabet, a length no byte string has, and a block whose number
    does not fit its bytes.
    """
    foreign = find_foreign_character(text)
    if foreign is not None:
        raise Base58Error(f"character {foreign + 1} is not a Base58 character")
    if len(text) % _BLOCK_CHARACTERS not in _BYTE_LENGTHS:
        raise Base58Error(f"no bytes have a Base58 text of {len(text)} characters")
    return b"".join(
        _decode_block(text[start : start + _BLOCK_CHARACTERS], start)
        for start in range(0, len(text), _BLOCK_CHARACTERS)
    )


def find_foreign_character(text: str) -> int | None:
    """The position (from 0) of the first character that is not Base58, or None."""
    return next((position for position, character in enumerate(text) if character not in _DIGIT_VALUES), None)


def _encode_block(block: bytes) -> str:
    number = int.from_bytes(block, "big")
    digits = []
    for _ in range(_TEXT_LENGTHS[len(block)]):
        number, digit = divmod(number, _BASE)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def _decode_block(block: str, start: int) -> bytes:
    number = 0
    for character in block:
        number = number * _BASE + _DIGIT_VALUES[character]
    try:
        return number.to_bytes(_BYTE_LENGTHS[len(block)], "big")
    except OverflowError:
        raise Base58Error(
            f"characters {start + 1} to {start + len(block)} stand for a number too large for their bytes"
        ) from None
