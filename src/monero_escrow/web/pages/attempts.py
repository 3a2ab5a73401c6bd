"""How often somebody may try to sign in: a key has 256 random bits, so this keeps out load and noise, not luck."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from monero_escrow.clock import Clock
from monero_escrow.core.errors import EscrowError

MOST_FAILURES: Final = 10
WINDOW_SECONDS: Final = 300.0
_MOST_ADDRESSES: Final = 10_000


class TooManyAttemptsError(EscrowError):
    """Too many wrong keys came from one address lately."""

    code = "too_many_attempts"
    what_to_do = f"Wait {WINDOW_SECONDS / 60:g} minutes, then sign in with a key of `monero-escrow keys create`."


@dataclass(slots=True)
class Attempts:
    """Failed sign-ins by the address they came from, in memory: a restart forgives, and so does time."""

    clock: Clock
    _failures: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def require_patience(self, address: str) -> None:
        """Raise TooManyAttemptsError if this address has failed too often lately."""
        failures = self._failures.get(address)
        since = self.clock.monotonic() - WINDOW_SECONDS
        while failures and failures[0] <= since:
            failures.popleft()
        if failures and len(failures) >= MOST_FAILURES:
            raise TooManyAttemptsError("Too many wrong keys were tried from here.")

    def failed(self, address: str) -> None:
        """One more wrong key. Of very many addresses those that were quiet longest are forgotten."""
        self._failures.setdefault(address, deque(maxlen=MOST_FAILURES)).append(self.clock.monotonic())
        self._failures.move_to_end(address)
        while len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Whoever has a key is forgiven the typing errors."""
        self._failures.pop(address, None)
