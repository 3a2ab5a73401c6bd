"""The judgement: a set that is exactly the plan may be signed, and no set that differs in anything ever is.

Ten thousand altered sets a run, each by one alteration a thief or a fault could make; none may be accepted.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from monero_escrow.core.judgement import DescribedTransaction, objections
from monero_escrow.core.payout import (
    FeeBearer,
    OutputGroup,
    PayoutKind,
    Plan,
    PlanOutput,
    Terms,
    near_enough,
    net_payments,
    refund,
    release,
    ruling,
)

Set = list[DescribedTransaction]
MOST_FEE = 10**11


def a_plan(chance: random.Random) -> Plan:
    """Any plan whose coins outweigh every allowed fee."""
    amounts = sorted((chance.randrange(2 * 10**11, 10**14) for _ in range(chance.randint(1, 6))), reverse=True)
    group: OutputGroup = tuple(PlanOutput(f"{chance.getrandbits(256):064x}", amount) for amount in amounts)
    total = sum(amounts)
    commission = chance.choice((None, "operator address"))
    order = Terms(
        amount_piconero=chance.choice((total, total // 2, total - 1, 2 * total)),
        buyer_refund_address="buyer address",
        vendor_payout_address=chance.choice(("vendor address", "vendor address", "buyer address")),
        fee_bearer=chance.choice(list(FeeBearer)),
        commission_address=commission,
        commission_parts=chance.randint(1, 9_999) if commission else 0,
    )
    share = chance.choice((3_000, 5_000, chance.randint(0, 10_000)))
    decisions: tuple[Callable[[], tuple[Plan, ...]], ...] = (
        lambda: release(order, [group]),
        lambda: refund(order, [group], chance.choice((PayoutKind.REFUND, PayoutKind.RETURN))),
        lambda: ruling(order, [group], share, 10_000 - share),
    )
    return chance.choice(decisions)()[0]


def paid(plan: Plan, fee: int, shared: int | None = None) -> tuple[tuple[str, int], ...]:
    return tuple((payment.address, payment.amount_piconero) for payment in net_payments(plan, fee, shared))


def exact(plan: Plan, fee: int, shared: int | None = None) -> DescribedTransaction:
    """What the second signer's wallet says of a set that does exactly what the plan says."""
    return DescribedTransaction(
        recipients=paid(plan, fee, shared),
        amount_in_piconero=plan.total_piconero,
        fee_piconero=fee,
        change_piconero=0,
        ring_size=16,
        unlock_time=0,
        payment_id="",
        source_keys=tuple(output.public_key for output in plan.outputs),
    )


def judged(plan: Plan, transactions: Set, shared: int | None = None) -> list[str]:
    return objections(plan, transactions, most_fee_piconero=MOST_FEE, shared_fee_piconero=shared)


def two_fees(chance: random.Random) -> tuple[int, int]:
    """A transaction's fee, and the one that was divided among the shares: often the same, never far apart."""
    shared = chance.randint(100, MOST_FEE * 49 // 50)
    return shared + chance.choice((0, 0, 1, -1, shared // 50, -(shared // 50), chance.randint(0, shared // 50))), shared


# The alterations. Each takes (chance, plan, the exact transaction) and gives an altered set. The fee that was divided
# among the shares stays what it was.

Alteration = Callable[[random.Random, Plan, DescribedTransaction], Set]


def altered_recipient(chance: random.Random, tx: DescribedTransaction, address: str | None, more: int) -> Set:
    recipients = list(tx.recipients)
    at = chance.randrange(len(recipients))
    recipients[at] = (address or recipients[at][0], recipients[at][1] + more)
    return [replace(tx, recipients=tuple(recipients))]


def with_recipient(tx: DescribedTransaction, address: str, piconero: int) -> Set:
    return [replace(tx, recipients=(*tx.recipients, (address, piconero)))]


def some(chance: random.Random) -> int:
    """One piconero, or more."""
    return chance.choice((1, 2, chance.randint(1, 10**10)))


def with_sources(tx: DescribedTransaction, keys: list[str]) -> Set:
    return [replace(tx, source_keys=tuple(keys))]


def stranger(chance: random.Random) -> str:
    return f"{chance.getrandbits(256):064x}"


def takes_from_a_recipient(chance: random.Random, plan: Plan, tx: DescribedTransaction) -> Set:
    """A thief's output, paid for by a rightful recipient."""
    stolen = some(chance)
    (poorer,) = altered_recipient(chance, tx, None, -stolen)
    return with_recipient(poorer, "thief address", stolen)


def takes_as_change(chance: random.Random, plan: Plan, tx: DescribedTransaction) -> Set:
    kept = some(chance)
    (poorer,) = altered_recipient(chance, tx, None, -kept)
    return [replace(poorer, change_piconero=kept)]


def moves_the_fee(more: int) -> Alteration:
    return lambda _chance, _plan, tx: [replace(tx, fee_piconero=tx.fee_piconero + more)]


def pays_the_fee_from_a_recipient(chance: random.Random, plan: Plan, tx: DescribedTransaction) -> Set:
    """Consistent sums, but an address that is not the largest bears more of the fee than its part."""
    recipients = list(tx.recipients)
    clearly_less = max(piconero for _, piconero in recipients) - MOST_FEE
    others = [at for at in range(len(recipients)) if 1 < recipients[at][1] < clearly_less]
    if not others:
        return altered_recipient(chance, tx, None, -1)
    at = chance.choice(others)
    more = chance.randint(1, min(recipients[at][1] - 1, MOST_FEE // 50))
    recipients[at] = (recipients[at][0], recipients[at][1] - more)
    return [replace(tx, recipients=tuple(recipients), fee_piconero=tx.fee_piconero + more)]


def far_from_the_divided_fee(chance: random.Random, plan: Plan, tx: DescribedTransaction) -> Set:
    """A fee more than a fiftieth above the one that was divided, at the largest payment's cost."""
    more = tx.fee_piconero // 20 + chance.randint(2, 1_000)
    recipients = list(tx.recipients)
    largest = max(range(len(recipients)), key=lambda at: recipients[at][1])
    recipients[largest] = (recipients[largest][0], recipients[largest][1] - more)
    return [replace(tx, recipients=tuple(recipients), fee_piconero=tx.fee_piconero + more)]


def shifts_between_recipients(chance: random.Random, plan: Plan, tx: DescribedTransaction) -> Set:
    if len(tx.recipients) < 2:
        return altered_recipient(chance, tx, "thief address", 0)
    (first, a), (second, b), *rest = tx.recipients
    shifted = some(chance)
    return [replace(tx, recipients=((first, a + shifted), (second, b - shifted), *rest))]


ALTERATIONS: dict[str, Alteration] = {
    "another recipient": lambda c, _, tx: altered_recipient(c, tx, "thief address", 0),
    "a recipient gets more": lambda c, _, tx: altered_recipient(c, tx, None, some(c)),
    "a recipient gets less": lambda c, _, tx: altered_recipient(c, tx, None, -some(c)),
    "coins shifted between recipients": shifts_between_recipients,
    "a thief paid from a recipient's coins": takes_from_a_recipient,
    "an extra recipient": lambda c, _, tx: with_recipient(tx, "thief address", some(c)),
    "an extra recipient of nothing": lambda _c, _, tx: with_recipient(tx, "thief address", 0),
    "an extra recipient of less than nothing": lambda c, _, tx: with_recipient(tx, tx.recipients[0][0], -some(c)),
    "a negative amount that is balanced by another": lambda c, _, tx: [
        replace(tx, recipients=(*tx.recipients, (tx.recipients[0][0], 5), (tx.recipients[0][0], -5)))
    ],
    "a missing recipient": lambda c, _, tx: [replace(tx, recipients=tx.recipients[1:])],
    "no recipient": lambda _c, _, tx: [replace(tx, recipients=())],
    "change": lambda c, _, tx: [replace(tx, change_piconero=some(c))],
    "change taken from a recipient": takes_as_change,
    "a fee over the bound, with the amounts that follow from it": lambda c, plan, tx: [
        exact(plan, MOST_FEE + c.randint(1, 10**10))
    ],
    "no fee, with the amounts that follow from it": lambda _c, plan, tx: [exact(plan, 0)],
    "a negative fee": lambda c, _, tx: [replace(tx, fee_piconero=-some(c))],
    "a fee that eats everything": lambda _c, plan, tx: [replace(tx, fee_piconero=plan.total_piconero)],
    "a fee one piconero higher": moves_the_fee(1),
    "a fee one piconero lower": moves_the_fee(-1),
    "a higher fee borne by the wrong address": pays_the_fee_from_a_recipient,
    "a fee far from the one that was divided": far_from_the_divided_fee,
    "an unlock time": lambda c, _, tx: [replace(tx, unlock_time=c.choice((1, 10**6, 2**64 - 1)))],
    "smaller rings": lambda c, _, tx: [replace(tx, ring_size=c.randint(0, 15))],
    "a payment id": lambda c, _, tx: [replace(tx, payment_id=f"{c.getrandbits(64) | 1:016x}")],
    "an input swapped": lambda c, _, tx: with_sources(tx, [stranger(c), *(tx.source_keys or ())[1:]]),
    "an input added": lambda c, _, tx: with_sources(tx, [*(tx.source_keys or ()), stranger(c)]),
    "an input dropped": lambda _c, _, tx: with_sources(tx, [*(tx.source_keys or ())[1:]]),
    "an input twice": lambda _c, _, tx: with_sources(tx, [*(tx.source_keys or ()), (tx.source_keys or ("",))[0]]),
    "inputs worth more": lambda c, _, tx: [replace(tx, amount_in_piconero=tx.amount_in_piconero + some(c))],
    "inputs worth less": lambda c, _, tx: [replace(tx, amount_in_piconero=tx.amount_in_piconero - some(c))],
    "two transactions": lambda _c, _, tx: [tx, tx],
    "a second transaction to a thief": lambda _c, _, tx: [tx, replace(tx, recipients=(("thief address", 1),))],
    "no transaction": lambda _c, _, tx: [],
}  # fmt: skip

TRIES = -(-10_000 // len(ALTERATIONS))


@pytest.mark.parametrize("name", ALTERATIONS)
def test_no_altered_set_is_ever_accepted(name: str) -> None:
    chance, accepted = random.Random(name), []
    for number in range(TRIES):
        plan = a_plan(chance)
        fee, shared = two_fees(chance)
        tx = exact(plan, fee, shared)
        assert judged(plan, [tx], shared) == []
        altered = ALTERATIONS[name](chance, plan, tx)
        assert altered != [tx], "the alteration altered nothing"
        found = judged(plan, altered, shared)
        if not found:
            accepted.append((number, plan, altered))
        assert all(sentence.endswith(".") for sentence in found)

    assert accepted == []


@pytest.mark.parametrize("divided", ["the transaction's own", "the very same", "another, near enough"])
def test_no_fee_out_of_bounds_is_accepted_with_whatever_fee_was_divided(divided: str) -> None:
    """The plan's own amounts for such a fee do not make it better."""
    chance = random.Random(divided)
    for _ in range(300):
        plan = a_plan(chance)
        for fee in (0, MOST_FEE + 1, MOST_FEE + chance.randint(1, 10**9)):
            near = fee - fee // 100 if fee else 0
            shared = {"the transaction's own": None, "the very same": fee, "another, near enough": near}[divided]
            assert judged(plan, [exact(plan, fee, shared)], shared)


def test_a_run_tries_ten_thousand_altered_sets() -> None:
    assert TRIES * len(ALTERATIONS) >= 10_000


def test_a_set_that_is_exactly_the_plan_is_never_objected_to() -> None:
    chance = random.Random(2)
    for _ in range(2_000):
        plan = a_plan(chance)
        fee, shared = chance.choice(((1, None), (MOST_FEE, None), two_fees(chance)))
        tx = exact(plan, fee, shared)
        recipients, sources = list(tx.recipients), list(tx.source_keys or ())
        chance.shuffle(recipients)
        chance.shuffle(sources)
        in_any_order = replace(tx, recipients=tuple(recipients), source_keys=tuple(sources))

        assert judged(plan, [tx], shared) == []
        assert judged(plan, [in_any_order], shared) == []


def test_a_fee_may_differ_from_the_divided_one_by_a_fiftieth_and_no_more() -> None:
    assert near_enough(5_000, 5_000)
    assert near_enough(5_100, 5_000)
    assert near_enough(4_900, 5_000)
    assert not near_enough(5_101, 5_000)
    assert not near_enough(4_899, 5_000)


def test_a_wallet_that_cannot_name_the_inputs_is_judged_by_their_sum() -> None:
    plan = a_plan(random.Random(3))
    tx = replace(exact(plan, 10**9), source_keys=None)

    assert judged(plan, [tx]) == []
    assert judged(plan, [replace(tx, amount_in_piconero=tx.amount_in_piconero - 1)])


@pytest.mark.parametrize("payment_id", ["", "0000000000000000"])
def test_an_empty_payment_id_is_none(payment_id: str) -> None:
    plan = a_plan(random.Random(4))

    assert judged(plan, [replace(exact(plan, 10**9), payment_id=payment_id)]) == []


def test_a_fee_within_the_bound_that_eats_the_whole_payout_is_an_objection_and_no_error() -> None:
    (plan,) = refund(Terms(10**9, "buyer address", "vendor address"), [(PlanOutput("ab" * 32, 10**9),)])
    tx = exact(plan, 1)

    for fee in (10**9, 10**9 + 1, MOST_FEE):
        assert judged(plan, [replace(tx, fee_piconero=fee)])


def test_every_difference_is_named_and_addresses_are_shortened() -> None:
    buyer, thief = "4" + "b" * 94, "4" + "t" * 94
    (plan,) = refund(Terms(10**12, buyer, "vendor address"), [(PlanOutput("ab" * 32, 10**12),)])
    tx = exact(plan, 10**9)

    found = judged(plan, [replace(tx, recipients=((thief, tx.recipients[0][1]),), unlock_time=7, ring_size=11)])

    assert len(found) == 4
    assert "unlock_time 7" in " ".join(found)
    assert not any(address in " ".join(found) for address in (buyer, thief))
