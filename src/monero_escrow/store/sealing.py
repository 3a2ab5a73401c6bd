"""Sealing: every secret in the database is encrypted once more by us, bound to its row and purpose.

AES-256-GCM under a key of its own, with "purpose|row" as associated data, so a sealed value moved to another row or
column does not open. The first bytes name the key, so that keys can be rotated. The database file is encrypted as a
whole besides.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from monero_escrow.core.errors import EscrowError

_NONCE_BYTES = 12
_KEY_ID_BYTES = 4


class SealBrokenError(EscrowError):
    """A sealed value does not open: another key, another row, or changed bytes."""

    code = "seal_broken"
    what_to_do = "Check that the sealing key belongs to this database. If it does, restore the row from a backup."


def derive_key(master: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose from the 32-byte master key (HKDF-SHA256)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"monero-escrow/{purpose}".encode()).derive(master)


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals with one key and opens with it; `key_id` (8 hex digits) names the key without telling it."""

    key: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        return hashlib.sha256(b"monero-escrow/key-id" + self.key).hexdigest()[: 2 * _KEY_ID_BYTES]

    def seal(self, purpose: str, row: str, secret: str) -> bytes:
        """Encrypt `secret` so that it opens only for this purpose and row."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self.key).encrypt(nonce, secret.encode(), _context(purpose, row))
        return bytes.fromhex(self.key_id) + nonce + sealed

    def open(self, purpose: str, row: str, sealed: bytes) -> str:
        """The secret. Raises SealBrokenError, which never shows a byte of it."""
        key_id, nonce = sealed[:_KEY_ID_BYTES].hex(), sealed[_KEY_ID_BYTES : _KEY_ID_BYTES + _NONCE_BYTES]
        if key_id != self.key_id:
            raise SealBrokenError(f"The {purpose} was sealed with key {key_id}; the service has key {self.key_id}.")
        try:
            opened = AESGCM(self.key).decrypt(nonce, sealed[_KEY_ID_BYTES + _NONCE_BYTES :], _context(purpose, row))
        except (InvalidTag, ValueError):  # ValueError: cut off within the nonce
            raise SealBrokenError(f"The sealed {purpose} of this row was changed or belongs to another row.") from None
        return opened.decode()


def _context(purpose: str, row: str) -> bytes:
    return f"{purpose}|{row}".encode()
