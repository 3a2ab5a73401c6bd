"""Which outputs a fake wallet spends for which payments, and the fee: what Monero's `create_transactions` decides.

Fees follow `core.fees`, less a few bytes drawn by lot, as a real transaction's size changes with its decoys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from monero_escrow.core.fees import transaction_weight
from monero_escrow.monero.error_codes import refusal_of
from monero_escrow.monero.fake.alarms import NotModelledError
from monero_escrow.monero.fake.coins import is_unlocked
from monero_escrow.monero.fake.daemon import FEE_ESTIMATE
from monero_escrow.monero.fake.files import CacheFile, Coin

# src/wallet/wallet2.cpp: TX_WEIGHT_TARGET of upper_transaction_weight_limit, where the wallet begins another one.
_HEAVIEST: Final = (300_000 // 2 - 600) * 2 // 3
# APPROXIMATE_INPUT_BYTES: what is not worth that much is left out without a word.
_DUST_BYTES: Final = 80
_JITTER_BYTES: Final = 12

Payments = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Draft:
    """One transaction to be made: what it spends, whom it pays how many piconero, what is left, and the fee."""

    coins: tuple[Coin, ...]
    payments: tuple[tuple[str, int], ...]
    change_piconero: int
    fee_piconero: int

    @property
    def amount_in_piconero(self) -> int:
        """What its inputs carry."""
        return sum(coin.output.amount_piconero for coin in self.coins)


def draft_transfer(
    cache: CacheFile, payments: Payments, *, priority: int, subtract_fee_from: Sequence[int], rng: Random
) -> Draft:
    """One transaction that pays these, from the largest outputs that may be spent.

    -17 and -37 when the amounts are not there or not unlocked, -16 when only the fee does not fit in.
    """
    _check(payments, subtract_fee_from)
    total = sum(amount for _, amount in payments)
    unspent = [coin for key, coin in cache.coins.items() if key not in cache.spent and key not in cache.frozen]
    least_fee = 0 if subtract_fee_from else 1
    if total + least_fee > sum(coin.output.amount_piconero for coin in unspent):
        raise refusal_of("transfer", -17, "")
    if total > sum(coin.output.amount_piconero for coin in unspent if is_unlocked(coin, cache)):
        raise refusal_of("transfer", -37, "")
    chosen: list[Coin] = []
    for coin in sorted(_spendable(cache, priority), key=lambda coin: -coin.output.amount_piconero):
        chosen.append(coin)
        draft = _draft(tuple(chosen), payments, priority, subtract_fee_from, rng)
        if draft is not None:
            if transaction_weight(len(chosen), len(payments) + 1) > _HEAVIEST:
                raise NotModelledError("a transfer too large for one transaction")
            return draft
    raise refusal_of("transfer", -16, "")


def draft_sweep(cache: CacheFile, address: str, *, priority: int, rng: Random) -> list[Draft]:
    """Everything that may be spent to one address, in several transactions if one would be too heavy; -4 for
    nothing.
    """
    coins = _spendable(cache, priority)
    most = next(count for count in range(1, 1_000) if transaction_weight(count + 1, 2) > _HEAVIEST)
    drafts = []
    for first in range(0, len(coins), most):
        some = tuple(coins[first : first + most])
        fee = _fee(len(some), 2, priority, rng)
        amount = sum(coin.output.amount_piconero for coin in some) - fee
        if amount <= 0:
            raise NotModelledError("a sweep of less than its fee")
        drafts.append(Draft(some, ((address, amount),), 0, fee))
    if not drafts:
        raise refusal_of("sweep_all", -4, "")
    return drafts


def _check(payments: Payments, subtract_fee_from: Sequence[int]) -> None:
    if not payments:
        raise refusal_of("transfer", -20, "")
    if any(amount == 0 for _, amount in payments):
        raise refusal_of("transfer", -46, "")
    if len(subtract_fee_from) > 1:
        raise NotModelledError("a fee taken from several payments")


def _spendable(cache: CacheFile, priority: int) -> list[Coin]:
    dust = _DUST_BYTES * _per_byte(priority)
    return [
        coin
        for key, coin in cache.coins.items()
        if key in cache.key_images_known
        and key not in cache.spent
        and key not in cache.frozen
        and is_unlocked(coin, cache)
        and coin.output.amount_piconero > dust
    ]


def _draft(
    coins: tuple[Coin, ...], payments: Payments, priority: int, subtract_fee_from: Sequence[int], rng: Random
) -> Draft | None:
    """The transaction with these inputs; None if they do not carry it.

    The wallet reckons with a change output even where nothing is left; only a fee taken from a payment is reckoned
    without, if the amounts are exactly what the inputs carry.
    """
    left = sum(coin.output.amount_piconero for coin in coins) - sum(amount for _, amount in payments)
    if left < 0:
        return None
    if not subtract_fee_from:
        fee = _fee(len(coins), len(payments) + 1, priority, rng)
        return Draft(coins, tuple(payments), left - fee, fee) if left >= fee else None
    fee = _fee(len(coins), max(2, len(payments) + (left > 0)), priority, rng)
    (bearer,) = subtract_fee_from
    if payments[bearer][1] <= fee:
        raise refusal_of("transfer", -16, "")
    nets = tuple(
        (address, amount - fee if place == bearer else amount) for place, (address, amount) in enumerate(payments)
    )
    return Draft(coins, nets, left, fee)


def _fee(inputs: int, outputs: int, priority: int, rng: Random) -> int:
    fee = (transaction_weight(inputs, outputs) - rng.randrange(_JITTER_BYTES)) * _per_byte(priority)
    mask = FEE_ESTIMATE.quantization_mask
    return -(-fee // mask) * mask


def _per_byte(priority: int) -> int:
    if not 1 <= priority <= len(FEE_ESTIMATE.fees_piconero):
        raise NotModelledError(f"priority {priority}")
    return FEE_ESTIMATE.fees_piconero[priority - 1]
