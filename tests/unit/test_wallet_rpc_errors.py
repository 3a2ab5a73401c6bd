"""Every code of wallet-rpc is a class that says what it means, and none of the program's own words is kept."""

from __future__ import annotations

import pytest

from monero_escrow.core.errors import EscrowError
from monero_escrow.monero.error_codes import CLASS_OF_CODE, CLASS_OF_WORDS, refusal_of
from monero_escrow.monero.errors import (
    MoneroRpcError,
    NoWalletOpenError,
    StaleKeyExchangeError,
    TransactionRefusedError,
    UncaughtInsideMoneroError,
    UnknownMethodError,
    WalletExistsError,
    WalletFileLockedError,
    WalletFileMissingError,
    WrongPasswordError,
)

# From src/wallet/wallet_rpc_server_error_codes.h: -1 to -52, and what JSON-RPC and an uncaught exception add.
ALL_CODES = [0, *range(-1, -53, -1), -32601]


@pytest.mark.parametrize("rpc_code", ALL_CODES)
def test_every_code_has_a_class_with_a_sentence_and_a_next_step(rpc_code: int) -> None:
    refusal = refusal_of("some_method", rpc_code, "")
    assert isinstance(refusal, EscrowError)
    assert (refusal.rpc_code, refusal.method) == (rpc_code, "some_method")
    assert "some_method" in refusal.message
    assert str(rpc_code) in refusal.message
    assert refusal.what_to_do
    assert refusal.__doc__


def test_there_is_no_code_beyond_those_of_the_program() -> None:
    assert sorted(CLASS_OF_CODE) == sorted(ALL_CODES)


def test_stable_codes_name_one_class_each() -> None:
    classes: set[type[MoneroRpcError]] = {
        *CLASS_OF_CODE.values(),
        *(kind for _, kind in CLASS_OF_WORDS),
        TransactionRefusedError,
    }
    assert len({kind.code for kind in classes}) == len(classes)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Failed to open wallet : Invalid password.", WrongPasswordError),
        ('Failed to open wallet : file not found "/somewhere/name.keys"', WalletFileMissingError),
        (
            'Failed to open wallet : internal error: "/somewhere/name.keys" is opened by another wallet program',
            WalletFileLockedError,
        ),
        ("Trying to update kex with a message of round 2, expected kex round number 3", StaleKeyExchangeError),
        ("Failed to open wallet", MoneroRpcError),
        ("", MoneroRpcError),
    ],
)
def test_minus_one_is_told_apart_by_the_programs_words(words: str, kind: type[MoneroRpcError]) -> None:
    assert type(refusal_of("open_wallet", -1, words)) is kind


def test_words_do_not_change_the_meaning_of_another_code() -> None:
    assert type(refusal_of("create_wallet", -21, "Invalid password")) is WalletExistsError


def test_an_unknown_code_is_still_a_refusal() -> None:
    assert type(refusal_of("new_method", -99, "something new")) is MoneroRpcError


@pytest.mark.parametrize("rpc_code", ALL_CODES)
def test_the_programs_words_are_not_kept(rpc_code: int) -> None:
    refusal = refusal_of("transfer", rpc_code, "WALLET_RPC_ERROR_CODE_WRONG_ADDRESS: 4AdUndXHHZ6cfufTMvppY6JwXNou")
    assert "4AdUndXHHZ6" not in f"{refusal!r} {refusal} {vars(refusal)} {refusal.args}"


def test_only_what_is_refused_before_the_wallet_is_touched_claims_to_have_changed_nothing() -> None:
    refused_early = (NoWalletOpenError, UnknownMethodError, WalletExistsError, WrongPasswordError)
    assert all(kind.changed_nothing for kind in refused_early)
    assert not MoneroRpcError.changed_nothing
    assert not UncaughtInsideMoneroError.changed_nothing


def test_a_refused_transaction_names_the_daemons_reasons() -> None:
    refusal = TransactionRefusedError("send_raw_transaction", frozenset({"fee_too_low", "double_spend"}))
    assert refusal.reasons == {"double_spend", "fee_too_low"}
    assert "double_spend, fee_too_low" in refusal.message
