"""How often somebody may try keys, with the API or at the sign-in: one count an address for both.

A key has 256 random bits, so this keeps out load and noise, not luck. An address that failed too often is answered
without the database. Keys that were good lately are not barred with it: whoever shares a proxy's address with somebody
who guesses goes on working. They still are looked up, so that revoking one counts at once.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from monero_escrow.clock import Clock
from monero_escrow.telemetry.metrics import Metrics
from monero_escrow.web.problems import TooManyAttemptsError
from monero_escrow.web.rates import source_of

MOST_FAILURES: Final = 10
WINDOW_SECONDS: Final = 300.0
LABEL: Final = "attempts"
_MOST_ADDRESSES: Final = 10_000
_MOST_GOOD_KEYS: Final = 10_000


@dataclass(slots=True)
class Attempts:
    """Wrong keys by the address they came from, in memory: a restart forgives, and so does time."""

    clock: Clock
    metrics: Metrics
    _failures: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    _good: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    """Hashes of keys that were found valid, those used last at the end."""

    def require_patience(self, address: str, key: str) -> None:
        """Raise TooManyAttemptsError if this address has failed too often lately, and the key is not known as good."""
        failures = self._failures.get(source_of(address))
        if not failures:
            return
        now = self.clock.monotonic()
        while failures and failures[0] <= now - WINDOW_SECONDS:
            failures.popleft()
        if len(failures) >= MOST_FAILURES and _hash(key) not in self._good:
            self.metrics.rate_limited.labels(LABEL).inc()
            wait_seconds = failures[0] + WINDOW_SECONDS - now
            minutes = math.ceil(wait_seconds / 60)
            raise TooManyAttemptsError(
                "Too many wrong keys were tried from here.",
                retry_after=wait_seconds,
                what_to_do=f"Wait {minutes} minutes, then use a key of `monero-escrow keys create`.",
            )

    def failed(self, address: str) -> None:
        """One more wrong key. Of very many addresses those that were quiet longest are forgotten."""
        source = source_of(address)
        self._failures.setdefault(source, deque(maxlen=MOST_FAILURES)).append(self.clock.monotonic())
        self._failures.move_to_end(source)
        while len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """This key is good: somebody else's guesses do not bar it."""
        hashed = _hash(key)
        self._good[hashed] = None
        self._good.move_to_end(hashed)
        while len(self._good) > _MOST_GOOD_KEYS:
            self._good.popitem(last=False)

    def forgive(self, address: str) -> None:
        """Whoever signed in with a good key is forgiven the typing errors."""
        self._failures.pop(source_of(address), None)


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
