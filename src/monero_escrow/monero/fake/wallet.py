"""One open wallet in a fake process's memory: its files, the key exchange, its coins, and paying alone.

Whatever a call changes and does not write is gone when the process is; `tests/conformance` says which calls write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from monero_escrow.core.address import AddressKind, InvalidAddressError, Network, encode_address
from monero_escrow.core.curve import public_key
from monero_escrow.monero.error_codes import refusal_of
from monero_escrow.monero.fake import coins, key_exchange, selection
from monero_escrow.monero.fake.alarms import NonceLedger, NotModelledError
from monero_escrow.monero.fake.chain import FakeChain, RefusedTransactionError, key_image_of
from monero_escrow.monero.fake.files import CacheFile, FakeDisk, KeysFile
from monero_escrow.monero.fake.keys import hash_of, public_key_of
from monero_escrow.monero.fake.sets import as_transaction, check_recipient
from monero_escrow.monero.ports import (
    Balance,
    ExchangeAnswer,
    MultisigStatus,
    WalletTransfer,
)
from monero_escrow.monero.versions import MoneroVersion


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a wallet finds in its process: the chain (None when offline), chance, the program's version, the alarm."""

    chain: FakeChain | None
    rng: Random
    version: MoneroVersion
    ledger: NonceLedger

    def salt(self) -> str:
        """Fresh randomness, as text."""
        return self.rng.randbytes(16).hex()


class Wallet:
    """A wallet that is open, without what only multisig signers do. `keys` and `cache` are what it has in memory."""

    def __init__(self, name: str, disk: FakeDisk, keys: KeysFile, cache: CacheFile, around: Surroundings) -> None:
        self.name = name
        self.keys = keys
        self.cache = cache
        self._disk = disk
        self._around = around
        self._prepared = False

    @property
    def address(self) -> str:
        """The primary address."""
        return self.keys.address

    def store(self) -> None:
        """Write both files."""
        self._write_keys()
        self._disk.cache_files[self.name] = self.cache = replace(self.cache, address=self.keys.address)

    def _write_keys(self) -> None:
        self._disk.keys_files[self.name] = self.keys

    def query_key(self, kind: str) -> str:
        """A secret. Of a multisig wallet only the view key is asked for."""
        if kind == "view_key":
            return self.keys.view_key.hex()
        if self.keys.exchange is not None or kind not in {"spend_key", "mnemonic"}:
            raise NotModelledError(f"query_key {kind}")
        return self.keys.spend_key.hex() if kind == "spend_key" else f"seed {hash_of(self.keys.spend_key.hex())}"

    def check_password(self, method: str, password: str) -> None:
        """-22 unless it is the wallet's."""
        if password != self.keys.password:
            raise refusal_of(method, -22, "")

    def change_password(self, old: str, new: str) -> None:
        """Write the keys file anew under another password."""
        self.check_password("change_wallet_password", old)
        self.keys = replace(self.keys, password=new)
        self._write_keys()

    # --- the key exchange ---

    def prepare(self) -> str:
        """Nothing is written: multisig is enabled in this opening only."""
        message = key_exchange.first_message(self.keys, self._around.salt())
        self._prepared = True
        return message

    def make(self, messages: Sequence[str], threshold: int, password: str) -> str:
        """Both files are written before the answer."""
        salt = self._around.salt()
        self.keys, message = key_exchange.made(self.keys, messages, threshold, password, salt, enabled=self._prepared)
        self.store()
        return message

    def exchange(self, messages: Sequence[str], password: str) -> ExchangeAnswer:
        """The first time only the keys file is written, and the cache on the disk no longer belongs to it."""
        self.keys, message = key_exchange.exchanged(self.keys, messages, password, self._around.salt())
        if not self._finished:
            self._write_keys()
            return ExchangeAnswer(message=message, address="")
        self.store()
        return ExchangeAnswer(message=message, address=self.address)

    def status(self) -> MultisigStatus:
        """How far the wallet is."""
        if self.keys.exchange is None:
            return MultisigStatus(multisig=False, ready=False, threshold=0, total=0)
        return MultisigStatus(multisig=True, ready=self._finished, threshold=2, total=3)

    @property
    def _finished(self) -> bool:
        return self.keys.exchange is not None and self.keys.exchange.finished

    def _require_finished(self, method: str) -> None:
        if not self._finished:
            raise refusal_of(method, -31, "")

    # --- coins ---

    def _chain(self, method: str) -> FakeChain:
        if self._around.chain is None:
            raise refusal_of(method, 0, "")
        return self._around.chain

    def refresh(self, start_height: int | None) -> int:
        """Look at all new blocks; answers how many.

        Those below `start_height` are passed over for good, unless the wallet has seen them; only their hashes are
        fetched (`wallet2::fast_refresh`).
        """
        chain = self._chain("refresh")
        cache = coins.passed_over(self.cache, chain, start_height or 0)
        self.cache, fetched = coins.refreshed(cache, self.keys, chain)
        return fetched

    def balance(self) -> Balance:
        """What account 0 holds."""
        return coins.balance_of(self.cache, self.keys, self._around.chain)

    def transfers(self, *, pool: bool) -> list[WalletTransfer]:
        """Incoming transactions; the daemon is asked for those in the pool."""
        mined = coins.transfers_of(self.cache)
        return mined + coins.transfers_in_pool(self.cache, self.keys, self._chain("get_transfers")) if pool else mined

    def freeze(self, method: str, key_image: str, *, frozen: bool) -> None:
        """Keep an output out of what is spent, or no longer."""
        for key in self.cache.key_images_known:
            if key_image_of(key) == key_image:
                now = self.cache.frozen | {key} if frozen else self.cache.frozen - {key}
                self.cache = replace(self.cache, frozen=now)
                return
        raise refusal_of(method, -1, "key image not found")

    # --- what a person with a plain wallet does ---

    def pay(self, payments: selection.Payments, priority: int) -> tuple[str, int]:
        """Pay at once; answers txid and fee."""
        if self.keys.exchange is not None:
            raise NotModelledError("a multisig wallet that pays alone")
        for address, _ in payments:
            self._check_recipient("transfer", address)
        draft = selection.draft_transfer(
            self.cache, payments, priority=priority, subtract_fee_from=(), rng=self._around.rng
        )
        paid = [*draft.payments, *([(self.address, draft.change_piconero)] if draft.change_piconero else [])]
        self._around.rng.shuffle(paid)
        spends = [coin.output.public_key for coin in draft.coins]
        transaction = as_transaction(spends, paid, self._around.salt(), self.keys.network)
        try:
            self._chain("transfer").take(transaction.raw_hex)
        except RefusedTransactionError:
            raise refusal_of("transfer", -4, "") from None
        self.cache = replace(self.cache, spent=self.cache.spent | set(spends))
        return transaction.txid, draft.fee_piconero

    def new_subaddress(self) -> str:
        """A further address of account 0."""
        minor = self.cache.subaddresses
        self.cache = replace(self.cache, subaddresses=minor + 1)
        spend = bytes.fromhex(coins.subaddress_key(self.keys, minor))
        view = bytes.fromhex(public_key_of("subaddress view", spend.hex()))
        return encode_address(AddressKind.SUBADDRESS, self.keys.network, spend, view)

    def _check_recipient(self, method: str, address: str) -> None:
        try:
            check_recipient(address, self.keys.network)
        except InvalidAddressError:
            raise refusal_of(method, -2, "") from None


def new_cache(keys: KeysFile) -> CacheFile:
    """A wallet that has seen nothing yet."""
    return CacheFile(address=keys.address, height=keys.restore_height)


def new_keys(spend_key: bytes, network: Network, password: str, restore_height: int) -> KeysFile:
    """A plain wallet's keys; ValueError unless the key is one."""
    public_key(spend_key)
    return KeysFile(spend_key, network, password, restore_height)
