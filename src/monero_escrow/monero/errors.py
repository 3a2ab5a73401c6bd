"""Every way a call to Monero can fail, as a class that says what it means.

Two families. A `MoneroRpcError` is an answer: the program was reached, ran the call and refused it. A
`TransportError` is the lack of one: nobody listened, nobody answered in time, or what answered is not Monero.
`error_codes.py` says which refusal becomes which class.
"""

from __future__ import annotations

from typing import ClassVar

from monero_escrow.core.errors import EscrowError

# --- no answer -------------------------------------------------------------------------------------------------------


class TransportError(EscrowError):
    """There is no answer to believe. `url` has no credentials in it."""

    code = "monero_transport"
    what_to_do = "Check that Monero's program runs at this address and look at its log."

    def __init__(self, url: str, method: str, message: str) -> None:
        super().__init__(f"{method} at {url}: {message}")
        self.url = url
        self.method = method

    @property
    def public_message(self) -> str:
        """Without the URL."""
        return f"One of Monero's programs did not answer as it should ({self.code})."


class ProcessUnreachableError(TransportError):
    """No connection could be made: the call was never sent and changed nothing."""

    code = "process_unreachable"
    what_to_do = "Start the program, or correct its URL."


class CallAbandonedError(TransportError):
    """The call was sent and has no answer: it may have run, may be running, and may still run later.

    The process must not serve another wallet until it was restarted, or a quarantine longer than every time
    limit has passed.
    """

    code = "call_abandoned"
    what_to_do = "Find out from the wallet or the chain whether the call took effect before repeating it."


class AuthenticationRefusedError(TransportError):
    """One side does not take the other for what it should be. The call did not run and changed nothing."""

    code = "authentication_refused"
    what_to_do = "Give the credentials and the certificate this process was started with."


class LoginRefusedError(AuthenticationRefusedError):
    """The process wants another login, or the one it was started with is not given."""

    code = "login_refused"
    what_to_do = (
        "Set the login that the process was started with (--rpc-login): in MONERO_RPC_CREDENTIALS_FILE, or for all "
        "processes in MONERO_RPC_LOGIN."
    )


class WrongCertificateError(AuthenticationRefusedError):
    """Who answers there is not known: it may be another program. Nothing was sent to it."""

    code = "wrong_certificate"
    what_to_do = (
        "Find out what listens there. Only if it is your own process with a new certificate, put that one's "
        "fingerprint into MONERO_RPC_CREDENTIALS_FILE."
    )


class CallerRefusedError(AuthenticationRefusedError):
    """The process ended the handshake: it does not know our certificate, or we have none to show."""

    code = "caller_refused"
    what_to_do = (
        "Start the process with the fingerprint of our certificate in --rpc-ssl-allowed-fingerprints, and give "
        "client_certificate and client_key in MONERO_RPC_CREDENTIALS_FILE."
    )


class NotMoneroError(TransportError):
    """What answered does not speak Monero's JSON-RPC, or a field of the answer has another shape than it must have."""

    code = "not_monero"
    what_to_do = "Check what listens at this URL and which version it is."


# --- an answer that refuses ------------------------------------------------------------------------------------------


class MoneroRpcError(EscrowError):
    """The program refused the call. `meaning` is our sentence for it; `rpc_code` and `method` say which refusal it was.

    `changed_nothing` is True only where the source refuses before it touches the wallet, so that repeating is safe;
    False means unknown, not changed.
    """

    code = "monero_refused"
    what_to_do = "Look at the program's own log; the wallet's state says what to do next."
    meaning: ClassVar[str] = "the program refused the call"
    changed_nothing: ClassVar[bool] = False

    def __init__(self, method: str, rpc_code: int) -> None:
        super().__init__(f"{method}: {self.meaning} (code {rpc_code})")
        self.method = method
        self.rpc_code = rpc_code


class UnknownMethodError(MoneroRpcError):
    """This version of the program does not know the method."""

    code = "unknown_method"
    meaning = "this version of the program does not know the method"
    what_to_do = "Use a newer Monero; `monero-escrow doctor` says which."
    changed_nothing = True


class UncaughtInsideMoneroError(MoneroRpcError):
    """Code 0: an exception nobody in the program caught, often with an empty message, often for want of a daemon."""

    code = "uncaught_inside_monero"
    meaning = "the program failed inside and does not say why"


class BlockNotThereError(MoneroRpcError):
    """The daemon's chain does not reach up to this block, or no longer (CORE_RPC_ERROR_CODE_TOO_BIG_HEIGHT)."""

    code = "block_not_there"
    meaning = "the daemon has no block at this height"
    what_to_do = "Ask how high its chain is; it may have become shorter for a moment, while blocks are replaced."
    changed_nothing = True

    def __init__(self, method: str, rpc_code: int = -2) -> None:
        super().__init__(method, rpc_code)


class NoWalletOpenError(MoneroRpcError):
    """Nothing is open in the process."""

    code = "no_wallet_open"
    meaning = "no wallet is open"
    changed_nothing = True


class WalletExistsError(MoneroRpcError):
    """A wallet of that name is there already; it was not touched, and an open wallet stays open."""

    code = "wallet_exists"
    meaning = "a wallet of that name exists already"
    changed_nothing = True


class WrongPasswordError(MoneroRpcError):
    """The password does not fit the wallet. From `open_wallet` it leaves an earlier wallet open."""

    code = "wrong_password"
    meaning = "the password does not fit the wallet"
    changed_nothing = True


class WalletFileMissingError(MoneroRpcError):
    """There is no wallet of that name. An earlier wallet stays open."""

    code = "wallet_file_missing"
    meaning = "there is no wallet of that name"
    changed_nothing = True


class WalletFileLockedError(MoneroRpcError):
    """Another process has the wallet open. An earlier wallet stays open."""

    code = "wallet_file_locked"
    meaning = "another process has this wallet open"
    what_to_do = "Close it there, or rebuild the wallet here from what is stored."
    changed_nothing = True


class WalletFileDamagedError(MoneroRpcError):
    """The file is no wallet, or its cache does not belong to its keys (a kill amid the writes of an exchange)."""

    code = "wallet_file_damaged"
    meaning = "the wallet's files are damaged or do not belong together"
    what_to_do = "Rebuild the wallet from what is stored; a wallet file is only a cache."
    changed_nothing = True


class InvalidFilenameError(MoneroRpcError):
    """The name is refused, for it holds a path or nothing."""

    code = "invalid_filename"
    meaning = "the name of the wallet is refused"
    changed_nothing = True


class StaleKeyExchangeError(MoneroRpcError):
    """The messages belong to another round than the wallet is in: this round was done before, or one was left out."""

    code = "stale_key_exchange"
    meaning = "the messages belong to another round of the key exchange"
    what_to_do = "If its answer was lost, rebuild the wallet from its stored messages."
    changed_nothing = True


class KeyImageUnknownError(MoneroRpcError):
    """The wallet owns no output with this key image, or does not know it yet."""

    code = "key_image_unknown"
    meaning = "the wallet knows no output with this key image"
    what_to_do = "Exchange multisig info first: a multisig wallet knows its key images only after an import."
    changed_nothing = True


class AlreadyMultisigError(MoneroRpcError):
    """`make_multisig` (or prepare) on a wallet that was made multisig before."""

    code = "already_multisig"
    meaning = "the wallet is multisig already"
    what_to_do = "If make's answer was lost, rebuild the wallet from its stored messages: it cannot be asked again."
    changed_nothing = True


class NotMultisigError(MoneroRpcError):
    """The wallet is not multisig, or its set-up is not finished."""

    code = "not_multisig"
    meaning = "the wallet is not multisig, or not finished"
    changed_nothing = True


class MultisigDisabledError(MoneroRpcError):
    """Multisig is not enabled in this wallet: it was reopened between prepare and make."""

    code = "multisig_disabled"
    meaning = "multisig is not enabled in this wallet"
    what_to_do = "Rebuild the wallet from its seed: prepare and make belong to one opening."


class BadMultisigTxError(MoneroRpcError):
    """The set cannot be read or does not hold together; also a rebuilt wallet's, before it imported a peer's info."""

    code = "bad_multisig_tx"
    meaning = "the transaction set cannot be read by this wallet"
    what_to_do = "Refresh, exchange multisig info and try again; if it stays, make a new proposal."


class StaleMultisigInfoError(MoneroRpcError):
    """The signature was refused: info is good for one signing, and this set was made with info that is used up."""

    code = "stale_multisig_info"
    meaning = "the set was made with multisig info that is used up"
    what_to_do = "Exchange multisig info and make a new proposal that spends the same anchor."


class MultisigSubmissionError(MoneroRpcError):
    """The signed set was not accepted: the daemon refused it, or cannot be reached."""

    code = "multisig_submission_refused"
    meaning = "the signed set was not accepted for the network"
    what_to_do = "Ask the daemon for the anchor's key image and the txid before anything else."


class NotEnoughMoneyError(MoneroRpcError):
    """The unlocked, unfrozen outputs do not carry the amounts and the fee."""

    code = "not_enough_money"
    meaning = "the unlocked outputs do not carry the amounts and the fee"
    changed_nothing = True


class NotEnoughDecoysError(MoneroRpcError):
    """The chain is too young to hide the inputs among others: 16 outputs that can be spent are needed for each."""

    code = "not_enough_decoys"
    meaning = "the chain has too few outputs to hide among"
    what_to_do = "On a private chain, mine more blocks first."
    changed_nothing = True


class NoDaemonError(MoneroRpcError):
    """The wallet cannot reach its daemon, or that is busy syncing."""

    code = "wallet_without_daemon"
    meaning = "the wallet cannot reach its daemon, or the daemon is busy"
    what_to_do = "Check the daemon; the call can be repeated when it answers."


class WrongAddressError(MoneroRpcError):
    """An address cannot be read, or belongs to another network."""

    code = "wrong_address"
    meaning = "an address is not one of this network"
    changed_nothing = True


class TransactionRefusedError(MoneroRpcError):
    """The daemon did not take a transaction. `reasons` are monerod's own flags, such as "double_spend",
    "fee_too_low".
    """

    code = "transaction_refused"
    meaning = "the daemon refused the transaction"
    what_to_do = "Ask the daemon for the anchor's key image: a double spend means that another transaction was first."
    changed_nothing = True

    def __init__(self, method: str, reasons: frozenset[str]) -> None:
        super().__init__(method, 0)
        self.reasons = reasons
        self.args = (f"{method}: {self.meaning} ({', '.join(sorted(reasons)) or 'it names no reason'})",)
