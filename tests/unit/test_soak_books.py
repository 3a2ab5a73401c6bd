"""The soak's comparison sees what it is there to see: each wrong thing alone, and nothing where nothing is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest

from monero_escrow.demo.people import Pocket
from monero_escrow.monero.person import Person
from soak.books import Findings, compare_order
from soak.orders import KINDS, Order

AMOUNT, FEE = 1_000, 10

ESCROW: dict[str, Any] = {
    "escrow_id": "e1",
    "order_id": "soak-1",
    "state": "settled",
    "waits_for": "Nobody.",
    "deposit_address": "deposit",
    "deposits": [{"txid": "in", "amount_piconero": str(AMOUNT), "status": "counted", "payout": 1}],
    "payouts": [
        {
            "number": 1,
            "state": "settled",
            "txid": "out",
            "fee_piconero": str(FEE),
            "total_piconero": str(AMOUNT),
            "payments": [{"address": "vendor", "amount_piconero": str(AMOUNT - FEE)}],
        }
    ],
    "history": [
        {"action": action}
        for action in ("init_escrow", "payout_to_be_signed", "payout_signed", "payout_broadcast", "payout_settled")
    ],
}
RECEIVED = {("vendor", 7): [("out", AMOUNT - FEE)]}

Spoil = Callable[[dict[str, Any], dict[Any, Any]], object]


class Somebody:
    def __init__(self, name: str) -> None:
        self.name = name


def findings_of(escrow: dict[str, Any], received: dict[Any, Any]) -> Findings:
    order = Order(
        1,
        KINDS[0],
        AMOUNT,
        buyer=Pocket(cast("Person", Somebody("buyer")), "buyer", 3),
        vendor=Pocket(cast("Person", Somebody("vendor")), "vendor", 7),
        escrow_id="e1",
        deposit_address="deposit",
        paid={"in": AMOUNT},
    )
    findings = Findings()
    compare_order(findings, order, escrow, received)
    return findings


def test_an_order_that_went_well_has_no_differences() -> None:
    findings = findings_of(ESCROW, RECEIVED)
    assert findings.all_well
    assert (findings.payouts, findings.deposits) == (1, 1)
    assert (findings.paid_out_piconero, findings.fees_piconero) == (AMOUNT - FEE, FEE)


def test_a_second_payment_to_a_receiver_is_doubled() -> None:
    received = {("vendor", 7): [*RECEIVED["vendor", 7], ("again", AMOUNT - FEE)]}
    findings = findings_of(ESCROW, received)
    assert findings.doubled == [f"soak-1: vendor was to get {AMOUNT - FEE} and got {2 * (AMOUNT - FEE)} piconero."]


SPOILS: dict[str, Spoil] = {
    "a receiver got a piconero less": lambda _, received: received.update({("vendor", 7): [("out", AMOUNT - FEE - 1)]}),
    "a receiver got nothing": lambda _, received: received.clear(),
    "it came by another transaction": lambda _, received: received.update({("vendor", 7): [("other", AMOUNT - FEE)]}),
    "the escrow is not at its end": lambda escrow, _: escrow.update(state="paying_out"),
    "a payout is not settled": lambda escrow, _: escrow["payouts"][0].update(state="broadcast"),
    "the address is another one": lambda escrow, _: escrow.update(deposit_address="another"),
    "payments and fee are not the total": lambda escrow, _: escrow["payouts"][0].update(fee_piconero="11"),
    "a deposit is missing": lambda escrow, _: escrow["deposits"].clear(),
    "a deposit belongs to no payout": lambda escrow, _: escrow["deposits"][0].update(payout=None),
    "a deposit is another sum": lambda escrow, _: escrow["deposits"][0].update(amount_piconero="999"),
    "an audit row is missing": lambda escrow, _: escrow["history"].pop(2),
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
def test_whatever_is_wrong_is_a_difference(spoil: Spoil) -> None:
    escrow, received = copy.deepcopy(ESCROW), copy.deepcopy(RECEIVED)
    spoil(escrow, received)
    findings = findings_of(escrow, received)
    assert findings.differences
    assert not findings.doubled
