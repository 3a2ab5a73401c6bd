"""What is done about a payout step that failed: wait, try again with everything fresh, replace, or ask a person.

`REMEDIES` is the table, read from the top; `docs/recovery.md` prints it. Only what can be told from an error's class
goes in here. Nothing is repeated in place: the next try begins with asking where the payout truly is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from monero_escrow.core.errors import EscrowError, InvariantError, UnavailableError
from monero_escrow.core.judgement import PayoutStoppedError
from monero_escrow.escrows.pay_out import FeeUnsettledError
from monero_escrow.escrows.signers import PerhapsPaidError, SignersDisagreeError
from monero_escrow.fleet.pool import LeaseLostError
from monero_escrow.monero.errors import (
    MoneroRpcError,
    MultisigSubmissionError,
    NoDaemonError,
    NotEnoughDecoysError,
    NotMoneroError,
    TransactionRefusedError,
    TransportError,
)
from monero_escrow.store.work_table import ClaimLostError


class Remedy(StrEnum):
    """What follows a failed step."""

    WAIT = "wait"
    """Something around the payout is away. Tried again after growing pauses for as long as it takes."""
    TRY_FRESH = "try again with fresh infos"
    """Tried again after growing pauses, every few times with rebuilt wallets; a bounded number of times, then held."""
    REPLACE = "replace"
    """The network refused the transaction: after a few tries, another proposal that spends the same anchor."""
    HOLD = "hold"
    """Nothing more is signed before a person has looked."""


@dataclass(frozen=True, slots=True)
class Rule:
    """These errors mean this, so that is done; `person` says what somebody must do once it is held."""

    errors: tuple[type[EscrowError], ...]
    means: str
    remedy: Remedy
    person: str = ""


_LOOK_AT_WALLETS = (
    "look at the wallet-rpc processes' logs, and whether their daemon is the service's; then resume the payout."
)

REMEDIES: tuple[Rule, ...] = (
    Rule(
        (PayoutStoppedError, InvariantError),
        "the set is not the plan, an output is spent by somebody else, or something that must hold does not",
        Remedy.HOLD,
        "Find out which transaction spends the escrow's outputs, or which process answered wrongly; only then resume "
        "the payout, or replace it.",
    ),
    Rule(
        (PerhapsPaidError,),
        "an output is spent, perhaps by an earlier transaction of ours",
        Remedy.TRY_FRESH,
        "The daemon calls an output spent, and knows no transaction of ours. Ask another one; then resume the payout.",
    ),
    Rule(
        (SignersDisagreeError, FeeUnsettledError),
        "the wallets see different outputs, or not yet those of the plan; or the fee moves with every proposal",
        Remedy.TRY_FRESH,
        "See whether the deposit is still on the chain. If a reorganisation took it out for good, call the payout off. "
        "Otherwise: " + _LOOK_AT_WALLETS,
    ),
    Rule(
        (TransactionRefusedError, MultisigSubmissionError),
        "the network does not take the signed transaction",
        Remedy.REPLACE,
        "The daemon refused several transactions. Look at its log for the reason; then replace the payout.",
    ),
    Rule(
        (NoDaemonError, NotEnoughDecoysError),
        "a wallet's daemon is away or still young",
        Remedy.WAIT,
    ),
    Rule(
        (MoneroRpcError, NotMoneroError),
        "a stale signature, a missing import, a failed refresh, another refusal, or an answer that is none of Monero's",
        Remedy.TRY_FRESH,
        "Before anything else " + _LOOK_AT_WALLETS,
    ),
    Rule(
        (TransportError, LeaseLostError, ClaimLostError, UnavailableError),
        "a process, the daemon or the database does not answer, no slot is free, or another node goes on with it",
        Remedy.WAIT,
    ),
)


_UNFORESEEN = Rule(
    (EscrowError,),
    "nobody foresaw it",
    Remedy.HOLD,
    "The log of that moment says more. Find out what it means, and report it; only then resume the payout.",
)


def rule_for(error: EscrowError) -> Rule:
    """The first rule that names the error's class. What nobody foresaw is for a person."""
    return next((rule for rule in REMEDIES if isinstance(error, rule.errors)), _UNFORESEEN)
