"""What must never happen in a test on the fake, as errors no service code may catch."""

from __future__ import annotations


class NotModelledError(AssertionError):
    """The fake was asked for something of which the conformance suite does not say what the real program does."""


class NonceReusedError(AssertionError):
    """Two different transactions were signed with one nonce: on the real network that gives the key away."""


class NonceLedger:
    """Every nonce ever used on a chain, and what for; it outlives the processes, as a thief's memory would.

    Monero itself lets a wallet propose twice on one export and leaves it to the signers to sign one of the two
    (`tests/conformance/test_spending.py`). The service exports anew before each proposal, so the ledger takes the
    second for a fault unless `second_proposals_allowed`.
    """

    def __init__(self, *, second_proposals_allowed: bool = False) -> None:
        self._used: dict[str, str] = {}
        self._second_proposals_allowed = second_proposals_allowed

    def proposed(self, nonce: str, transaction: str) -> None:
        """The proposer's part of a signature left with a proposal; NonceReusedError for a second, other one."""
        if not self._second_proposals_allowed:
            self.signed(nonce, transaction)

    def signed(self, nonce: str, transaction: str) -> None:
        """The cosigner's part left; NonceReusedError if that nonce has signed another transaction."""
        if self._used.setdefault(nonce, transaction) != transaction:
            raise NonceReusedError(f"The nonce {nonce[:8]}… signed two different transactions.")
