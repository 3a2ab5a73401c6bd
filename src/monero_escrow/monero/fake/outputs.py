"""A fake transaction's outputs, with the real derivations: keys, view tags and amounts as the receivers find them.

A transaction's secrets follow from its txid, so that a raw form read again has the same outputs. What only a scan asks
for is made when one asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from monero_escrow.core.curve import GROUP_ORDER, KEY_BYTES, public_key
from monero_escrow.core.derivation import (
    amount_with,
    output_key,
    output_scalar,
    shared_point,
    varint,
    view_tag,
    without_small_order,
)
from monero_escrow.core.scan import PublicOutput, PublicTransaction
from monero_escrow.monero.fake.keys import private_key_of

_PUBLIC_KEY_TAG: Final = b"\x01"
_ADDITIONAL_KEYS_TAG: Final = b"\x04"


@dataclass(frozen=True, slots=True)
class Payment:
    """Whom an output is for: the two public keys of the address, hex."""

    spend_key: str
    view_key: str
    to_subaddress: bool
    amount_piconero: int


def one_time_keys(txid: str, payments: Sequence[Payment]) -> list[str]:
    """The public keys of the outputs, hex."""
    return [
        output_key(output_scalar(_shared(txid, place, one), place), bytes.fromhex(one.spend_key)).hex()
        for place, one in enumerate(payments)
    ]


def public_parts(txid: str, payments: Sequence[Payment], *, is_reward: bool) -> PublicTransaction:
    """What everybody sees. With a subaddress among the receivers each output has a key of its own besides."""
    extra = _PUBLIC_KEY_TAG + public_key(private_key_of("transaction key", txid))
    if any(one.to_subaddress for one in payments):
        extra += _ADDITIONAL_KEYS_TAG + varint(len(payments))
        extra += b"".join(_additional_key(txid, place, one) for place, one in enumerate(payments))
    keys = one_time_keys(txid, payments)
    return PublicTransaction(
        txid,
        extra,
        tuple(
            _public_output(bytes.fromhex(key), _shared(txid, place, one), place, one.amount_piconero, is_reward)
            for place, (key, one) in enumerate(zip(keys, payments, strict=True))
        ),
    )


def _public_output(key: bytes, shared: bytes, place: int, amount_piconero: int, is_reward: bool) -> PublicOutput:
    tag = view_tag(shared, place)
    if is_reward:
        return PublicOutput(key, tag, amount_piconero)
    encrypted = amount_with(output_scalar(shared, place), amount_piconero.to_bytes(8, "little"))
    return PublicOutput(key, tag, encrypted_amount=encrypted)


@lru_cache(maxsize=16_384)
def _shared(txid: str, place: int, payment: Payment) -> bytes:
    """D, from the sender's side."""
    private = _additional_secret(txid, place) if payment.to_subaddress else private_key_of("transaction key", txid)
    return shared_point(private, _eightfold(payment.view_key))


@lru_cache(maxsize=16_384)
def _eightfold(view_key: str) -> bytes:
    return without_small_order(bytes.fromhex(view_key))


def _additional_secret(txid: str, place: int) -> bytes:
    return private_key_of("additional transaction key", txid, str(place))


def _additional_key(txid: str, place: int, payment: Payment) -> bytes:
    """A subaddress's own spend key takes the base point's place (`construct_tx_with_tx_key`)."""
    private = _additional_secret(txid, place)
    if not payment.to_subaddress:
        return public_key(private)
    eighth = int.from_bytes(private, "little") * pow(8, -1, GROUP_ORDER) % GROUP_ORDER
    return shared_point(eighth.to_bytes(KEY_BYTES, "little"), _eightfold(payment.spend_key))
