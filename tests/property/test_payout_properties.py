"""Payout plans for all terms, outputs, shares and fees: piconero add up, and each rule holds, also at its edges."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monero_escrow.core.money import MAX_SUPPLY_PICONERO
from monero_escrow.core.payout import (
    Beneficiary,
    FeeBearer,
    NothingToPayOutError,
    OutputGroup,
    PayoutKind,
    Plan,
    PlanOutput,
    Terms,
    group_outputs,
    net_payments,
    refund,
    release,
    release_late,
    ruling,
)

MOST = MAX_SUPPLY_PICONERO // 6  # so that the five outputs of a group are never more than all coins there are
quick = settings(deadline=None)

# Small figures meet the edges (a fee larger than a share, odd piconero); large ones what 64 bits and floats would lose.
piconero = st.integers(1, 50) | st.integers(1, 10**13) | st.integers(1, MOST)
fees = st.integers(0, 60) | st.integers(0, 10**13)
parts = st.integers(0, 10_000) | st.sampled_from((0, 1, 5_000, 9_999, 10_000))


@st.composite
def groups(draw: st.DrawFn, most: int = 5) -> OutputGroup:
    amounts = sorted(draw(st.lists(piconero, min_size=1, max_size=most)), reverse=True)
    return tuple(PlanOutput(f"key{number}", amount) for number, amount in enumerate(amounts))


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    """Any order, also one whose parties gave the same address."""
    commission = draw(st.none() | st.integers(1, 9_999))
    return Terms(
        amount_piconero=draw(piconero),
        buyer_refund_address=draw(st.sampled_from(("buyer", "buyer", "same"))),
        vendor_payout_address=draw(st.sampled_from(("vendor", "vendor", "same"))),
        fee_bearer=draw(st.sampled_from(FeeBearer)),
        commission_address=None if commission is None else draw(st.sampled_from(("operator", "operator", "same"))),
        commission_parts=commission or 0,
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan of any kind over one group."""
    order, group = draw(terms()), [draw(groups())]
    kind = draw(st.sampled_from(("release", "release late", "refund", "return", "ruling")))
    if kind == "ruling":
        share = draw(parts)
        return ruling(order, group, share, 10_000 - share)[0]
    if kind == "refund":
        return refund(order, group)[0]
    if kind == "return":
        return refund(order, group, PayoutKind.RETURN)[0]
    return (release if kind == "release" else release_late)(order, group)[0]


def gross(plan: Plan) -> dict[Beneficiary, int]:
    return {share.beneficiary: share.gross_piconero for share in plan.shares}


# What every plan does


@quick
@given(plans())
def test_the_gross_shares_are_exactly_what_the_outputs_hold(plan: Plan) -> None:
    assert sum(gross(plan).values()) == plan.total_piconero
    assert len(gross(plan)) == len(plan.shares) > 0
    assert plan.anchor.amount_piconero == max(output.amount_piconero for output in plan.outputs)


@settings(quick, max_examples=600)
@given(plans(), fees)
def test_net_payments_and_fee_make_the_total_and_everybody_gets_something(plan: Plan, fee: int) -> None:
    try:
        payments = net_payments(plan, fee)
    except NothingToPayOutError:
        assert fee >= plan.total_piconero
        return
    assert sum(payment.amount_piconero for payment in payments) + fee == plan.total_piconero
    assert all(payment.amount_piconero > 0 for payment in payments)
    assert {payment.address for payment in payments} <= {share.address for share in plan.shares}
    assert len({payment.address for payment in payments}) == len(payments)


@settings(quick, max_examples=300)
@given(plans(), fees, st.integers(-100, 100) | st.integers(-(10**11), 10**11))
def test_what_the_fee_differs_from_the_divided_one_falls_to_the_largest_payment_alone(
    plan: Plan, shared: int, more: int
) -> None:
    fee = max(0, shared + more)
    try:
        divided = {payment.address: payment.amount_piconero for payment in net_payments(plan, shared)}
        actual = {payment.address: payment.amount_piconero for payment in net_payments(plan, fee, shared)}
    except NothingToPayOutError:
        return
    assert sum(actual.values()) + fee == plan.total_piconero
    assert all(piconero > 0 for piconero in actual.values())
    differing = [address for address in divided if actual[address] != divided[address]]
    if fee == shared:
        assert actual == divided
    else:
        assert len(differing) == 1
        assert divided[differing[0]] == max(divided.values())


@quick
@given(plans(), st.integers(0, 10**13))
def test_a_fee_that_eats_everything_pays_nobody(plan: Plan, more: int) -> None:
    with pytest.raises(NothingToPayOutError):
        net_payments(plan, plan.total_piconero + more)


@settings(quick, max_examples=300)
@given(plans(), fees)
def test_the_fee_is_borne_as_the_order_says(plan: Plan, fee: int) -> None:
    """Checked against the rule in fractions, wherever every share outlives its part of the fee."""
    shares = gross(plan)
    buyer, vendor = shares.get(Beneficiary.BUYER, 0), shares.get(Beneficiary.VENDOR, 0)
    match plan.fee_bearer:
        case FeeBearer.RECEIVERS:
            of_buyer = fee * buyer // (buyer + vendor)
        case FeeBearer.BUYER:
            of_buyer = fee if fee < buyer else buyer
        case FeeBearer.VENDOR:
            of_buyer = 0 if fee < vendor else fee - vendor
    expected = {
        Beneficiary.BUYER: buyer - of_buyer,
        Beneficiary.VENDOR: vendor - (fee - of_buyer),
        Beneficiary.COMMISSION: shares.get(Beneficiary.COMMISSION, 0),
    }
    if any(expected[who] <= 0 for who in shares):
        return
    sums: Counter[str] = Counter()
    for share in plan.shares:
        sums[share.address] += expected[share.beneficiary]

    assert {payment.address: payment.amount_piconero for payment in net_payments(plan, fee)} == dict(sums)


@quick
@given(plans(), fees)
def test_at_most_the_smaller_shares_are_joined_and_the_largest_always_remains(plan: Plan, fee: int) -> None:
    if fee >= plan.total_piconero:
        return
    paid = {payment.address for payment in net_payments(plan, fee)}
    largest = max(plan.shares, key=lambda share: share.gross_piconero)
    parties = [share for share in plan.shares if share.beneficiary is not Beneficiary.COMMISSION]

    if fee < largest.gross_piconero:
        assert largest.address in paid
    if fee < min(share.gross_piconero for share in parties):
        assert paid == {share.address for share in plan.shares}


# Release, ruling, commission


@settings(quick, max_examples=300)
@given(terms(), st.lists(groups(), min_size=1, max_size=4))
@example(Terms(100, "buyer", "vendor"), [(PlanOutput("a", 60),), (PlanOutput("b", 40),), (PlanOutput("c", 1),)])
def test_a_release_gives_the_vendor_the_amount_once_over_all_groups_and_the_buyer_the_rest(
    order: Terms, several: list[OutputGroup]
) -> None:
    sums: Counter[Beneficiary] = Counter()
    decided = release(order, several)
    for plan in decided:
        sums.update(gross(plan))
    total = sum(plan.total_piconero for plan in decided)

    assert [plan.outputs for plan in decided] == several
    assert sums[Beneficiary.VENDOR] + sums[Beneficiary.COMMISSION] == min(order.amount_piconero, total)
    assert sums[Beneficiary.BUYER] == max(0, total - order.amount_piconero)


@quick
@given(terms(), st.lists(groups(), min_size=1, max_size=3), parts)
def test_a_ruling_splits_each_group_by_its_shares_and_the_odd_piconero_is_the_vendors(
    order: Terms, several: list[OutputGroup], buyer_share: int
) -> None:
    for plan in ruling(order, several, buyer_share, 10_000 - buyer_share):
        shares, total = gross(plan), plan.total_piconero
        buyer = shares.get(Beneficiary.BUYER, 0)
        vendor = shares.get(Beneficiary.VENDOR, 0) + shares.get(Beneficiary.COMMISSION, 0)
        assert buyer + vendor == total
        assert 0 <= buyer_share * total - 10_000 * buyer < 10_000
        assert 0 <= 10_000 * vendor - (10_000 - buyer_share) * total < 10_000


@quick
@given(plans(), terms())
def test_the_commission_is_exactly_its_part_of_what_the_vendor_gets_rounded_down(plan: Plan, order: Terms) -> None:
    for decided in (release(order, [plan.outputs]), ruling(order, [plan.outputs], 2_500, 7_500)):
        shares = gross(decided[0])
        of_vendor = shares.get(Beneficiary.VENDOR, 0) + shares.get(Beneficiary.COMMISSION, 0)
        commission = shares.get(Beneficiary.COMMISSION, 0)
        assert commission * 10_000 <= of_vendor * order.commission_parts < (commission + 1) * 10_000


@quick
@given(terms(), groups())
def test_a_refund_gives_the_buyer_everything(order: Terms, group: OutputGroup) -> None:
    for kind in (PayoutKind.REFUND, PayoutKind.RETURN):
        (plan,) = refund(order, [group], kind)
        assert gross(plan) == {Beneficiary.BUYER: plan.total_piconero}


# Groups


@quick
@given(st.lists(st.integers(1, 40), max_size=330), st.integers(0, 41))
def test_groups_lose_no_worthwhile_output_take_no_other_and_hold_at_most_100(amounts: list[int], dust: int) -> None:
    candidates = [PlanOutput(f"key{number}", amount) for number, amount in enumerate(amounts)]
    worthwhile = [output for output in candidates if output.amount_piconero > dust]
    if not worthwhile:
        with pytest.raises(NothingToPayOutError):
            group_outputs(candidates, dust)
        return

    grouped = group_outputs(candidates, dust)

    in_groups = [output for group in grouped for output in group]
    assert Counter(in_groups) == Counter(worthwhile)
    assert all(1 <= len(group) <= 100 for group in grouped)
    assert len(grouped) == -(-len(worthwhile) // 100)
    assert [output.amount_piconero for output in in_groups] == sorted(
        (output.amount_piconero for output in worthwhile), reverse=True
    )


@quick
@given(st.lists(st.integers(1, 40), min_size=1, max_size=120), st.randoms(use_true_random=False))
def test_the_order_in_which_outputs_are_listed_changes_no_plan(amounts: list[int], order: object) -> None:
    """Two nodes that decide the same thing must come to the same anchors."""
    candidates = [PlanOutput(f"key{number}", amount) for number, amount in enumerate(amounts)]
    shuffled = list(candidates)
    order.shuffle(shuffled)  # type: ignore[attr-defined]

    assert group_outputs(shuffled, 0) == group_outputs(candidates, 0)
