"""What is on a wallet-rpc process's disk: a folder of wallets, each a keys file and a cache file.

Both are values: an open wallet holds its own, and only what is written here outlives the process. That is how the fake
knows, after a kill, what is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from monero_escrow.core.address import Network
from monero_escrow.core.curve import public_key
from monero_escrow.core.keys import WalletKeys
from monero_escrow.monero.fake.chain import Output
from monero_escrow.monero.fake.keys import half_made_address, multisig_address, public_key_of

_FIRST_EXCHANGE_DONE = 2
_FINISHED = 3


@dataclass(frozen=True, slots=True)
class Exchange:
    """How far a key exchange is: `round` 1 after make, 2 and 3 after the exchanges. `signers` are all three, sorted.

    `enabled` is whether multisig was enabled in the opening that made it; nothing mends it later.
    """

    enabled: bool
    round: int
    signers: tuple[str, ...]
    view_key: bytes = field(repr=False)

    @property
    def finished(self) -> bool:
        """Whether the wallet is ready to be used."""
        return self.round == _FINISHED


@dataclass(frozen=True, slots=True)
class KeysFile:
    """Who the wallet is. `restore_height` is the block from which it looks for coins."""

    spend_key: bytes = field(repr=False)
    network: Network
    password: str = field(repr=False)
    restore_height: int
    exchange: Exchange | None = None

    @property
    def plain(self) -> WalletKeys:
        """The keys the wallet was born with."""
        return WalletKeys(self.spend_key, self.network)

    @property
    def signer(self) -> str:
        """What this wallet is called among the signers: a public key, hex."""
        return public_key_of("signer", self.spend_key.hex())

    @property
    def view_key(self) -> bytes:
        """The private view key; all signers have the same one after make."""
        return self.exchange.view_key if self.exchange else self.plain.private_view_key

    @property
    def address(self) -> str:
        """The primary address; between make and the first exchange the one that nobody owns."""
        if self.exchange is None:
            return self.plain.address
        if self.exchange.round < _FIRST_EXCHANGE_DONE:
            return half_made_address(self.view_key, self.network)
        return multisig_address(self.exchange.signers, self.view_key, self.network)

    @property
    def public_view_key(self) -> bytes:
        """The public view key."""
        return public_key(self.view_key)


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that was found to be the wallet's, in the block at `height`. `minor` is its subaddress."""

    output: Output
    txid: str
    height: int
    unlock_time: int
    global_index: int
    minor: int


@dataclass(frozen=True, slots=True)
class CacheFile:
    """What the wallet has seen and agreed on. Outputs are named by their public keys.

    `hashes` are those of the blocks below `height` that are remembered. `nonces` are this wallet's own, one an output;
    `peer_nonces` those of the last import, a signer each.
    """

    address: str
    height: int
    hashes: tuple[str, ...] = ()
    coins: Mapping[str, Coin] = field(default_factory=lambda: MappingProxyType({}))
    key_images_known: frozenset[str] = frozenset()
    spent: frozenset[str] = frozenset()
    frozen: frozenset[str] = frozenset()
    nonces: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    peer_nonces: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    subaddresses: int = 1


@dataclass(slots=True, eq=False)
class FakeDisk:
    """One wallet folder, of one process or shared by several. `locks` says which of them has which wallet open."""

    keys_files: dict[str, KeysFile] = field(default_factory=dict)
    cache_files: dict[str, CacheFile] = field(default_factory=dict)
    locks: dict[str, object] = field(default_factory=dict, repr=False)
