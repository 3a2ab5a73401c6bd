"""What the rest of the service may ask of Monero's two programs, and the values they answer with.

`WalletRpc` is one `monero-wallet-rpc` process, `Daemon` one `monerod`. Nothing here does I/O or knows HTTP: the
clients in `wallet_rpc.py` and `daemon.py` implement these ports over the wire, and a fake implements them for
simulation.

Units are in the names: `_piconero` (1 XMR = 10**12), `_seconds`, `_blocks`; heights count blocks from 0, and a
chain's `height` is its number of blocks. Hashes, keys and key images are lower-case hex. Every call may raise what
`errors.py` names: `MoneroRpcError` (the program refused), `ProcessUnreachableError` (it was never reached),
`CallAbandonedError` (it may still run), `AuthenticationRefusedError`, `NotMoneroError`. Fields that hold secrets are
left out of every `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from monero_escrow.core.address import Network
from monero_escrow.core.scan import PublicTransaction

# --- what a wallet-rpc process answers -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RpcVersion:
    """The version of the RPC interface, which is not the program's: see `versions.py`."""

    major: int
    minor: int
    release: bool


@dataclass(frozen=True, slots=True)
class ExchangeAnswer:
    """One round of `exchange_multisig_keys`: the message for the peers, and the address once the last round is done.

    Either may be empty: rounds before the last have no address, and after the last some versions have no message.
    """

    message: str = field(repr=False)
    address: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MultisigStatus:
    """A finished 2-of-3 wallet is `multisig` and `ready`, `threshold` 2, `total` 3; nothing else is finished."""

    multisig: bool
    ready: bool
    threshold: int
    total: int


@dataclass(frozen=True, slots=True)
class Balance:
    """Account 0. Not to be believed while `multisig_import_needed`: spent coins may still show."""

    balance_piconero: int
    unlocked_piconero: int
    multisig_import_needed: bool
    blocks_to_unlock: int


@dataclass(frozen=True, slots=True)
class WalletOutput:
    """One output the wallet owns. `key_image` is None until it is known (multisig: until a peer's info is imported).

    `unlocked` is the wallet's word for "its unlock time and ten blocks have passed".
    """

    amount_piconero: int
    public_key: str
    key_image: str | None
    txid: str
    global_index: int
    block_height: int
    unlocked: bool
    spent: bool
    frozen: bool
    subaddress_major: int
    subaddress_minor: int


@dataclass(frozen=True, slots=True)
class WalletTransfer:
    """One incoming transaction as the wallet saw it. `height` and `confirmations` are 0 while it is in the pool."""

    txid: str
    amount_piconero: int
    height: int
    confirmations: int
    unlock_time: int
    locked: bool
    in_pool: bool
    double_spend_seen: bool
    subaddress_major: int
    subaddress_minor: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """An unsigned set a multisig wallet proposes; nothing is broadcast.

    `fees_piconero` and `spent_key_images` hold one entry a transaction; the key images are the proposer's own claim,
    and empty when the program does not name them. Read the set itself with `describe_transfer` before signing.
    """

    txset: str = field(repr=False)
    fees_piconero: tuple[int, ...]
    spent_key_images: tuple[tuple[str, ...], ...] = ()

    @property
    def transactions(self) -> int:
        """How many transactions the set holds; a payout is allowed exactly one."""
        return len(self.fees_piconero)

    @property
    def fee_piconero(self) -> int:
        """The fees of all its transactions."""
        return sum(self.fees_piconero)


@dataclass(frozen=True, slots=True)
class Recipient:
    """One destination of a described transaction; equal addresses arrive merged."""

    address: str = field(repr=False)
    amount_piconero: int


@dataclass(frozen=True, slots=True)
class Source:
    """One input of a described transaction: the wallet's own output it spends."""

    public_key: str
    amount_piconero: int


@dataclass(frozen=True, slots=True)
class DescribedTransaction:
    """What an unsigned transaction really says, as the describing wallet decoded it.

    `recipients` leaves change out. `change_address` is "" when there is no change. `sources` is None when the program
    names no inputs (before 0.18.5.0). `extra` is the transaction's extra field, hex.
    """

    recipients: tuple[Recipient, ...]
    amount_in_piconero: int
    amount_out_piconero: int
    fee_piconero: int
    change_address: str = field(repr=False)
    change_amount_piconero: int
    ring_size: int
    unlock_time: int
    payment_id: str
    dummy_outputs: int
    extra: str = field(repr=False)
    sources: tuple[Source, ...] | None


@dataclass(frozen=True, slots=True)
class DescribedSet:
    """Everything an unsigned set holds."""

    transactions: tuple[DescribedTransaction, ...]


@dataclass(frozen=True, slots=True)
class SignedSet:
    """A set with a further signature. `txids` are known only when it has enough signatures to be submitted."""

    blob: str = field(repr=False)
    txids: tuple[str, ...]


# --- what a daemon answers -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DaemonInfo:
    """State of the daemon. `height` is its number of blocks; `target_height` 0 when it knows no peer that is ahead."""

    height: int
    target_height: int
    top_block_hash: str
    synchronized: bool
    network: Network
    offline: bool
    version: str


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """One block. `timestamp_seconds` is what its miner claimed, in seconds since 1970."""

    height: int
    hash: str
    timestamp_seconds: int


@dataclass(frozen=True, slots=True)
class Block:
    """One block and what it holds: `txids` begins with the miner's reward."""

    height: int
    hash: str
    previous_hash: str
    txids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DaemonTransaction:
    """One transaction the daemon knows, with its whole raw form. `block_height` is None while it is in the pool."""

    txid: str
    in_pool: bool
    block_height: int | None
    confirmations: int
    raw_hex: str = field(repr=False)
    double_spend_seen: bool


class KeyImageStatus(Enum):
    """Where the daemon has seen an output spent (monerod's numbers)."""

    UNSPENT = 0
    IN_CHAIN = 1
    IN_POOL = 2


@dataclass(frozen=True, slots=True)
class FeeEstimate:
    """Fees a byte of weight; `fees_piconero` by priority, 1 to 4. A fee is rounded up to `quantization_mask`."""

    per_byte_piconero: int
    fees_piconero: tuple[int, ...]
    quantization_mask: int


# --- the ports -------------------------------------------------------------------------------------------------------


class WalletRpc(Protocol):
    """One wallet-rpc process: at most one open wallet, one call at a time."""

    @property
    def url(self) -> str: ...
    @property
    def abandoned(self) -> bool:
        """True once a call was given up on that could do harm later: the process must not serve another wallet.

        Which calls could is in `calls.py` (`rests`).
        """
        ...

    @property
    def abandoned_marks(self) -> frozenset[str]:
        """The marks of the very instance that got the calls that were given up on, where that is certain.

        It is certain when the marks were read last over the connection those calls went over; else this is empty.
        """
        ...

    def forget_abandoned(self) -> None:
        """The process was restarted, or has rested longer than any call may run: it can be trusted again."""
        ...

    async def get_version(self) -> RpcVersion: ...
    async def instance_marks(self) -> frozenset[str]:
        """The marks that were put on this instance of the process. They live exactly as long as it does."""
        ...

    async def mark_instance(self, mark: str) -> None:
        """Put a mark on this instance of the process: "escrow." and twelve hex digits, no secret.

        It is a log category under which nothing is logged (`set_log_categories`). `set_log_level` takes it away, as
        does anybody who sets the categories anew. `DeniedError` from a process started with --restricted-rpc.
        """
        ...

    async def create_wallet(self, filename: str, password: str) -> None:
        """Make a wallet with a fresh seed, open it and write it; `WalletExistsError` when the file is there."""
        ...

    async def generate_from_keys(
        self, *, filename: str, password: str, address: str, spend_key: str, view_key: str, restore_height: int
    ) -> str:
        """Make a wallet from its keys, open it and write it; answers the address."""
        ...

    async def open_wallet(self, filename: str, password: str) -> None:
        """Open a wallet, with nothing else open: what is open loses its lock if it is opened again.

        A failure leaves an earlier wallet open: check `get_address` after each opening.
        """
        ...

    async def close_wallet(self, *, store: bool = True) -> None:
        """Close the wallet; with `store=False` whatever changed since the last write is dropped."""
        ...

    async def store(self) -> None: ...
    async def change_wallet_password(self, old: str, new: str) -> None:
        """Change the open wallet's password; `WrongPasswordError`, and nothing changed, unless `old` is right."""
        ...

    async def get_address(self) -> str:
        """The primary address; `NoWalletOpenError` when nothing is open."""
        ...

    async def get_height(self) -> int: ...
    async def query_key(self, kind: str) -> str:
        """A secret of the wallet: "view_key", "spend_key" or "mnemonic"."""
        ...

    async def set_subaddress_lookahead(self, major: int, minor: int, password: str) -> None:
        """0.18.5 and newer; `UnknownMethodError` before."""
        ...

    async def auto_refresh(self, enable: bool) -> None: ...
    async def prepare_multisig(self) -> str:
        """The first message. Prepare and make belong to one opening of the wallet."""
        ...

    async def make_multisig(self, messages: Sequence[str], *, threshold: int, password: str) -> str:
        """The second message, and only that: the address this call answers with is no address of the escrow."""
        ...

    async def exchange_multisig_keys(self, messages: Sequence[str], *, password: str) -> ExchangeAnswer: ...
    async def is_multisig(self) -> MultisigStatus: ...
    async def refresh(self, start_height: int | None = None) -> int:
        """Scan new blocks; answers how many were fetched."""
        ...

    async def get_balance(self) -> Balance: ...
    async def incoming_transfers(self) -> list[WalletOutput]: ...
    async def get_transfers(self, *, pool: bool = False) -> list[WalletTransfer]: ...
    async def export_multisig_info(self) -> str:
        """Fresh nonces for the peers, which kill the earlier export. Store before they leave."""
        ...

    async def import_multisig_info(self, infos: Sequence[str]) -> int:
        """How many outputs the peers' infos covered."""
        ...

    async def freeze(self, key_image: str) -> None: ...
    async def thaw(self, key_image: str) -> None: ...
    async def transfer(
        self, destinations: Sequence[tuple[str, int]], *, priority: int, subtract_fee_from: Sequence[int] = ()
    ) -> Proposal:
        """Propose paying each (address, piconero). From a multisig wallet only: nothing is broadcast.

        The fee comes on top, or is taken in equal parts from the destinations whose positions `subtract_fee_from`
        names. To leave no change with several recipients, name one: net amounts that leave just the fee are refused
        (-16), because the wallet first reckons with a change output.
        """
        ...

    async def sweep_all(self, address: str, *, priority: int) -> Proposal:
        """Propose sending all unlocked, unfrozen outputs above dust to one address; in several transactions if need
        be.
        """
        ...

    async def describe_transfer(self, txset: str) -> DescribedSet: ...
    async def sign_multisig(self, txset: str) -> SignedSet: ...
    async def submit_multisig(self, blob: str) -> list[str]:
        """Broadcast a fully signed set; answers the txids."""
        ...

    async def aclose(self) -> None: ...


class Daemon(Protocol):
    """One monerod. What it says of the chain is believed: use your own."""

    @property
    def url(self) -> str: ...
    async def get_info(self) -> DaemonInfo: ...
    async def get_last_block_header(self) -> BlockHeader: ...
    async def get_block_header(self, height: int) -> BlockHeader:
        """`BlockNotThereError` for a block that is not there, or no longer."""
        ...

    async def get_block(self, height: int) -> Block:
        """`BlockNotThereError` for a block that is not there, or no longer."""
        ...

    async def get_transactions(self, txids: Sequence[str]) -> Mapping[str, DaemonTransaction]:
        """Those of `txids` the daemon knows; the others are absent."""
        ...

    async def get_public_parts(self, txids: Sequence[str]) -> Mapping[str, PublicTransaction]:
        """What a scan with view keys needs of those of `txids` that the daemon knows; the others are absent."""
        ...

    async def get_pool_txids(self) -> list[str]:
        """What waits for a block. A restricted daemon leaves out what it has not passed on yet."""
        ...

    async def is_key_image_spent(self, key_images: Sequence[str]) -> list[KeyImageStatus]: ...
    async def send_raw_transaction(self, raw_hex: str) -> None:
        """Relay a signed transaction; `TransactionRefusedError` carries the daemon's reasons."""
        ...

    async def get_fee_estimate(self) -> FeeEstimate: ...
    async def generate_blocks(self, count: int, address: str) -> list[str]:
        """Regtest only: mine to `address`; answers the block hashes."""
        ...

    async def pop_blocks(self, count: int) -> int:
        """Take the last blocks off (a reorganisation's first half); answers the new height."""
        ...

    async def flush_txpool(self) -> None: ...
    async def aclose(self) -> None: ...
