"""What an operator may do about a held payout: each choice in a sentence, and what must be true for it. Pure.

The choices are the API's (`web/payouts.py`); whether one is right is judged by `escrows/held.py` when it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from monero_escrow.core.errors import ConflictError, NotFoundError
from monero_escrow.core.words import moment
from monero_escrow.store.records import AuditRecord, PayoutRecord, PayoutState
from monero_escrow.web.pages.words import sentence


class HeldPayoutChangedError(ConflictError):
    """The payout is not held any more as the operator was shown it: another was first, or it went on."""

    code = "held_payout_changed"
    what_to_do = "Nothing was done by you. Look at the escrow's page, then decide again if anything is left to decide."


@dataclass(frozen=True, slots=True)
class HeldChoice:
    """One thing to do. `name` is the API's; `grave` cannot be taken back, `asks_reason` says where the coins went."""

    name: str
    does: str
    must_be_true: str
    grave: bool = False
    asks_reason: bool = False

    @property
    def title(self) -> str:
        """On its button: "Call off"."""
        return sentence(self.name)


CHOICES: Final = (
    HeldChoice(
        "resume",
        "Goes on where it stopped: what was signed is sent and followed, and if nothing was, it is signed. "
        "It cannot pay twice.",
        "What stopped it is put right, or has passed.",
    ),
    HeldChoice(
        "replace",
        "Signs the same payout anew, by another transaction that spends the same coin: the network takes one of the "
        "two at most.",
        "The transaction that was signed is not taken by the network, and resuming it did not help.",
    ),
    HeldChoice(
        "call-off",
        "Gives the payout up. The escrow awaits its deposit again, or a ruling, and is decided about anew.",
        "It can never be mined: nothing was ever signed for it, or its deposit fell out of the chain for good. The "
        "chain is asked first; otherwise nothing is done.",
        grave=True,
    ),
    HeldChoice(
        "write-off",
        "Closes the payout without paying. Nothing is ever decided about its coins again; with the last open payout, "
        "the escrow is settled.",
        "Its coins were spent by a transaction that is not this service's. The chain is asked first; otherwise nothing "
        "is done.",
        grave=True,
        asks_reason=True,
    ),
)
_BY_NAME: Final = {choice.name: choice for choice in CHOICES}


def choice_of(name: str) -> HeldChoice:
    """The choice that a page's address names. Raises NotFoundError."""
    if name not in _BY_NAME:
        raise NotFoundError("There is no such thing to do about a payout.")
    return _BY_NAME[name]


@dataclass(frozen=True, slots=True)
class Holding:
    """A payout that is held, and since which row of the audit trail: held again later, it has another one."""

    payout: PayoutRecord
    since_row: int

    @property
    def shown(self) -> str:
        """What a form holds, so that what is done was decided about this holding."""
        return str(self.since_row)


def holding_of(payouts: Sequence[PayoutRecord], history: Sequence[AuditRecord], number: int) -> Holding:
    """The payout as it is held now. Raises NotFoundError, and HeldPayoutChangedError if it is not held (any more)."""
    payout = next((payout for payout in payouts if payout.number == number), None)
    if payout is None:
        raise NotFoundError("This escrow has no such payout.")
    if payout.state is not PayoutState.HELD:
        raise HeldPayoutChangedError(
            f"Payout {number} is {payout.state} now, not held.{_what_was_done(history, number)}"
        )
    rows = [row.id for row in history if row.action == "payout_held" and row.detail.get("payout") == number]
    return Holding(payout, max(rows, default=0))


def require_shown(holding: Holding, shown: str, history: Sequence[AuditRecord]) -> None:
    """Raise HeldPayoutChangedError unless this is the holding that the operator was shown."""
    if holding.shown != shown:
        number = holding.payout.number
        told = _what_was_done(history, number)
        raise HeldPayoutChangedError(f"Payout {number} was taken up meanwhile, and is held again.{told}")


def _what_was_done(history: Sequence[AuditRecord], number: int) -> str:
    """The last thing that somebody did about this payout, if anybody did."""
    done = [row for row in history if row.detail.get("payout") == number and row.actor.startswith("operator:")]
    if not done:
        return ""
    return (
        f" The last that was done: {sentence(done[-1].action).lower()}, by {done[-1].actor} at {moment(done[-1].at)}."
    )
