"""Which refusal of wallet-rpc becomes which class of `errors.py`.

The codes are those of Monero's `src/wallet/wallet_rpc_server_error_codes.h`; `CLASS_OF_CODE` is that table as data.
One code often means several things: -1 is a wrong password, a missing file, a locked file or a stale message. From
0.18.4.0 on the program's own words tell them apart, and `CLASS_OF_WORDS` is that table. Nothing else of those words
is kept: they may quote addresses, file names or messages, and an error may end up in a log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from monero_escrow.monero.errors import (
    AlreadyMultisigError,
    BadMultisigTxError,
    InvalidFilenameError,
    KeyImageUnknownError,
    MoneroRpcError,
    MultisigDisabledError,
    MultisigSubmissionError,
    NoDaemonError,
    NotEnoughDecoysError,
    NotEnoughMoneyError,
    NotMultisigError,
    NoWalletOpenError,
    StaleKeyExchangeError,
    StaleMultisigInfoError,
    UncaughtInsideMoneroError,
    UnknownMethodError,
    WalletExistsError,
    WalletFileDamagedError,
    WalletFileLockedError,
    WalletFileMissingError,
    WrongAddressError,
    WrongPasswordError,
)


def _refusal(
    name: str, code: str, meaning: str, *, what_to_do: str | None = None, changed_nothing: bool = False
) -> type[MoneroRpcError]:
    """One class of refusal nobody needs to catch by name; those that are caught are written out below."""
    members: dict[str, object] = {
        "__doc__": f"{meaning[0].upper()}{meaning[1:]}.",
        "__module__": __name__,
        "code": code,
        "meaning": meaning,
        "changed_nothing": changed_nothing,
    }
    if what_to_do is not None:
        members["what_to_do"] = what_to_do
    return type(name, (MoneroRpcError,), members)


CLASS_OF_CODE: Final[Mapping[int, type[MoneroRpcError]]] = {
    0: UncaughtInsideMoneroError,
    -1: MoneroRpcError,  # anything; see CLASS_OF_WORDS
    -2: WrongAddressError,
    -3: NoDaemonError,  # daemon busy
    -4: _refusal("TransferRefusedError", "transfer_refused", "the transfer cannot be made"),
    -5: _refusal("WrongPaymentIdError", "wrong_payment_id", "the payment ID cannot be used", changed_nothing=True),
    -6: _refusal("UnknownTransferTypeError", "unknown_transfer_type", "the kind of transfer asked for is unknown"),
    -7: _refusal(
        "DeniedError",
        "denied",
        "the process was started in a restricted mode that forbids this",
        what_to_do="Start it without --restricted-rpc.",
        changed_nothing=True,
    ),
    -8: _refusal("WrongTxidError", "wrong_txid", "the txid cannot be read or is unknown"),
    -9: _refusal("WrongSignatureError", "wrong_signature", "the signature does not hold"),
    -10: _refusal("WrongKeyImageError", "wrong_key_image", "the key image cannot be read", changed_nothing=True),
    -11: _refusal("WrongUriError", "wrong_uri", "the URI cannot be read"),
    -12: _refusal("WrongIndexError", "wrong_index", "the index is out of range"),
    -13: NoWalletOpenError,
    -14: _refusal("WrongAccountIndexError", "wrong_account_index", "the wallet has no such account"),
    -15: _refusal("WrongSubaddressIndexError", "wrong_subaddress_index", "the wallet has no such subaddress"),
    -16: NotEnoughMoneyError,  # the fee does not fit in, or an output is not worth its own input
    -17: NotEnoughMoneyError,  # balance
    -18: _refusal("TransactionTooLargeError", "tx_too_large", "the transaction would be too large"),
    -19: NotEnoughDecoysError,
    -20: _refusal("NoDestinationError", "no_destination", "the transfer has no destination", changed_nothing=True),
    -21: WalletExistsError,
    -22: WrongPasswordError,
    -23: _refusal(
        "NoWalletDirError", "no_wallet_dir", "the process was started without --wallet-dir", changed_nothing=True
    ),
    -24: _refusal("NoTxKeyError", "no_tx_key", "the wallet does not have the transaction's key"),
    -25: _refusal("WrongKeyError", "wrong_key", "the key cannot be read", changed_nothing=True),
    -26: _refusal("BadHexError", "bad_hex", "the data is not hexadecimal", changed_nothing=True),
    -27: _refusal("BadTxMetadataError", "bad_tx_metadata", "the transaction's metadata cannot be read"),
    -28: AlreadyMultisigError,
    -29: _refusal("WatchOnlyWalletError", "watch_only_wallet", "the wallet has no spend key", changed_nothing=True),
    -30: _refusal("BadMultisigInfoError", "bad_multisig_info", "the multisig info cannot be used by this wallet"),
    -31: NotMultisigError,
    -32: _refusal("WrongNoncesError", "wrong_nonces", "the set's nonces do not fit the wallet's"),
    -33: _refusal("ThresholdNotReachedError", "threshold_not_reached", "not enough multisig infos or signatures"),
    -34: BadMultisigTxError,
    -35: StaleMultisigInfoError,
    -36: MultisigSubmissionError,
    -37: NotEnoughMoneyError,  # unlocked balance
    -38: NoDaemonError,
    -39: _refusal("BadUnsignedTxError", "bad_unsigned_tx", "the unsigned transaction cannot be read"),
    -40: _refusal("BadSignedTxError", "bad_signed_tx", "the signed transaction cannot be read"),
    -41: _refusal("SignedSubmissionError", "signed_submission_refused", "the signed transaction was not accepted"),
    -42: _refusal("SignUnsignedError", "sign_unsigned_failed", "the transaction could not be signed"),
    -43: _refusal("NonDeterministicWalletError", "non_deterministic", "the wallet has no seed", changed_nothing=True),
    -44: _refusal("InvalidLogLevelError", "invalid_log_level", "the log level is unknown", changed_nothing=True),
    -45: _refusal("AttributeNotFoundError", "attribute_not_found", "the wallet has no such attribute"),
    -46: _refusal(
        "ZeroAmountError", "zero_amount", "an amount is zero, or smaller than its part of the fee", changed_nothing=True
    ),
    -47: _refusal("InvalidSignatureTypeError", "invalid_signature_type", "the kind of signature is unknown"),
    -48: MultisigDisabledError,
    -49: _refusal("ProxyDefinedError", "proxy_defined", "the process was started with a proxy of its own"),
    -50: _refusal("NonzeroUnlockTimeError", "nonzero_unlock_time", "an unlock time other than 0 is refused"),
    -51: _refusal("BackgroundWalletError", "background_wallet", "the wallet is a background wallet that cannot spend"),
    -52: _refusal("BackgroundSyncingError", "background_syncing", "the wallet is syncing in the background"),
    -32601: UnknownMethodError,
}

# First match wins; lower case, as 0.18.4.0 to 0.18.5.3 write them (src/wallet/wallet_errors.h, src/multisig).
CLASS_OF_WORDS: Final[tuple[tuple[str, type[MoneroRpcError]], ...]] = (
    ("invalid password", WrongPasswordError),
    ("file not found", WalletFileMissingError),
    ("is opened by another wallet program", WalletFileLockedError),
    ("invalid filename", InvalidFilenameError),
    ("expected kex round", StaleKeyExchangeError),
    ("key image not found", KeyImageUnknownError),
    ("does not correspond", WalletFileDamagedError),
    ("failed to deserialize keys buffer", WalletFileDamagedError),
    ("no connection to daemon", NoDaemonError),
    ("failed to parse public address", WrongAddressError),
)


def refusal_of(method: str, rpc_code: int, words: str) -> MoneroRpcError:
    """The error for one refusal. `words` is only compared, never kept."""
    kind = CLASS_OF_CODE.get(rpc_code, MoneroRpcError)
    if kind is MoneroRpcError:
        lower = words.lower()
        kind = next((named for phrase, named in CLASS_OF_WORDS if phrase in lower), kind)
    return kind(method, rpc_code)
