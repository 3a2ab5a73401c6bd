"""Predicted fees: a first guess near what real wallets paid, rounded as Monero rounds."""

from __future__ import annotations

from itertools import pairwise

import pytest

from monero_escrow.core.fees import FeeRate, transaction_weight

REGTEST_FEE_PER_BYTE_PICONERO = 1_200_000
MASK = 10_000


def test_each_input_and_each_output_adds_weight() -> None:
    for outputs in range(2, 17):
        assert all(
            transaction_weight(one, outputs) < transaction_weight(more, outputs)
            for one, more in pairwise(range(1, 101))
        )
    for inputs in (1, 2, 100):
        assert all(
            transaction_weight(inputs, one) < transaction_weight(inputs, more) for one, more in pairwise(range(2, 17))
        )


@pytest.mark.parametrize("inputs", [1, 2, 50, 100])
@pytest.mark.parametrize("outputs", [2, 3, 4])
def test_one_more_input_always_adds_the_same_whatever_is_there_already(inputs: int, outputs: int) -> None:
    assert transaction_weight(inputs + 1, outputs) - transaction_weight(inputs, outputs) == FeeRate(1, 1).of_input()


def test_a_wallet_puts_a_hundred_inputs_into_one_transaction() -> None:
    """It begins another at two thirds of what a transaction may weigh (`TX_WEIGHT_TARGET`, wallet2.cpp)."""
    heaviest = 300_000 // 2 - 600

    assert transaction_weight(100, 4) < heaviest * 2 // 3


def test_the_guess_is_near_what_a_real_wallet_paid_and_not_below_it() -> None:
    """0.18.5.3 on a private chain: a sweep of one output to one recipient, so with two outputs, cost this much."""
    really_paid_piconero = 1_808_400_000

    predicted = FeeRate(REGTEST_FEE_PER_BYTE_PICONERO, MASK).of_transaction(1, 1)

    assert really_paid_piconero <= predicted <= really_paid_piconero * 103 // 100


def test_one_recipient_costs_as_much_as_two_since_a_transaction_has_two_outputs_at_least() -> None:
    rate = FeeRate(REGTEST_FEE_PER_BYTE_PICONERO, MASK)
    one, two, three = (rate.of_transaction(1, recipients) for recipients in (1, 2, 3))

    assert one == two < three


@pytest.mark.parametrize("inputs", [1, 2, 7])
@pytest.mark.parametrize("recipients", [1, 2, 3])
@pytest.mark.parametrize(("per_byte", "mask"), [(1_200_000, 10_000), (20_000, 10_000), (12_345, 7), (1, 1), (3, 10**9)])
def test_a_fee_is_rounded_up_to_the_mask_and_by_less_than_one_of_it(
    inputs: int, recipients: int, per_byte: int, mask: int
) -> None:
    exact = transaction_weight(inputs, max(2, recipients)) * per_byte

    fee = FeeRate(per_byte, mask).of_transaction(inputs, recipients)

    assert fee % mask == 0
    assert 0 <= fee - exact < mask
