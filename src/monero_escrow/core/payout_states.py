"""How far a payout is: one table, which is data.

    decided ──► signed ──► broadcast ──► settled
       ▲           │           │  ▲         │
       └───────────┴───────────┘  └─────────┘        each but settled ──► held ──► where it was, or called off,
                                                                                    or written off

A payout goes back to `decided` to be replaced: a new proposal that spends the same anchor. Whatever was signed for it
before stays valid and stored; the network takes one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from monero_escrow.core.errors import InvariantError


class PayoutState(StrEnum):
    """How far a payout is. The values are stored: never rename one."""

    DECIDED = "decided"
    """The plan is fixed and its outputs belong to it."""
    SIGNED = "signed"
    """A judged, fully signed transaction and its txid are durable. It may have been submitted."""
    BROADCAST = "broadcast"
    """The network has it; the raw transaction is kept."""
    SETTLED = "settled"
    """Mined, deep enough; followed until it is final."""
    HELD = "held"
    """Stopped for a person; `trouble` says why and what to do."""
    CALLED_OFF = "called_off"
    """Given up before anything was paid: its outputs belong to no decision any more."""
    WRITTEN_OFF = "written_off"
    """Its coins were spent by a transaction that is not ours; a person has found out where they went."""


_S = PayoutState

PAYOUT_MOVES: Mapping[PayoutState, frozenset[PayoutState]] = {
    _S.DECIDED: frozenset({_S.SIGNED, _S.BROADCAST, _S.HELD}),
    _S.SIGNED: frozenset({_S.BROADCAST, _S.DECIDED, _S.HELD}),
    _S.BROADCAST: frozenset({_S.SETTLED, _S.DECIDED, _S.HELD}),
    _S.SETTLED: frozenset({_S.BROADCAST}),
    _S.HELD: frozenset({_S.DECIDED, _S.SIGNED, _S.BROADCAST, _S.CALLED_OFF, _S.WRITTEN_OFF}),
    _S.CALLED_OFF: frozenset(),
    _S.WRITTEN_OFF: frozenset(),
}
"""From where to where: `decided` straight to `broadcast` when one of its earlier transactions turns up on the network,
`settled` back to `broadcast` when its block fell out of the chain."""

UNDER_WAY: frozenset[PayoutState] = frozenset({_S.DECIDED, _S.SIGNED, _S.BROADCAST})
"""The service itself carries it on."""

DONE: frozenset[PayoutState] = frozenset({_S.SETTLED, _S.CALLED_OFF, _S.WRITTEN_OFF})
"""It stands in the way of no further decision."""


def check_move(now: PayoutState, then: PayoutState) -> None:
    """Raises InvariantError for a move that is not in the table."""
    if then not in PAYOUT_MOVES[now]:
        raise InvariantError(f"A payout that is {now} does not become {then}.")
