"""How often a payout that does not succeed is tried again, and with what, before a person is asked.

Every try opens both signers' wallets, exchanges their infos anew and makes a new proposal: that alone repairs stale
signatures, missing imports and wallets that were behind. Where it does not, the fault may lie in the wallets' files,
which are caches: now and then they are rebuilt instead of opened. What the network refuses is replaced by another
proposal that spends the same anchor.
"""

from __future__ import annotations

MOST_FAILURES = 12
"""Failures in a row, in one state, before a payout is held: minutes, for pauses grow and each block cuts them short."""

MOST_REPLACEMENTS = 3
"""Transactions the network refused, before a payout is held."""

REFUSALS_BEFORE_REPLACEMENT = 3
"""How often one signed transaction is refused before it is replaced: a daemon may be behind for a moment."""

_TRIES_BETWEEN_REBUILDINGS = 4


def distrusts_files(failures: int) -> bool:
    """Whether this try rebuilds the wallets: the fourth, the eighth, and so on."""
    return failures > 0 and failures % _TRIES_BETWEEN_REBUILDINGS == 0


def gives_up(failures: int) -> bool:
    """Whether so many failures are enough to ask a person."""
    return failures >= MOST_FAILURES


def replaces(refusals: int) -> bool:
    """Whether a transaction that was refused so often is replaced."""
    return refusals >= REFUSALS_BEFORE_REPLACEMENT
