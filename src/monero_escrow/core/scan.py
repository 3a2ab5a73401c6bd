"""Which outputs of which transactions were sent to which escrows, as far as their view keys can tell.

What this finds are hints: an escrow's wallet looks before anything is believed. A hint too many costs an opening of a
wallet; one too few is found by the sweep. So amounts are decoded and not checked against their commitments.

It is given what strangers wrote. It never raises for it, and what one transaction can cost is bounded
(`MOST_MAIN_KEYS`, `MOST_OUTPUTS`): Monero's wallets try every key of a transaction for every output, which somebody
with many keys in a transaction could use to keep a scan of ten thousand escrows busy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from nacl.exceptions import CryptoError

from monero_escrow.core.curve import IDENTITY_POINT, keccak256
from monero_escrow.core.derivation import (
    amount_with,
    both_signs,
    ladder_coordinate,
    ladder_scalar,
    output_key,
    output_scalar,
    shared_point,
    shared_y,
    spend_key_of,
    varint,
    without_small_order,
)
from monero_escrow.core.tx_extra import transaction_keys

MOST_MAIN_KEYS: Final = 4
"""Of a transaction's own public keys, so many are tried. Wallets write one; some old programs wrote two."""

MOST_OUTPUTS: Final = 16
"""Of a transaction's outputs, so many are looked at: the network allows no more (BULLETPROOF_PLUS_MAX_OUTPUTS), but for
a block's reward, whose coins never count as a deposit."""

_BATCH_WATCHERS: Final = 256


@dataclass(frozen=True, slots=True)
class PublicOutput:
    """One output as everybody sees it.

    `key` is its one-time key. `amount_piconero` is the amount of a reward, in the clear; else it is 0 and
    `encrypted_amount` holds 8 bytes, or nothing that can be read.
    """

    key: bytes
    view_tag: int | None
    amount_piconero: int = 0
    encrypted_amount: bytes = b""


@dataclass(frozen=True, slots=True)
class PublicTransaction:
    """What a scan needs of a transaction."""

    txid: str
    extra: bytes
    outputs: tuple[PublicOutput, ...]


@dataclass(frozen=True, slots=True)
class Watcher:
    """Whom the scan looks for. The private view key is a secret: it finds coins, and cannot spend them."""

    escrow_id: str
    private_view_key: bytes = field(repr=False)
    public_spend_key: bytes = field(repr=False)
    ladder_scalar: bytes | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ladder_scalar", ladder_scalar(self.private_view_key))


@dataclass(frozen=True, slots=True)
class Hint:
    """An output that seems to be an escrow's. `amount_piconero` is what its sender wrote; None if it is not readable.

    An amount of 0 is none: wallets pass over such outputs.
    """

    escrow_id: str
    txid: str
    output_index: int
    amount_piconero: int | None


@dataclass(frozen=True, slots=True)
class _Target:
    """One output, made ready to be compared with many watchers."""

    index: int
    suffix: bytes
    output: PublicOutput


def scan(transactions: Iterable[PublicTransaction], watchers: Sequence[Watcher]) -> list[Hint]:
    """The hints for all of them, each once. About 50 µs a transaction of two outputs and watcher; runs in a thread."""
    on_ladder = [watcher for watcher in watchers if watcher.ladder_scalar is not None]
    others = [watcher for watcher in watchers if watcher.ladder_scalar is None]
    hints: dict[Hint, None] = {}
    for transaction in transactions if watchers else ():
        for key, targets in _keys_and_targets(transaction):
            eightfold = without_small_order(key)
            if eightfold == IDENTITY_POINT:
                found = _to_whom_all_the_same(transaction.txid, targets, watchers)
            else:
                found = _by_ladder(transaction.txid, ladder_coordinate(key), targets, on_ladder)
                for watcher in others:
                    shared = shared_point(watcher.private_view_key, eightfold)
                    found += _matches(transaction.txid, (shared,), targets, watcher)
            hints.update(dict.fromkeys(found))
    return list(hints)


def _keys_and_targets(transaction: PublicTransaction) -> list[tuple[bytes, list[_Target]]]:
    """Each public key with the outputs it may be for: a main key for all, an additional one for that of its place."""
    keys = transaction_keys(transaction.extra)
    if not keys.main:
        return []  # as in wallet2: additional keys alone say nothing
    targets = [_Target(index, varint(index), one) for index, one in enumerate(transaction.outputs[:MOST_OUTPUTS])]
    pairs = [(key, targets) for key in dict.fromkeys(keys.main[:MOST_MAIN_KEYS])]
    return pairs + [(key, [target]) for key, target in zip(keys.additional, targets, strict=False)]


def _by_ladder(txid: str, coordinate: bytes, targets: Sequence[_Target], watchers: Sequence[Watcher]) -> list[Hint]:
    found: list[Hint] = []
    for first in range(0, len(watchers), _BATCH_WATCHERS):
        batch = watchers[first : first + _BATCH_WATCHERS]
        scalars = [watcher.ladder_scalar for watcher in batch if watcher.ladder_scalar is not None]
        for watcher, y in zip(batch, shared_y(scalars, coordinate), strict=True):
            found += _matches(txid, both_signs(y), targets, watcher)
    return found


def _matches(txid: str, points: Iterable[bytes], targets: Sequence[_Target], watcher: Watcher) -> list[Hint]:
    """The outputs that this watcher owns if D is one of these points."""
    found = []
    for shared in points:
        prefix = b"view_tag" + shared
        for target in targets:
            tag = target.output.view_tag
            if tag is not None and keccak256(prefix + target.suffix)[0] != tag:
                continue
            scalar = output_scalar(shared, target.index)
            if _belongs(scalar, watcher, target.output):
                found.append(Hint(watcher.escrow_id, txid, target.index, _amount(scalar, target.output)))
    return found


def _to_whom_all_the_same(txid: str, targets: Sequence[_Target], watchers: Sequence[Watcher]) -> list[Hint]:
    """D is the identity for everyone: one multiplication an output tells whose it would be."""
    by_spend_key = {watcher.public_spend_key: watcher for watcher in watchers}
    found: list[Hint] = []
    for target in targets:
        try:
            owner = by_spend_key.get(spend_key_of(output_scalar(IDENTITY_POINT, target.index), target.output.key))
        except CryptoError:
            continue
        if owner is not None:
            found += _matches(txid, (IDENTITY_POINT,), [target], owner)
    return found


def _belongs(scalar: bytes, watcher: Watcher, output: PublicOutput) -> bool:
    try:
        return output_key(scalar, watcher.public_spend_key) == output.key
    except CryptoError:
        return False


def _amount(scalar: bytes, output: PublicOutput) -> int | None:
    if output.amount_piconero:
        return output.amount_piconero
    if len(output.encrypted_amount) != 8:
        return None
    return int.from_bytes(amount_with(scalar, output.encrypted_amount), "little")
