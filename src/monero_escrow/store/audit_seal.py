"""What binds the audit trail together: the bytes of a row, its link to the row before, its seal, and signatures.

    hash  = BLAKE2b-256(hash of the row before in its chain ‖ the row's bytes)    anybody can reckon it
    mac   = BLAKE2b-256 keyed (hash ‖ the row's bytes)                            only who has the master key
    head  = the chain's last sequence number and hash, under a mac of its own     a cut-off tail shows

Keys are derived from the sealing key, which is derived from the master key. Checkpoints are signed (Ed25519), so that
who has the public key alone can check them. No I/O here, and no table: the rules are those of
docs/decisions/0022-the-audit-trail-is-chained.md.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from monero_escrow.store.sealing import derive_key

HASH_BYTES: Final = 32
GENESIS: Final = bytes(HASH_BYTES)
"""In place of the hash of a row before the first."""

_ROW: Final = b"escrow-audit-row"
_MAC: Final = b"escrow-audit-mac"
_HEAD: Final = b"escrow-audit-end"
_CHECKPOINT: Final = b"escrow-audit-chk"  # BLAKE2b's personalisation: 16 bytes, which keep the four apart

_JSON: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)

Head = tuple[str, int, str]
"""Chain, sequence number of its last row, and that row's hash in hex."""


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row of the trail with everything that is bound: whatever is not here may not matter to anybody.

    `chained_at` is only in rows that were written without a chain (by an earlier version) and chained later. Their ids,
    known by then, are bound as well (`late_id`); the others' are the database's to give, and only their order counts.
    """

    chain: str
    seq: int
    escrow_id: str | None
    at: float
    actor: str
    action: str
    from_state: str | None
    to_state: str | None
    detail: Mapping[str, Any]
    source: str | None
    result: str | None
    chained_at: float | None
    late_id: int | None = None

    def canonical(self) -> bytes:
        """The row's bytes: JSON of its values in this order, keys sorted, ASCII, no spaces."""
        values = (
            *(self.chain, self.seq, self.escrow_id, self.at, self.actor, self.action, self.from_state, self.to_state),
            *(self.detail, self.source, self.result, self.chained_at, self.late_id),
        )
        return _JSON.encode(values).encode()


def chain_of(escrow_id: str | None, trio_id: str | None, node: str) -> str:
    """The chain a row belongs to."""
    if escrow_id is not None:
        return escrow_id
    return f"node:{node}" if trio_id is None else f"trio:{trio_id}"


def name_of(chain: str) -> str:
    """A chain as people are told of it: "escrow 3f…", "trio 9a…", "node main"."""
    kind, colon, name = chain.partition(":")
    return f"{kind} {name}" if colon else f"escrow {chain}"


def link(previous: bytes, canonical: bytes) -> bytes:
    """The hash of a row that follows the one with the hash `previous`."""
    return hashlib.blake2b(previous + canonical, digest_size=HASH_BYTES, person=_ROW).digest()


@dataclass(frozen=True, slots=True)
class AuditSeal:
    """The trail's secret keys, as the service and its commands have them."""

    key: bytes = field(repr=False)
    _signing: Ed25519PrivateKey = field(repr=False)

    def of_row(self, row_hash: bytes, canonical: bytes) -> bytes:
        """The mac of a row."""
        return self._mac(_MAC, row_hash + canonical)

    def of_head(self, chain: str, seq: int, row_hash: bytes) -> bytes:
        """The mac of a chain's head."""
        return self._mac(_HEAD, row_hash + _JSON.encode((chain, seq)).encode())

    def _mac(self, purpose: bytes, message: bytes) -> bytes:
        return hashlib.blake2b(message, key=self.key, digest_size=HASH_BYTES, person=purpose).digest()

    def sign(self, digest: bytes) -> bytes:
        """The signature (64 bytes) of a checkpoint's digest."""
        return self._signing.sign(digest)

    @property
    def public_key(self) -> bytes:
        """With these 32 bytes anybody checks what was signed."""
        return self._signing.public_key().public_bytes_raw()


@lru_cache(maxsize=8)
def audit_seal(sealing_key: bytes) -> AuditSeal:
    """The trail's keys, from the key that seals this database's secrets."""
    signing = Ed25519PrivateKey.from_private_bytes(derive_key(sealing_key, "audit checkpoints"))
    return AuditSeal(derive_key(sealing_key, "audit rows"), signing)


def seal_of(master_key: bytes) -> AuditSeal:
    """The trail's keys, from the service's master key (32 bytes), where there is no database to ask."""
    return audit_seal(derive_key(master_key, "sealing"))


def same(one: bytes, other: bytes) -> bool:
    """Whether two macs are equal, found out in a time that tells nothing."""
    return hmac.compare_digest(one, other)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where chains stood at one time: signed, and bound to the checkpoint before, so that none can be left out.

    `heads` are those of the chains that grew since the checkpoints before, sorted by name.
    """

    number: int
    at: float
    previous: bytes
    heads: Sequence[Head]
    signature: bytes

    @property
    def digest(self) -> bytes:
        """What is signed."""
        return checkpoint_digest(self.number, self.at, self.previous, self.heads)

    def signed_by(self, public_key: bytes) -> bool:
        """Whether who has the secret key to this public key made it."""
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(self.signature, self.digest)
        except (InvalidSignature, ValueError):
            return False
        return True


def checkpoint_digest(number: int, at: float, previous: bytes, heads: Sequence[Head]) -> bytes:
    """Over the digest of the checkpoint before and everything in this one."""
    values = _JSON.encode((number, at, [list(head) for head in heads])).encode()
    return hashlib.blake2b(previous + values, digest_size=HASH_BYTES, person=_CHECKPOINT).digest()
