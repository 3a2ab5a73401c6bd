"""Every call that is made to Monero's two programs: its time limit, what it changes, and what a lost answer means.

These tables are data, and the clients go by them: a call without a row cannot be made. docs/rpc-calls.md is generated
from them; tests/conformance/test_repeated_calls.py holds the programs to the last two columns.

Wallet calls are never repeated in place, whatever their row says. The process that did not answer has one thread,
which may be busy with the lost call for minutes: a repetition would only queue behind it, and might then find another
wallet open. The *step* is taken up again by its use case, on another slot, from what is durable; `again` tells it
whether it may begin with the same call. Calls to the daemon that are harmless twice are repeated in place.

A time limit is many times what the call takes on an idle machine, because giving up costs more than waiting: a call
that was given up on still runs, and its process is lost to others meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from monero_escrow.monero.errors import (
    AlreadyMultisigError,
    MoneroRpcError,
    NoWalletOpenError,
    StaleKeyExchangeError,
    StaleMultisigInfoError,
    WalletExistsError,
)


class Changes(Enum):
    """The most lasting thing a call changes."""

    NOTHING = "nothing"
    MEMORY = "memory"
    FILES = "the wallet's files"
    NETWORK = "the network"


class Again(Enum):
    """Whether a call may be made again when nobody knows whether it ran."""

    ALWAYS = "yes"
    AFTER_ASKING = "after asking"
    NEVER = "no"


@dataclass(frozen=True, slots=True)
class Call:
    """One row. `when_lost` is what the service does; `first` what is asked, or done, before the call is made again.

    `refuses` is what the program answers when a call that was done is made again; None when it does it once more,
    harmlessly. `rests` says that a slot whose call was given up on rests (`fleet/pool.py`): the call could strike late,
    at the next holder's wallet.
    """

    method: str
    limit_seconds: float
    changes: Changes
    again: Again
    when_lost: str
    first: str = ""
    refuses: type[MoneroRpcError] | None = None
    rests: bool = False


_CROWDED_SECONDS: Final = 300.0
"""For what computes for a second: a hundred set-ups at once on two cores have 150 such calls before theirs."""

_STEP_AGAIN = "the step begins anew on another slot"


def _asking(method: str, limit_seconds: float = 30.0, *, when_lost: str = _STEP_AGAIN) -> Call:
    return Call(method, limit_seconds, Changes.NOTHING, Again.ALWAYS, when_lost=when_lost)


def _asking_daemon(method: str) -> Call:
    return _asking(method, when_lost="asked again in place; then the step waits")


def _table(*calls: Call) -> Mapping[str, Call]:
    return {call.method: call for call in calls}


_ANEW = "set-up: begun anew with fresh wallets; rebuilding: begun anew under another file name"
_FRESH = "the payout begins anew with a fresh exchange of infos"
_OF_NO_USE = "not used by the service"

WALLET_CALLS: Final[Mapping[str, Call]] = _table(
    # The process
    _asking("get_version", 10),
    Call(
        "set_log_categories",  # only to put a mark on the process and to read it; see `fleet/instance.py`
        5,  # it is asked while the process may be busy with a call that was given up on
        Changes.MEMORY,
        Again.ALWAYS,
        when_lost="asked again; a second mark does no harm",
    ),
    Call("auto_refresh", 30, Changes.MEMORY, Again.ALWAYS, when_lost="the slot is inspected again"),
    # The open wallet
    Call(
        "create_wallet",
        120,  # makes RSA-4096 keys: 1-5 s each on an idle core
        Changes.FILES,
        Again.AFTER_ASKING,
        first="`open_wallet`: the file may be there",
        when_lost=_OF_NO_USE,
        refuses=WalletExistsError,
        rests=True,
    ),
    Call(
        "generate_from_keys",
        _CROWDED_SECONDS,
        Changes.FILES,
        Again.NEVER,
        when_lost=_ANEW,
        refuses=MoneroRpcError,
        rests=True,
    ),
    Call(
        "open_wallet",
        _CROWDED_SECONDS,
        Changes.MEMORY,
        Again.AFTER_ASKING,
        first="`get_address`: nothing may be open, or the lock of what is opened twice is lost",
        when_lost="opened, or rebuilt, on another slot",
        rests=True,
    ),
    Call(
        "close_wallet",
        _CROWDED_SECONDS,  # writes the cache
        Changes.FILES,
        Again.AFTER_ASKING,
        first="`get_address`: whether it is open",
        when_lost="the slot is inspected, and a wallet of ours found open is closed",
        refuses=NoWalletOpenError,
        rests=True,
    ),
    Call("store", 60, Changes.FILES, Again.ALWAYS, when_lost=_FRESH, rests=True),
    Call(
        "change_wallet_password",  # only to itself: it proves whose wallet is open
        30,
        Changes.FILES,
        Again.ALWAYS,
        when_lost="the slot is inspected again",
        rests=True,
    ),
    _asking("get_address"),
    _asking("get_height"),
    _asking("query_key"),
    Call("set_subaddress_lookahead", _CROWDED_SECONDS, Changes.FILES, Again.ALWAYS, when_lost=_ANEW, rests=True),
    Call(
        "refresh",
        900,  # a rebuilt wallet scans from its restore height on the process's only thread
        Changes.MEMORY,
        Again.ALWAYS,
        when_lost=_STEP_AGAIN,
        rests=True,
    ),
    # The key exchange
    Call("prepare_multisig", 120, Changes.MEMORY, Again.ALWAYS, when_lost=_ANEW, rests=True),
    Call(
        "make_multisig",
        _CROWDED_SECONDS,  # recomputes 10,000 subaddresses
        Changes.FILES,
        Again.NEVER,
        when_lost=_ANEW,
        refuses=AlreadyMultisigError,
        rests=True,
    ),
    Call(
        "exchange_multisig_keys",
        _CROWDED_SECONDS,
        Changes.FILES,
        Again.NEVER,
        when_lost=_ANEW,
        refuses=StaleKeyExchangeError,
        rests=True,
    ),
    _asking("is_multisig"),
    # Coins
    _asking("get_balance"),
    _asking("incoming_transfers"),
    # With the pool it updates what the wallet remembers of it: whichever wallet is open, that is only newer.
    Call("get_transfers", 30, Changes.MEMORY, Again.ALWAYS, when_lost=_STEP_AGAIN),
    Call("freeze", 30, Changes.MEMORY, Again.ALWAYS, when_lost=_FRESH, rests=True),
    Call("thaw", 30, Changes.MEMORY, Again.ALWAYS, when_lost=_FRESH, rests=True),
    # Spending together
    Call(
        "export_multisig_info",
        60,
        Changes.MEMORY,
        Again.ALWAYS,  # it kills the export before it, which nobody has got
        when_lost=f"{_FRESH}, stored before it leaves",
        rests=True,
    ),
    Call(
        "import_multisig_info",
        300,  # rescans for spent outputs
        Changes.MEMORY,
        Again.ALWAYS,
        when_lost=_FRESH,
        rests=True,
    ),
    Call(
        "transfer",
        300,  # asks the daemon for decoys, and makes range proofs
        Changes.MEMORY,
        Again.AFTER_ASKING,
        first="a fresh exchange of infos: an info is good for one signing",
        when_lost=f"{_FRESH}; the new proposal spends the same anchor",
        rests=True,
    ),
    Call(
        "sweep_all",
        300,
        Changes.MEMORY,
        Again.AFTER_ASKING,
        first="a fresh exchange of infos",
        when_lost=f"{_FRESH}; the new proposal spends the same anchor",
        rests=True,
    ),
    _asking("describe_transfer", 60),
    Call(
        "sign_multisig",
        120,
        Changes.FILES,  # 0.18.5.1 and newer: that the nonces are used
        Again.NEVER,
        when_lost=f"{_FRESH}; what was signed and is lost is never submitted",
        refuses=StaleMultisigInfoError,
        rests=True,
    ),
    Call(
        "submit_multisig",
        120,
        Changes.NETWORK,
        Again.AFTER_ASKING,
        first="the daemon's `get_transactions`: whether it has the txid, which is stored",
        when_lost="the same stored blob is submitted again, or the raw transaction by the daemon",
        rests=True,
    ),
    # What a person with a plain wallet does
    Call("create_address", 30, Changes.MEMORY, Again.ALWAYS, when_lost=_OF_NO_USE, rests=True),
    _asking("make_integrated_address"),
)

DAEMON_CALLS: Final[Mapping[str, Call]] = _table(
    _asking_daemon("get_info"),
    _asking_daemon("get_last_block_header"),
    _asking_daemon("get_block_header_by_height"),
    _asking_daemon("get_block"),
    _asking_daemon("get_transactions"),
    _asking_daemon("get_transaction_pool_hashes"),
    _asking_daemon("is_key_image_spent"),
    _asking_daemon("get_fee_estimate"),
    Call(
        "send_raw_transaction",
        30,
        Changes.NETWORK,
        Again.ALWAYS,
        when_lost="given to the daemon again as long as it knows none of the payout's transactions",
    ),
    # Private chains only
    _asking_daemon("get_transaction_pool"),
    Call("flush_txpool", 30, Changes.NETWORK, Again.ALWAYS, when_lost=_OF_NO_USE),
    Call(
        "generateblocks",
        300,  # a hundred blocks take ten seconds
        Changes.NETWORK,
        Again.NEVER,
        when_lost=_OF_NO_USE,
    ),
    Call("pop_blocks", 120, Changes.NETWORK, Again.NEVER, when_lost=_OF_NO_USE),
)
