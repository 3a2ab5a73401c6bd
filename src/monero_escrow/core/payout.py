"""Payout plans: who gets what from which outputs, and who bears the network fee.

The money rules, one function each:

- *Release* pays the vendor the amount, less commission and fee; a surplus goes back to the buyer in the same
  transaction.
- *Refund* and *return* (of coins that came late) pay the buyer everything.
- *Ruling* splits everything by shares of 10,000; the odd piconero goes to the vendor.
- The commission is taken from what the vendor gets, rounded down, before the fee. It bears no fee itself.
- The fee is borne by the receivers, by their shares, unless the order names one party: that party's share pays as
  much of it as it can, the other's the rest.
- What the fee turns out to differ from the one that was divided, at most a fiftieth, falls to the largest payment.
- A share whose net amount is nothing or less is joined to the other party's, or where there is none, the commission.

A plan names its outputs, frozen at the decision. The largest is its *anchor*: every transaction ever proposed for the
plan spends it, so the network itself refuses a second payment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from monero_escrow.core.errors import ConflictError, InvalidInputError
from monero_escrow.core.fees import FeeRate
from monero_escrow.core.money import part_of
from monero_escrow.core.roles import Role

SHARES_TOTAL = 10_000
MOST_OUTPUTS = 100
"""A plan spends at most this many outputs, which fits a transaction; a decision over more is several plans."""


_FEE_TOLERANCE = 50


class PayoutKind(StrEnum):
    """What was decided. The values are stored: never rename one."""

    RELEASE = "release"
    REFUND = "refund"
    RULING = "ruling"
    RETURN = "return"


class FeeBearer(StrEnum):
    """Who pays the network fee."""

    RECEIVERS = "receivers"
    BUYER = "buyer"
    VENDOR = "vendor"


class Beneficiary(StrEnum):
    """Whose address a share goes to."""

    BUYER = "buyer"
    VENDOR = "vendor"
    COMMISSION = "commission"


@dataclass(frozen=True, slots=True)
class Terms:
    """What an order fixed at init-escrow. `commission_parts` are parts of 10,000 of what the vendor gets."""

    amount_piconero: int
    buyer_refund_address: str
    vendor_payout_address: str
    fee_bearer: FeeBearer = FeeBearer.RECEIVERS
    commission_address: str | None = None
    commission_parts: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """What one beneficiary gets before the network fee."""

    beneficiary: Beneficiary
    address: str
    gross_piconero: int


@dataclass(frozen=True, slots=True)
class PlanOutput:
    """An output the plan spends: its one-time public key and amount."""

    public_key: str
    amount_piconero: int


OutputGroup = tuple[PlanOutput, ...]
"""The outputs of one plan, largest first."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One recipient of the transaction and the net amount the address receives."""

    address: str
    amount_piconero: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A decision in figures: outputs (the anchor first, then by size), gross shares, fee bearer and the two signers."""

    kind: PayoutKind
    outputs: tuple[PlanOutput, ...]
    shares: tuple[Share, ...]
    fee_bearer: FeeBearer
    proposer: Role
    cosigner: Role

    @property
    def anchor(self) -> PlanOutput:
        """The output every proposal for this plan spends."""
        return self.outputs[0]

    @property
    def total_piconero(self) -> int:
        """Everything the plan spends, the fee included."""
        return sum(output.amount_piconero for output in self.outputs)


class NothingToPayOutError(ConflictError):
    """There is no output that could be paid out."""

    code = "nothing_to_pay_out"
    what_to_do = "Wait until a deposit has enough confirmations. Dust is shown, but cannot pay its own fee."


class InvalidSharesError(InvalidInputError):
    """The two shares of a ruling are not two parts that make 10,000."""

    code = "invalid_shares"
    what_to_do = f"Send two whole numbers from 0 to {SHARES_TOTAL} that add up to {SHARES_TOTAL}."


def group_outputs(candidates: Iterable[PlanOutput], input_fee_piconero: int) -> tuple[OutputGroup, ...]:
    """The outputs worth more than the fee each adds, largest first, in groups of at most `MOST_OUTPUTS`: a plan each.

    Raises NothingToPayOutError when there is none.
    """
    worthwhile = (output for output in candidates if output.amount_piconero > input_fee_piconero)
    chosen = sorted(worthwhile, key=lambda output: (-output.amount_piconero, output.public_key))
    if not chosen:
        raise NothingToPayOutError("No deposit is there that could be paid out.")
    return tuple(tuple(chosen[start : start + MOST_OUTPUTS]) for start in range(0, len(chosen), MOST_OUTPUTS))


def worth_carrying_out(plans: Iterable[Plan], rate: FeeRate) -> tuple[Plan, ...]:
    """The plans that can pay for their own transaction; what the others would spend stays where it is.

    Raises NothingToPayOutError when there is none.
    """
    worthwhile = tuple(plan for plan in plans if _pays_for_itself(plan, rate))
    if not worthwhile:
        raise _fee_eats_everything()
    return worthwhile


def _pays_for_itself(plan: Plan, rate: FeeRate) -> bool:
    try:
        net_payments(plan, rate.of_transaction(len(plan.outputs), len(plan.shares)))
    except NothingToPayOutError:
        return False
    return True


def check_ruling(buyer_share: int, vendor_share: int) -> None:
    """Raise InvalidSharesError unless the two are parts of 10,000 that make a whole."""
    whole = isinstance(buyer_share, int) and isinstance(vendor_share, int)
    if not whole or min(buyer_share, vendor_share) < 0 or buyer_share + vendor_share != SHARES_TOTAL:
        raise InvalidSharesError(f"The shares must add up to {SHARES_TOTAL}.")


def release(terms: Terms, groups: Iterable[OutputGroup]) -> tuple[Plan, ...]:
    """The vendor gets the order's amount (or all there is, if the shop accepted less), the buyer a surplus."""
    plans, due = [], terms.amount_piconero
    for outputs in groups:
        total = _sum(outputs)
        vendor = min(due, total)
        due -= vendor
        plans.append(_plan(PayoutKind.RELEASE, terms, outputs, buyer=total - vendor, vendor=vendor))
    return tuple(plans)


def release_late(terms: Terms, groups: Iterable[OutputGroup]) -> tuple[Plan, ...]:
    """The vendor gets all of what came late, because the shop so decided."""
    return tuple(_plan(PayoutKind.RELEASE, terms, outputs, buyer=0, vendor=_sum(outputs)) for outputs in groups)


def refund(terms: Terms, groups: Iterable[OutputGroup], kind: PayoutKind = PayoutKind.REFUND) -> tuple[Plan, ...]:
    """The buyer gets everything (`kind` is RETURN for coins that came late)."""
    return tuple(_plan(kind, terms, outputs, buyer=_sum(outputs), vendor=0) for outputs in groups)


def ruling(terms: Terms, groups: Iterable[OutputGroup], buyer_share: int, vendor_share: int) -> tuple[Plan, ...]:
    """Everything is split by shares of 10,000; the arbiter signs with the party that gets more, on a tie the buyer."""
    check_ruling(buyer_share, vendor_share)
    signers = (Role.ARBITER, Role.BUYER if buyer_share >= vendor_share else Role.VENDOR)
    plans = []
    for outputs in groups:
        total = _sum(outputs)
        buyer = part_of(total, buyer_share)
        plans.append(_plan(PayoutKind.RULING, terms, outputs, buyer, total - buyer, signers=signers))
    return tuple(plans)


def _plan(
    kind: PayoutKind,
    terms: Terms,
    outputs: tuple[PlanOutput, ...],
    buyer: int,
    vendor: int,
    signers: tuple[Role, Role] = (Role.BUYER, Role.VENDOR),
) -> Plan:
    """The buyer (or the arbiter) proposes and the other looks before signing."""
    commission = part_of(vendor, terms.commission_parts) if terms.commission_address else 0
    shares = (
        Share(Beneficiary.BUYER, terms.buyer_refund_address, buyer),
        Share(Beneficiary.VENDOR, terms.vendor_payout_address, vendor - commission),
        Share(Beneficiary.COMMISSION, terms.commission_address or "", commission),
    )
    due = tuple(share for share in shares if share.gross_piconero > 0)
    return Plan(kind, outputs, due, terms.fee_bearer, *signers)


def net_payments(plan: Plan, fee_piconero: int, shared_fee_piconero: int | None = None) -> tuple[Payment, ...]:
    """What each address receives when the transaction costs this fee. The sum and the fee make the plan's total.

    `shared_fee_piconero` is the fee that was divided among the shares, where it is not the very fee: what the two
    differ by falls to the largest payment. Equal addresses are one payment, as they arrive merged. Raises
    NothingToPayOutError when the fee eats everything.
    """
    shared = fee_piconero if shared_fee_piconero is None else shared_fee_piconero
    merged: dict[str, int] = {}
    for share, net in _nets(plan, shared):
        merged[share.address] = merged.get(share.address, 0) + net
    largest = max(merged, key=lambda address: merged[address])
    merged[largest] += shared - fee_piconero
    if merged[largest] <= 0:
        raise _fee_eats_everything()
    return tuple(Payment(address, piconero) for address, piconero in merged.items())


def near_enough(fee_piconero: int, shared_fee_piconero: int) -> bool:
    """Whether a fee may stand for the one that was divided among the shares: at most a fiftieth apart.

    A transaction's size, and so its fee, changes by some bytes with each proposal, as its decoys are drawn anew;
    waiting for the very same fee twice could take for ever (docs/decisions/0006).
    """
    return abs(fee_piconero - shared_fee_piconero) * _FEE_TOLERANCE <= shared_fee_piconero


def _nets(plan: Plan, fee_piconero: int) -> list[tuple[Share, int]]:
    """Take the fee from the shares; whoever is left with nothing is joined to the largest share, and it starts over."""
    shares = list(plan.shares)
    while shares:
        parts = _fee_parts(shares, plan.fee_bearer, fee_piconero)
        nets = [(share, share.gross_piconero - parts.get(share.beneficiary, 0)) for share in shares]
        if all(net > 0 for _, net in nets):
            return nets
        if len(shares) == 1:
            break
        smallest = min(nets, key=lambda row: (row[1], row[0].beneficiary))[0]
        others = [share for share in shares if share is not smallest]
        parties = [share for share in others if share.beneficiary is not Beneficiary.COMMISSION] or others
        heir = max(parties, key=lambda share: (share.gross_piconero, share.beneficiary))
        grown = Share(heir.beneficiary, heir.address, heir.gross_piconero + smallest.gross_piconero)
        shares = [grown if share is heir else share for share in others]
    raise _fee_eats_everything()


def _fee_eats_everything() -> NothingToPayOutError:
    return NothingToPayOutError(
        "The network fee would eat the whole payout.",
        what_to_do="Wait for lower fees; the coins stay where they are.",
    )


def _fee_parts(shares: list[Share], bearer: FeeBearer, fee_piconero: int) -> dict[Beneficiary, int]:
    """Each party's part of the fee. The commission bears none unless it is all that is left."""
    gross = {share.beneficiary: share.gross_piconero for share in shares}
    buyer, vendor = gross.get(Beneficiary.BUYER, 0), gross.get(Beneficiary.VENDOR, 0)
    if buyer + vendor == 0:
        return {Beneficiary.COMMISSION: fee_piconero}
    match bearer:
        case FeeBearer.BUYER:
            of_buyer = min(fee_piconero, buyer)
        case FeeBearer.VENDOR:
            of_buyer = fee_piconero - min(fee_piconero, vendor)
        case FeeBearer.RECEIVERS:
            of_buyer = fee_piconero * buyer // (buyer + vendor)
    return {Beneficiary.BUYER: of_buyer, Beneficiary.VENDOR: fee_piconero - of_buyer}


def _sum(outputs: OutputGroup) -> int:
    return sum(output.amount_piconero for output in outputs)
