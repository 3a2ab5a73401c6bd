"""Monero's Base58: one text for each byte string, and nothing else is read."""

from __future__ import annotations

import pytest

from monero_escrow.core import base58


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\x00", "11"),
        (b"\x39", "1z"),
        (b"\xff", "5Q"),
        (bytes(8), "1" * 11),
        (b"\xff" * 8, "jpXCZedGfVQ"),
        (b"\x06\x15\x60\x13\x76\x28\x79\xf7", "22222222222"),
        (bytes(9), "1" * 13),
    ],
)
def test_base58_has_one_text_for_each_byte_string(data: bytes, text: str) -> None:
    assert base58.encode(data) == text
    assert base58.decode(text) == data
    assert base58.encoded_length(len(data)) == len(text)


@pytest.mark.parametrize("length", [1, 4, 8, 12, 15, 19])
def test_base58_refuses_lengths_that_no_bytes_have(length: int) -> None:
    with pytest.raises(base58.Base58Error, match=f"{length} characters"):
        base58.decode("1" * length)


@pytest.mark.parametrize("text", ["5R", "zz", "jpXCZedGfVR", "zzzzzzzzzzz", "111111111115R"])
def test_base58_refuses_numbers_too_large_for_their_bytes(text: str) -> None:
    with pytest.raises(base58.Base58Error, match="too large"):
        base58.decode(text)


def test_base58_refuses_characters_outside_its_alphabet() -> None:
    with pytest.raises(base58.Base58Error, match="character 3 "):
        base58.decode("11O11")
