"""The money rules by example: each rule of the design with figures a person can check."""

from __future__ import annotations

import pytest

from monero_escrow.core.payout import (
    Beneficiary,
    FeeBearer,
    InvalidSharesError,
    NothingToPayOutError,
    OutputGroup,
    Payment,
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
from monero_escrow.core.roles import Role

XMR = 10**12
FEE = 1_000


def outputs(*amounts_piconero: int) -> OutputGroup:
    return tuple(PlanOutput(f"key{number}", piconero) for number, piconero in enumerate(amounts_piconero))


def terms(
    amount: int = XMR,
    bearer: FeeBearer = FeeBearer.RECEIVERS,
    commission_parts: int = 0,
    buyer: str = "buyer",
    vendor: str = "vendor",
) -> Terms:
    operator = "operator" if commission_parts else None
    return Terms(amount, buyer, vendor, bearer, operator, commission_parts)


def only(plans: tuple[Plan, ...]) -> Plan:
    assert len(plans) == 1
    return plans[0]


def paid(plan: Plan, fee_piconero: int = FEE) -> dict[str, int]:
    return {payment.address: payment.amount_piconero for payment in net_payments(plan, fee_piconero)}


# Release


def test_an_exact_deposit_is_released_to_the_vendor_less_the_fee() -> None:
    plan = only(release(terms(), [outputs(XMR)]))

    assert plan.kind is PayoutKind.RELEASE
    assert paid(plan) == {"vendor": XMR - FEE}


def test_a_surplus_goes_back_to_the_buyer_in_the_same_transaction() -> None:
    plan = only(release(terms(), [outputs(XMR, XMR)]))

    assert paid(plan) == {"buyer": XMR - FEE // 2, "vendor": XMR - FEE // 2}


def test_when_the_shop_accepted_less_the_vendor_gets_all_there_is() -> None:
    plan = only(release(terms(amount=3 * XMR), [outputs(2 * XMR)]))

    assert paid(plan) == {"vendor": 2 * XMR - FEE}


def test_the_commission_is_taken_from_what_the_vendor_gets_and_bears_no_fee() -> None:
    plan = only(release(terms(commission_parts=250), [outputs(XMR + 40)]))

    assert paid(plan, fee_piconero=0) == {"buyer": 40, "vendor": XMR - XMR // 40, "operator": XMR // 40}
    assert paid(plan)["operator"] == XMR // 40


def test_a_commission_is_rounded_down_in_the_vendors_favour() -> None:
    plan = only(release(terms(amount=1_999_999, commission_parts=1), [outputs(1_999_999)]))

    assert paid(plan) == {"vendor": 1_999_999 - 199 - FEE, "operator": 199}


def test_over_several_groups_the_vendor_gets_the_amount_once() -> None:
    first, second, third = release(terms(amount=150), [outputs(100), outputs(80), outputs(60)])

    assert paid(first, 1) == {"vendor": 99}
    assert paid(second, 0) == {"vendor": 50, "buyer": 30}
    assert paid(third, 1) == {"buyer": 59}


def test_of_coins_that_came_late_the_vendor_gets_all_if_the_shop_so_decides() -> None:
    plan = only(release_late(terms(amount=1), [outputs(XMR)]))

    assert paid(plan) == {"vendor": XMR - FEE}


# Refund and return


def test_a_refund_pays_the_buyer_everything_and_takes_no_commission() -> None:
    plan = only(refund(terms(commission_parts=250), [outputs(2 * XMR, XMR)]))

    assert plan.kind is PayoutKind.REFUND
    assert paid(plan) == {"buyer": 3 * XMR - FEE}


def test_late_coins_go_back_to_the_buyer_under_a_plan_of_their_own() -> None:
    plan = only(refund(terms(), [outputs(XMR)], PayoutKind.RETURN))

    assert plan.kind is PayoutKind.RETURN
    assert paid(plan) == {"buyer": XMR - FEE}


def test_a_refund_bears_the_fee_even_if_the_order_names_the_vendor() -> None:
    plan = only(refund(terms(bearer=FeeBearer.VENDOR), [outputs(XMR)]))

    assert paid(plan) == {"buyer": XMR - FEE}


# Ruling


def test_a_ruling_splits_everything_by_its_shares() -> None:
    plan = only(ruling(terms(), [outputs(XMR)], 3_000, 7_000))

    assert plan.kind is PayoutKind.RULING
    assert paid(plan) == {"buyer": XMR * 3 // 10 - 300, "vendor": XMR * 7 // 10 - 700}


def test_the_odd_piconero_of_a_ruling_goes_to_the_vendor() -> None:
    plan = only(ruling(terms(), [outputs(101)], 5_000, 5_000))

    assert paid(plan, 0) == {"buyer": 50, "vendor": 51}


@pytest.mark.parametrize(("buyer_share", "gets"), [(10_000, "buyer"), (0, "vendor")])
def test_a_ruling_may_give_everything_to_one_party(buyer_share: int, gets: str) -> None:
    plan = only(ruling(terms(), [outputs(XMR)], buyer_share, 10_000 - buyer_share))

    assert paid(plan) == {gets: XMR - FEE}


@pytest.mark.parametrize("shares", [(0, 0), (5_000, 5_001), (5_000, 4_999), (-1, 10_001), (10_001, -1), (70, 30)])
def test_shares_that_do_not_make_a_whole_are_refused(shares: tuple[int, int]) -> None:
    with pytest.raises(InvalidSharesError, match="add up to 10000"):
        ruling(terms(), [outputs(XMR)], *shares)


def test_shares_that_are_not_whole_numbers_are_refused() -> None:
    with pytest.raises(InvalidSharesError):
        ruling(terms(), [outputs(XMR)], 2_500.0, 7_500.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("buyer_share", "cosigner"), [(5_001, Role.BUYER), (5_000, Role.BUYER), (4_999, Role.VENDOR), (0, Role.VENDOR)]
)
def test_the_arbiter_signs_with_the_party_that_gets_more_and_on_a_tie_with_the_buyer(
    buyer_share: int, cosigner: Role
) -> None:
    plan = only(ruling(terms(), [outputs(XMR)], buyer_share, 10_000 - buyer_share))

    assert {plan.proposer, plan.cosigner} == {Role.ARBITER, cosigner}


def test_release_and_refund_are_signed_by_buyer_and_vendor() -> None:
    for plan in (*release(terms(), [outputs(XMR)]), *refund(terms(), [outputs(XMR)])):
        assert {plan.proposer, plan.cosigner} == {Role.BUYER, Role.VENDOR}


# Who bears the fee


@pytest.mark.parametrize(
    ("bearer", "expected"),
    [
        (FeeBearer.RECEIVERS, {"buyer": 3_000_000 - 300, "vendor": 7_000_000 - 700}),
        (FeeBearer.BUYER, {"buyer": 3_000_000 - 1_000, "vendor": 7_000_000}),
        (FeeBearer.VENDOR, {"buyer": 3_000_000, "vendor": 7_000_000 - 1_000}),
    ],
)
def test_the_fee_is_borne_by_whom_the_order_names(bearer: FeeBearer, expected: dict[str, int]) -> None:
    plan = only(ruling(terms(bearer=bearer), [outputs(10_000_000)], 3_000, 7_000))

    assert paid(plan) == expected


def test_a_party_that_cannot_pay_the_whole_fee_pays_what_it_can_and_the_other_the_rest() -> None:
    plan = only(release(terms(amount=XMR, bearer=FeeBearer.BUYER), [outputs(XMR + 400)]))

    assert paid(plan) == {"vendor": XMR - 600}


def test_a_share_that_is_not_worth_its_fee_is_joined_to_the_largest() -> None:
    plan = only(release(terms(amount=XMR, bearer=FeeBearer.RECEIVERS), [outputs(XMR + 1)]))

    assert paid(plan) == {"buyer": 1, "vendor": XMR - FEE}  # its part of the fee rounds to nothing
    assert paid(only(ruling(terms(bearer=FeeBearer.BUYER), [outputs(XMR)], 0, 10_000))) == {"vendor": XMR - FEE}
    assert paid(only(ruling(terms(bearer=FeeBearer.BUYER), [outputs(10_000)], 1_000, 9_000))) == {"vendor": 9_000}


def test_what_is_joined_goes_to_the_largest_share_and_not_to_the_commission() -> None:
    order = terms(amount=10_000_000, bearer=FeeBearer.BUYER, commission_parts=1_000)

    plan = only(release(order, [outputs(10_000_300)]))

    assert paid(plan) == {"vendor": 9_000_300 - FEE, "operator": 1_000_000}


def test_equal_addresses_arrive_as_one_payment() -> None:
    plan = only(ruling(terms(buyer="same", vendor="same"), [outputs(XMR)], 5_000, 5_000))

    assert net_payments(plan, FEE) == (Payment("same", XMR - FEE),)


@pytest.mark.parametrize("fee", [100, 101, 10**9])
def test_a_fee_that_eats_everything_pays_nobody(fee: int) -> None:
    plan = only(ruling(terms(commission_parts=100), [outputs(100)], 5_000, 5_000))

    with pytest.raises(NothingToPayOutError) as caught:
        net_payments(plan, fee)
    assert "coins stay where they are" in caught.value.what_to_do


def test_one_piconero_more_than_the_fee_is_still_paid() -> None:
    plan = only(ruling(terms(), [outputs(100)], 5_000, 5_000))

    assert net_payments(plan, 99) == (Payment("buyer", 1),)  # the vendor's part, rounded up, is all of the share


# Outputs and the anchor


def test_the_anchor_is_the_largest_output_and_equal_ones_have_an_order_too() -> None:
    group = only_group([PlanOutput("b", 5), PlanOutput("c", 9), PlanOutput("a", 5)])

    assert [output.public_key for output in group] == ["c", "a", "b"]
    assert only(refund(terms(), [group])).anchor == PlanOutput("c", 9)


def only_group(candidates: list[PlanOutput]) -> OutputGroup:
    groups = group_outputs(candidates, input_fee_piconero=0)
    assert len(groups) == 1
    return groups[0]


def test_an_output_that_is_worth_no_more_than_the_fee_it_adds_stays_where_it_is() -> None:
    (group,) = group_outputs([PlanOutput("a", 10), PlanOutput("b", 11), PlanOutput("c", 1)], input_fee_piconero=10)

    assert group == (PlanOutput("b", 11),)


def test_225_coins_of_a_stranger_do_not_displace_the_deposit() -> None:
    deposit = PlanOutput("deposit", XMR)
    spam = [PlanOutput(f"{number:03}", 2 * 10**9) for number in range(225)]

    first, *others = group_outputs([*spam, deposit], input_fee_piconero=10**9)

    assert first[0] == deposit
    assert [len(group) for group in (first, *others)] == [100, 100, 26]


@pytest.mark.parametrize("candidates", [[], [PlanOutput("a", 10)]])
def test_with_nothing_worth_moving_there_is_nothing_to_pay_out(candidates: list[PlanOutput]) -> None:
    with pytest.raises(NothingToPayOutError):
        group_outputs(candidates, input_fee_piconero=10)


def test_a_beneficiary_who_gets_nothing_is_not_in_the_plan() -> None:
    plan = only(release(terms(commission_parts=1), [outputs(XMR)]))

    assert [share.beneficiary for share in plan.shares] == [Beneficiary.VENDOR, Beneficiary.COMMISSION]
    assert all(share.gross_piconero > 0 for share in plan.shares)
