"""The `WalletRpc` port on a process in memory, with the two calls of a paying person that the real client has too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, TypeVar

from monero_escrow.core.address import InvalidAddressError, Network
from monero_escrow.monero.error_codes import refusal_of
from monero_escrow.monero.errors import InvalidFilenameError
from monero_escrow.monero.fake import coins
from monero_escrow.monero.fake.alarms import NonceLedger, NotModelledError
from monero_escrow.monero.fake.chain import FakeChain
from monero_escrow.monero.fake.faults import FaultPlan, no_faults
from monero_escrow.monero.fake.files import FakeDisk, KeysFile
from monero_escrow.monero.fake.keys import private_key_of, read_address
from monero_escrow.monero.fake.process import FakeProcess
from monero_escrow.monero.fake.spending import OpenWallet
from monero_escrow.monero.fake.wallet import Surroundings, new_cache, new_keys
from monero_escrow.monero.ports import (
    Balance,
    DescribedSet,
    ExchangeAnswer,
    MultisigStatus,
    Proposal,
    RpcVersion,
    SignedSet,
    WalletOutput,
    WalletTransfer,
)
from monero_escrow.monero.versions import LEAST_FOR_MAINNET, MoneroVersion, abilities_of
from monero_escrow.monero.wallet_rpc import FILENAME, MARK

T = TypeVar("T")

# What the real client lets through to the program.
_RPC_MINOR: Final = 28
_RPC_MINOR_SINCE_NONCES: Final = 32


class FakeWalletRpc(FakeProcess):
    """One wallet-rpc process. `disk` is its wallet folder, which others may share; without a chain it is offline."""

    def __init__(
        self,
        url: str,
        disk: FakeDisk,
        rng: Random,
        *,
        network: Network,
        version: MoneroVersion,
        chain: FakeChain | None = None,
        ledger: NonceLedger | None = None,
        faults: FaultPlan = no_faults,
    ) -> None:
        super().__init__(url, disk, faults)
        self._network = network
        self._around = Surroundings(chain, rng, version, ledger or NonceLedger())

    async def _on_wallet(self, method: str, effect: Callable[[OpenWallet], T]) -> T:
        """A call that needs a wallet; -13 when nothing is open by the time it runs."""
        return await self._call(method, lambda: effect(self._wallet(method)))

    def _wallet(self, method: str) -> OpenWallet:
        if self._open is None:
            raise refusal_of(method, -13, "")
        return self._open

    # --- the process and its one open wallet ---

    async def get_version(self) -> RpcVersion:
        new = self._around.version >= LEAST_FOR_MAINNET
        answer = RpcVersion(1, _RPC_MINOR_SINCE_NONCES if new else _RPC_MINOR, release=True)
        return await self._call("get_version", lambda: answer)

    async def auto_refresh(self, enable: bool) -> None:
        if enable:
            raise NotModelledError("automatic refresh")
        await self._call("auto_refresh", lambda: None)

    async def instance_marks(self) -> frozenset[str]:
        return await self._log_categories(frozenset())

    async def mark_instance(self, mark: str) -> None:
        if not MARK.fullmatch(mark):
            raise NotModelledError("a log category that is no mark")
        await self._log_categories(frozenset({mark}))

    async def _log_categories(self, added: frozenset[str]) -> frozenset[str]:
        def add() -> tuple[int, frozenset[str]]:
            self._marks |= added
            return self._life, self._marks

        self._marks_read_in, self._marks_read = await self._call("set_log_categories", add)
        return self._marks_read

    async def create_wallet(self, filename: str, password: str) -> None:
        method = "create_wallet"
        _check_filename(method, filename)

        def create() -> None:
            if filename in self.disk.keys_files:
                raise refusal_of(method, -21, "")
            spend_key = private_key_of("created", self._around.salt())
            height = self._around.chain.height if self._around.chain else 0
            self._write_new(filename, new_keys(spend_key, self._network, password, height))

        await self._call(method, create)

    async def generate_from_keys(
        self, *, filename: str, password: str, address: str, spend_key: str, view_key: str, restore_height: int
    ) -> str:
        method = "generate_from_keys"
        _check_filename(method, filename)

        def generate() -> str:
            try:
                read_address(address, self._network)
            except InvalidAddressError:
                raise refusal_of(method, -1, "failed to parse public address") from None
            if filename in self.disk.keys_files:
                raise refusal_of(method, -1, "")
            try:
                keys = new_keys(bytes.fromhex(spend_key), self._network, password, restore_height)
            except ValueError:
                raise refusal_of(method, -1, "") from None
            if (keys.address, keys.view_key.hex()) != (address, view_key):
                raise NotModelledError("keys that do not belong together")
            return self._write_new(filename, keys)

        return await self._call(method, generate)

    def _write_new(self, filename: str, keys: KeysFile) -> str:
        wallet = OpenWallet(filename, self.disk, keys, new_cache(keys), self._around)
        wallet.store()
        self._opened(wallet)
        return wallet.address

    async def open_wallet(self, filename: str, password: str) -> None:
        method = "open_wallet"
        _check_filename(method, filename)

        def open_it() -> None:
            if filename not in self.disk.keys_files:
                raise refusal_of(method, -1, "file not found")
            keys, cache = self.disk.keys_files[filename], self.disk.cache_files[filename]
            if self.disk.locks.get(filename, self) is not self:
                raise refusal_of(method, -1, "is opened by another wallet program")
            if keys.password != password:
                raise refusal_of(method, -1, "invalid password")
            if cache.address != keys.address:
                raise refusal_of(method, -1, "does not correspond")
            self._opened(OpenWallet(filename, self.disk, keys, cache, self._around))

        await self._call(method, open_it)

    async def close_wallet(self, *, store: bool = True) -> None:
        def close(wallet: OpenWallet) -> None:
            if store:
                wallet.store()
            self._shut(None)

        await self._on_wallet("close_wallet", close)

    async def store(self) -> None:
        await self._on_wallet("store", OpenWallet.store)

    async def change_wallet_password(self, old: str, new: str) -> None:
        await self._on_wallet("change_wallet_password", lambda wallet: wallet.change_password(old, new))

    async def get_address(self) -> str:
        return await self._on_wallet("get_address", lambda wallet: wallet.address)

    async def get_height(self) -> int:
        return await self._on_wallet("get_height", lambda wallet: wallet.cache.height)

    async def query_key(self, kind: str) -> str:
        return await self._on_wallet("query_key", lambda wallet: wallet.query_key(kind))

    async def set_subaddress_lookahead(self, major: int, minor: int, password: str) -> None:
        method = "set_subaddress_lookahead"
        if not abilities_of(self._around.version).set_subaddress_lookahead:
            await self._call(method, lambda: None)
            raise refusal_of(method, -32601, "")
        await self._on_wallet(method, lambda wallet: wallet.check_password(method, password))

    async def refresh(self, start_height: int | None = None) -> int:
        return await self._on_wallet("refresh", lambda wallet: wallet.refresh(start_height))

    # --- the key exchange ---

    async def prepare_multisig(self) -> str:
        return await self._on_wallet("prepare_multisig", OpenWallet.prepare)

    async def make_multisig(self, messages: Sequence[str], *, threshold: int, password: str) -> str:
        return await self._on_wallet("make_multisig", lambda wallet: wallet.make(messages, threshold, password))

    async def exchange_multisig_keys(self, messages: Sequence[str], *, password: str) -> ExchangeAnswer:
        return await self._on_wallet("exchange_multisig_keys", lambda wallet: wallet.exchange(messages, password))

    async def is_multisig(self) -> MultisigStatus:
        return await self._on_wallet("is_multisig", OpenWallet.status)

    # --- coins ---

    async def get_balance(self) -> Balance:
        return await self._on_wallet("get_balance", OpenWallet.balance)

    async def incoming_transfers(self) -> list[WalletOutput]:
        return await self._on_wallet("incoming_transfers", lambda wallet: coins.outputs_of(wallet.cache))

    async def get_transfers(self, *, pool: bool = False) -> list[WalletTransfer]:
        return await self._on_wallet("get_transfers", lambda wallet: wallet.transfers(pool=pool))

    async def freeze(self, key_image: str) -> None:
        await self._on_wallet("freeze", lambda wallet: wallet.freeze("freeze", key_image, frozen=True))

    async def thaw(self, key_image: str) -> None:
        await self._on_wallet("thaw", lambda wallet: wallet.freeze("thaw", key_image, frozen=False))

    # --- spending together ---

    async def export_multisig_info(self) -> str:
        return await self._on_wallet("export_multisig_info", OpenWallet.export)

    async def import_multisig_info(self, infos: Sequence[str]) -> int:
        return await self._on_wallet("import_multisig_info", lambda wallet: wallet.import_infos(infos))

    async def transfer(
        self, destinations: Sequence[tuple[str, int]], *, priority: int, subtract_fee_from: Sequence[int] = ()
    ) -> Proposal:
        return await self._on_wallet(
            "transfer", lambda wallet: wallet.transfer(destinations, priority, subtract_fee_from)
        )

    async def sweep_all(self, address: str, *, priority: int) -> Proposal:
        return await self._on_wallet("sweep_all", lambda wallet: wallet.sweep_all(address, priority))

    async def describe_transfer(self, txset: str) -> DescribedSet:
        return await self._on_wallet("describe_transfer", lambda wallet: wallet.describe(txset))

    async def sign_multisig(self, txset: str) -> SignedSet:
        return await self._on_wallet("sign_multisig", lambda wallet: wallet.sign(txset))

    async def submit_multisig(self, blob: str) -> list[str]:
        return await self._on_wallet("submit_multisig", lambda wallet: wallet.submit(blob))

    # --- what a person with a plain wallet does ---

    async def transfer_now(
        self, destinations: Sequence[tuple[str, int]], *, priority: int = 1, unlock_time: int = 0
    ) -> tuple[str, int]:
        """Pay from a plain wallet, at once and for good; answers txid and fee in piconero."""
        if unlock_time:
            raise NotModelledError("a payment with an unlock time")
        return await self._on_wallet("transfer", lambda wallet: wallet.pay(destinations, priority))

    async def create_address(self) -> str:
        """A new subaddress of account 0."""
        return await self._on_wallet("create_address", OpenWallet.new_subaddress)


def _check_filename(method: str, filename: str) -> None:
    if not FILENAME.fullmatch(filename):
        raise InvalidFilenameError(method, -1)
