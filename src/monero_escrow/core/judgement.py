"""Look before signing: does the unsigned transaction set do exactly what the plan says?

The second signer's wallet describes the set; this judges the description before the second signature exists. Each
objection is a sentence; a set with any objection is never signed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from monero_escrow.core.errors import InvariantError
from monero_escrow.core.payout import NothingToPayOutError, Plan, near_enough, net_payments

LEAST_RING_SIZE = 16


@dataclass(frozen=True, slots=True)
class DescribedTransaction:
    """What the second signer's wallet reads in one transaction of the unsigned set.

    `recipients` are (address, amount in piconero) pairs without the change; `source_keys` are the one-time public
    keys of the outputs it spends, or None where the wallet (before 0.18.5.0) does not say.
    """

    recipients: tuple[tuple[str, int], ...]
    amount_in_piconero: int
    fee_piconero: int
    change_piconero: int
    ring_size: int
    unlock_time: int
    payment_id: str
    source_keys: tuple[str, ...] | None


class PayoutStoppedError(InvariantError):
    """A payout cannot go on by itself: a person has to look. Nothing more is signed for it."""

    code = "payout_stopped"
    what_to_do = "Compare the plan in the escrow's history with what the chain says of its outputs."


class TamperedSetError(PayoutStoppedError):
    """An unsigned set does not do what the plan says. It was not signed."""

    code = "set_refused"
    what_to_do = "The payout stops for a person: compare the plan with the objections in the escrow's history."


def objections(
    plan: Plan,
    transactions: Iterable[DescribedTransaction],
    *,
    most_fee_piconero: int,
    shared_fee_piconero: int | None = None,
) -> list[str]:
    """Every way in which the set differs from the plan; an empty list means it may be signed.

    `shared_fee_piconero` is the fee that was divided among the shares; None means the transaction's own.
    """
    described = list(transactions)
    if len(described) != 1:
        return [f"The set holds {len(described)} transactions instead of one."]
    shared = described[0].fee_piconero if shared_fee_piconero is None else shared_fee_piconero
    return list(_objections(plan, described[0], most_fee_piconero, shared))


def _objections(plan: Plan, tx: DescribedTransaction, most_fee_piconero: int, shared_fee: int) -> Iterator[str]:
    if not 0 < tx.fee_piconero <= most_fee_piconero:
        yield f"The fee is {tx.fee_piconero} piconero; at most {most_fee_piconero} is allowed."
        return  # what each address should get depends on a fee that makes sense
    if not near_enough(tx.fee_piconero, shared_fee):
        yield f"The fee is {tx.fee_piconero} piconero; {shared_fee} was divided among the shares."
    if tx.amount_in_piconero != plan.total_piconero:
        yield f"It spends {tx.amount_in_piconero} piconero; the plan spends {plan.total_piconero}."
    if tx.source_keys is not None and Counter(tx.source_keys) != Counter(out.public_key for out in plan.outputs):
        yield "It does not spend exactly the plan's outputs."
    if tx.change_piconero != 0:
        yield f"It sends {tx.change_piconero} piconero back to the escrow."
    if tx.unlock_time != 0:
        yield f"It locks the coins (unlock_time {tx.unlock_time})."
    if tx.ring_size < LEAST_RING_SIZE:
        yield f"Its rings have {tx.ring_size} members; {LEAST_RING_SIZE} are usual."
    if tx.payment_id.strip("0"):
        yield "It carries a payment id."
    received: Counter[str] = Counter()
    for address, piconero in tx.recipients:
        if piconero < 0:
            yield "It pays a negative amount."
        received[address] += piconero
    try:
        payments = net_payments(plan, tx.fee_piconero, shared_fee)
    except NothingToPayOutError:
        yield "Its fee eats the whole payout."
        return
    planned = {payment.address: payment.amount_piconero for payment in payments}
    for address in sorted(planned.keys() | received.keys()):
        if received.get(address, 0) != planned.get(address, 0) or (address in received) != (address in planned):
            yield f"{_short(address)} gets {received.get(address, 0)} piconero instead of {planned.get(address, 0)}."


def _short(address: str) -> str:
    return f"{address[:6]}…{address[-4:]}"
