"""Idempotency-Key: the same key with the same request has the same answer, and is carried out once.

The answer is recorded in the transaction of the action itself, so there is no moment at which one exists without the
other. Only successes are recorded: an error changed nothing, and the same request may be tried again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from monero_escrow.core.errors import InvalidInputError
from monero_escrow.store.transaction import Transaction

HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotent-Replayed"

_KEY = re.compile(r"[\x20-\x7e]{1,128}")


class IdempotencyKeyError(InvalidInputError):
    """The Idempotency-Key cannot be used."""

    code = "invalid_idempotency_key"
    what_to_do = "Use 1 to 128 printable ASCII characters, for example a random UUID."


class IdempotencyKeyReusedError(InvalidInputError):
    """The Idempotency-Key was used for another request."""

    code = "idempotency_key_reused"
    what_to_do = "Use a new key for each new request, and the same key only to repeat one."


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request that can be recognised. `caller` is whose key it is; without a `key` nothing is recorded."""

    caller: str
    key: str | None
    fingerprint: str

    @classmethod
    def of(cls, caller: str, key: str | None, method: str, path: str, body: Mapping[str, Any]) -> Repeatable:
        """Equal fingerprints for equal requests, however their JSON was written. Raises IdempotencyKeyError."""
        if key is not None and not _KEY.fullmatch(key):
            raise IdempotencyKeyError("The Idempotency-Key is empty, too long, or not printable ASCII.")
        text = json.dumps([method, path, body], sort_keys=True, separators=(",", ":"))
        return cls(caller, key, hashlib.sha256(text.encode()).hexdigest())

    def recorded_answer(self, tx: Transaction) -> dict[str, Any] | None:
        """The answer this very request had. Raises IdempotencyKeyReusedError if the key answered for another one."""
        found = None if self.key is None else tx.idempotency.find(self.caller, self.key)
        if found is None:
            return None
        fingerprint, answer = found
        if fingerprint != self.fingerprint:
            raise IdempotencyKeyReusedError("This Idempotency-Key belongs to another request.")
        return dict(answer) or None

    def reserve(self, tx: Transaction, now: float) -> dict[str, Any] | None:
        """Before work that takes several transactions: from here on the key belongs to this request, answered or not.

        The answer it had already, if any. Raises IdempotencyKeyReusedError.
        """
        if self.key is None:
            return None
        if tx.idempotency.find(self.caller, self.key) is None:
            tx.idempotency.add(self.caller, self.key, self.fingerprint, {}, now)
        return self.recorded_answer(tx)

    def record_answer(self, tx: Transaction, answer: Mapping[str, Any], now: float) -> None:
        """Keep the answer, in the transaction of what it tells of."""
        if self.key is not None:
            tx.idempotency.put(self.caller, self.key, self.fingerprint, answer, now)
