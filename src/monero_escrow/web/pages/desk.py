"""The arbiter's desk: a split in figures, and the exact payout it would be, before anybody signs. Pure.

The preview is drawn by the very code that the ruling is made with. Its fingerprint goes with the form, and so does
which dispute it was and how much was said in it: what is ruled is what was looked at, or nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from monero_escrow.core.errors import ConflictError, InvalidInputError
from monero_escrow.core.fees import FeeRate
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import SHARES_TOTAL, Plan, Terms, net_payments
from monero_escrow.store.records import AuditRecord, EvidenceRecord
from monero_escrow.web.pages.outcome import percent

_PERCENT: Final = re.compile(r"([0-9]{1,3})(?:[.,]([0-9]{1,2}))?")
_LONGEST_TYPED: Final = 40


class RulingChangedError(ConflictError):
    """The payout would not be any more what the arbiter was shown."""

    code = "ruling_changed"
    what_to_do = "Look at the new payout, then rule."


class DisputeChangedError(ConflictError):
    """It is another dispute than the one that the arbiter read, or more was said in it."""

    code = "dispute_changed"
    what_to_do = "Nothing was done by you. Open the dispute anew and read what is there now, then decide."


class NoShareError(InvalidInputError):
    """What was typed is no share."""

    code = "no_share"
    what_to_do = "Correct the share; nothing was changed."


@dataclass(frozen=True, slots=True)
class Reading:
    """What of an escrow's disputes a page shows: the row of the trail that the last one began with, and the newest
    evidence; 0 where there is none. Both only grow, so equal readings are of the same dispute and of the same words."""

    dispute_row: int
    evidence: int

    @classmethod
    def of(cls, history: Sequence[AuditRecord], evidence: Sequence[EvidenceRecord]) -> Reading:
        """What there is to be read now."""
        begun = (row.id for row in history if row.to_state == State.DISPUTED)
        return cls(max(begun, default=0), max((said.id for said in evidence), default=0))

    @property
    def seen(self) -> str:
        """What a form holds, so that what is decided was decided about this."""
        return f"{self.dispute_row}-{self.evidence}"

    def require(self, seen: str) -> None:
        """Raise DisputeChangedError unless this is what was seen."""
        if seen == self.seen:
            return
        if seen.partition("-")[0] == str(self.dispute_row):
            raise DisputeChangedError("More was said by the parties than what you looked at.")
        raise DisputeChangedError("The dispute is not any more the one that you looked at.")


@dataclass(frozen=True, slots=True)
class TypedShare:
    """The buyer's share as it stands in the field: what was typed, and the parts of 10,000 that it is, if it is any."""

    text: str
    parts: int | None

    @classmethod
    def of(cls, text: str) -> TypedShare:
        """Whatever was typed; what is no share is kept to be shown again, as far as a field needs it."""
        try:
            return cls(text, parse_percent(text))
        except NoShareError:
            return cls(text[:_LONGEST_TYPED], None)

    @property
    def trouble(self) -> str:
        """What stands beside the field; empty when all is well."""
        return "A number from 0 to 100, at most two decimals." if self.parts is None else ""

    @property
    def slider(self) -> str:
        """Where the slider is: in the middle while nobody knows better."""
        return percent(SHARES_TOTAL // 2 if self.parts is None else self.parts)


@dataclass(frozen=True, slots=True)
class Payee:
    """One recipient: whose address it is, and what arrives there after the network fee, in piconero."""

    who: str
    address: str
    amount_piconero: int


@dataclass(frozen=True, slots=True)
class PayoutPreview:
    """One transaction as it would be proposed. The fee is an estimate: the wallet's own may be a little other."""

    payees: tuple[Payee, ...]
    fee_piconero: int
    total_piconero: int
    outputs: int
    signers: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Split:
    """What an arbiter thinks of: the buyer's share, parts of 10,000, and what it would pay or why it cannot."""

    buyer_share: int
    payouts: tuple[PayoutPreview, ...] = ()
    fingerprint: str = ""
    refused: str = ""

    @property
    def vendor_share(self) -> int:
        """The rest, parts of 10,000."""
        return SHARES_TOTAL - self.buyer_share

    @property
    def buyer_percent(self) -> str:
        """For people: "62.5"."""
        return percent(self.buyer_share)

    @property
    def vendor_percent(self) -> str:
        """The same of the vendor."""
        return percent(self.vendor_share)


def preview(terms: Terms, buyer_share: int, plans: Sequence[Plan], rate: FeeRate) -> Split:
    """The payouts of these plans at the present fee. Raises NothingToPayOutError when the fee eats one."""
    return Split(buyer_share, tuple(_payout(terms, plan, rate) for plan in plans), fingerprint(plans))


def _payout(terms: Terms, plan: Plan, rate: FeeRate) -> PayoutPreview:
    fee = rate.of_transaction(len(plan.outputs), len(plan.shares))
    paid = {payment.address: payment.amount_piconero for payment in net_payments(plan, fee)}
    return PayoutPreview(
        payees_of(terms, paid), fee, plan.total_piconero, len(plan.outputs), (plan.proposer, plan.cosigner)
    )


def payees_of(terms: Terms, payments: Mapping[str, int]) -> tuple[Payee, ...]:
    """Whom the terms name for the addresses that so many piconero go to."""
    return tuple(Payee(_whose(terms, address), address, piconero) for address, piconero in payments.items())


def _whose(terms: Terms, address: str) -> str:
    """Whose address it is; several may share one, and are one payment then."""
    names = {
        "buyer": terms.buyer_refund_address,
        "vendor": terms.vendor_payout_address,
        "commission": terms.commission_address,
    }
    return " and ".join(name for name, theirs in names.items() if theirs == address)


def fingerprint(plans: Sequence[Plan]) -> str:
    """Which coins go to whom in which shares, in 32 characters: equal for equal payouts only."""
    told = [
        [
            plan.kind,
            plan.fee_bearer,
            [(output.public_key, output.amount_piconero) for output in plan.outputs],
            [(share.beneficiary, share.address, share.gross_piconero) for share in plan.shares],
        ]
        for plan in plans
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def require_shown(plans: Sequence[Plan], shown: str) -> None:
    """Raise RulingChangedError unless these plans have the fingerprint `shown`."""
    if fingerprint(plans) != shown:
        raise RulingChangedError("The payout is not any more what you were shown: deposits have come or gone.")


def parse_percent(text: str) -> int:
    """A share in per cent with at most two decimals, as parts of 10,000. Raises NoShareError."""
    match = _PERCENT.fullmatch(text.strip())
    parts = -1 if match is None else int(Decimal(f"{match[1]}.{match[2] or '0'}") * 100)
    if not 0 <= parts <= SHARES_TOTAL:
        raise NoShareError("The buyer's share is a number from 0 to 100, at most two decimals.")
    return parts
