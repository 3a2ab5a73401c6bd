"""Everything that travels as text between wallets, and from wallets to the chain: readable back, on any process.

Real messages are signed with fresh randomness, so a repeated call gives other bytes with the same meaning; so do these
(`salt`). Reading looks at the meaning alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_KEY_EXCHANGE_PREFIX = "MultisigxV2R"


class UnreadableError(Exception):
    """The text is no message of this kind; each call answers that with a refusal of its own."""


def write_key_exchange(round_number: int, salt: str, **content: str) -> str:
    """A message of the key exchange, with the prefix Monero's have."""
    return _KEY_EXCHANGE_PREFIX + write(f"round {round_number}", salt=salt, **content)


def read_key_exchange(text: str) -> tuple[int, Mapping[str, Any]]:
    """The round that made a message, and what it says."""
    kind, content = _read(text.removeprefix(_KEY_EXCHANGE_PREFIX))
    if not text.startswith(_KEY_EXCHANGE_PREFIX) or not kind.startswith("round "):
        raise UnreadableError
    return int(kind.removeprefix("round ")), content


def write(kind: str, **content: object) -> str:
    """Any other text: hexadecimal, as wallet-rpc's blobs are."""
    return json.dumps([kind, content], separators=(",", ":")).encode().hex()


def read(kind: str, text: str) -> Mapping[str, Any]:
    """What a text of this kind says; UnreadableError if it is none."""
    found, content = _read(text)
    if found != kind:
        raise UnreadableError
    return content


def _read(text: str) -> tuple[str, dict[str, Any]]:
    try:
        kind, content = json.loads(bytes.fromhex(text))
    except (ValueError, TypeError):
        raise UnreadableError from None
    if not isinstance(kind, str) or not isinstance(content, dict):
        raise UnreadableError
    return kind, content
