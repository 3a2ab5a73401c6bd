"""The key exchange of a fake wallet: what each round takes, says and leaves in the keys file.

Messages mean the same whatever their bytes, and everything is derived from the wallets' own keys: so the same messages
fed to a wallet made anew, on any process, lead to the same address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from monero_escrow.core.curve import keccak256, scalar_reduce
from monero_escrow.monero.error_codes import refusal_of
from monero_escrow.monero.fake.alarms import NotModelledError
from monero_escrow.monero.fake.files import Exchange, KeysFile
from monero_escrow.monero.fake.keys import private_key_of
from monero_escrow.monero.fake.messages import UnreadableError, read_key_exchange, write_key_exchange

_THRESHOLD = 2
_PEERS = 2


def first_message(keys: KeysFile, salt: str) -> str:
    """What prepare says: who I am, and my part of the view key."""
    if keys.exchange is not None:
        raise refusal_of("prepare_multisig", -28, "")
    return write_key_exchange(1, salt, signer=keys.signer, view_part=_view_part(keys))


def made(
    keys: KeysFile, messages: Sequence[str], threshold: int, password: str, salt: str, *, enabled: bool
) -> tuple[KeysFile, str]:
    """The keys after make, and what it says."""
    if keys.exchange is not None:
        raise refusal_of("make_multisig", -28, "")
    if threshold != _THRESHOLD or password != keys.password:
        raise NotModelledError("make_multisig other than 2 of 3, or with another password")
    peers = _read("make_multisig", messages, expected_round=1)
    signers = tuple(sorted([keys.signer, *(peer["signer"] for peer in peers)]))
    if len(set(signers)) != len(signers):
        raise NotModelledError("make_multisig with a wallet's own message, or one twice")
    parts = sorted([_view_part(keys), *(str(peer["view_part"]) for peer in peers)])
    view_key = scalar_reduce(keccak256("".join(parts).encode()))
    exchange = Exchange(enabled=enabled, round=1, signers=signers, view_key=view_key)
    return replace(keys, exchange=exchange), _message_of(exchange, keys, salt)


def exchanged(keys: KeysFile, messages: Sequence[str], password: str, salt: str) -> tuple[KeysFile, str]:
    """The keys after a further exchange, and what it says."""
    method, exchange = "exchange_multisig_keys", keys.exchange
    if exchange is None:
        raise refusal_of(method, -31, "")
    if not exchange.enabled:
        raise refusal_of(method, -48, "")
    if exchange.finished:
        raise refusal_of(method, -1, "")
    if password != keys.password:
        raise NotModelledError("exchange_multisig_keys with another password")
    peers = _read(method, messages, expected_round=exchange.round + 1)
    named = sorted([keys.signer, *(str(peer["signer"]) for peer in peers)])
    if named != list(exchange.signers) or any(peer["signers"] != ",".join(exchange.signers) for peer in peers):
        raise NotModelledError("exchange_multisig_keys with messages of another set-up")
    further = replace(exchange, round=exchange.round + 1)
    return replace(keys, exchange=further), _message_of(further, keys, salt)


def _message_of(exchange: Exchange, keys: KeysFile, salt: str) -> str:
    return write_key_exchange(exchange.round + 1, salt, signer=keys.signer, signers=",".join(exchange.signers))


def _read(method: str, messages: Sequence[str], *, expected_round: int) -> list[Mapping[str, Any]]:
    try:
        read = [read_key_exchange(message) for message in messages]
    except UnreadableError:
        raise refusal_of(method, -1, "") from None
    if any(made_in != expected_round for made_in, _ in read):
        raise refusal_of(method, -1, "expected kex round")
    if len(read) != _PEERS:
        raise NotModelledError(f"{method} with {len(read)} messages")
    return [content for _, content in read]


def _view_part(keys: KeysFile) -> str:
    """Private view-key material: the first messages are secrets, as the real ones."""
    return private_key_of("view part", keys.spend_key.hex()).hex()
