"""The typed client of one `monero-wallet-rpc` process: the `WalletRpc` port over the wire.

It adds to the port only what a plain wallet of a paying person needs (`transfer_now` and two kinds of address). It
keeps no state of the wallet, repeats nothing (`calls.py` says why), and never hands out the address `make_multisig`
answers with.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Final

from monero_escrow.core.errors import InvariantError
from monero_escrow.monero.calls import WALLET_CALLS
from monero_escrow.monero.errors import InvalidFilenameError, NotMultisigError
from monero_escrow.monero.fields import Fields
from monero_escrow.monero.ports import (
    Balance,
    DescribedSet,
    DescribedTransaction,
    ExchangeAnswer,
    MultisigStatus,
    Proposal,
    Recipient,
    RpcVersion,
    SignedSet,
    Source,
    WalletOutput,
    WalletTransfer,
)
from monero_escrow.monero.rpc import CallHook, Credentials, RpcConnection

TIME_LIMITS_SECONDS: Final[Mapping[str, float]] = {name: call.limit_seconds for name, call in WALLET_CALLS.items()}
# A slot's quarantine must be longer than this.
LONGEST_LIMIT_SECONDS: Final = max(TIME_LIMITS_SECONDS.values())

# A name is ours, never a path. With an empty one `create_wallet` succeeds and makes a wallet that is never written.
FILENAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")

# A mark is a log category that nothing is written under, at the level that lets least through. Without a level the
# program would read it and the category behind it as one (setCategories in Monero's external/easylogging++).
MARK: Final = re.compile(r"escrow\.[0-9a-f]{12}")
_MARKS_IN_CATEGORIES: Final = re.compile(rf"(?:^|,)({MARK.pattern}):FATAL(?=,|$)")


class WalletRpcClient:
    """One process. `time_limits_seconds` overrides single limits, for tests and slow machines."""

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        tls: ssl.SSLContext | None = None,
        on_call: CallHook | None = None,
        time_limits_seconds: Mapping[str, float] | None = None,
    ) -> None:
        self._rpc = RpcConnection(url, credentials=credentials, tls=tls, on_call=on_call)
        self._limits = {**TIME_LIMITS_SECONDS, **(time_limits_seconds or {})}
        self._marks: frozenset[str] = frozenset()
        self._marks_read_over = 0

    def __repr__(self) -> str:
        return f"WalletRpcClient({self.url!r})"

    @property
    def url(self) -> str:
        return self._rpc.url

    @property
    def abandoned(self) -> bool:
        return self._rpc.abandoned

    def forget_abandoned(self) -> None:
        self._rpc.forget_abandoned()

    @property
    def abandoned_marks(self) -> frozenset[str]:
        return self._marks if self._rpc.abandoned_over == {self._marks_read_over} else frozenset()

    async def aclose(self) -> None:
        await self._rpc.aclose()

    async def _call(self, method: str, params: Mapping[str, object] | None = None) -> Fields:
        rests = WALLET_CALLS[method].rests
        return await self._rpc.call(method, params, limit_seconds=self._limits[method], rests=rests)

    # --- the process and its one open wallet ---

    async def get_version(self) -> RpcVersion:
        answer = await self._call("get_version")
        version = answer.integer("version")
        return RpcVersion(version >> 16, version & 0xFFFF, answer.flag("release", default=False))

    async def instance_marks(self) -> frozenset[str]:
        return await self._log_categories("+")  # a bare "+" adds nothing and answers the list

    async def mark_instance(self, mark: str) -> None:
        if not MARK.fullmatch(mark):
            raise InvariantError("A mark is escrow. and twelve hex digits: anything else could change what is logged.")
        await self._log_categories(f"+{mark}:FATAL")

    async def _log_categories(self, change: str) -> frozenset[str]:
        answer = await self._call("set_log_categories", {"categories": change})
        self._marks = frozenset(_MARKS_IN_CATEGORIES.findall(answer.text("categories")))
        self._marks_read_over = self._rpc.connection
        return self._marks

    async def create_wallet(self, filename: str, password: str) -> None:
        name = _checked_filename("create_wallet", filename)
        await self._call("create_wallet", {"filename": name, "password": password, "language": "English"})

    async def generate_from_keys(
        self, *, filename: str, password: str, address: str, spend_key: str, view_key: str, restore_height: int
    ) -> str:
        answer = await self._call(
            "generate_from_keys",
            {
                "filename": _checked_filename("generate_from_keys", filename),
                "password": password,
                "address": address,
                "spendkey": spend_key,
                "viewkey": view_key,
                "restore_height": restore_height,
                "language": "English",
                "autosave_current": False,
            },
        )
        return answer.text("address")

    async def open_wallet(self, filename: str, password: str) -> None:
        name = _checked_filename("open_wallet", filename)
        await self._call("open_wallet", {"filename": name, "password": password, "autosave_current": False})

    async def close_wallet(self, *, store: bool = True) -> None:
        await self._call("close_wallet", {"autosave_current": store})

    async def store(self) -> None:
        await self._call("store")

    async def change_wallet_password(self, old: str, new: str) -> None:
        await self._call("change_wallet_password", {"old_password": old, "new_password": new})

    async def get_address(self) -> str:
        return (await self._call("get_address", {"account_index": 0, "address_index": [0]})).text("address")

    async def get_height(self) -> int:
        return (await self._call("get_height")).integer("height")

    async def query_key(self, kind: str) -> str:
        return (await self._call("query_key", {"key_type": kind})).text("key")

    async def set_subaddress_lookahead(self, major: int, minor: int, password: str) -> None:
        await self._call("set_subaddress_lookahead", {"major_idx": major, "minor_idx": minor, "password": password})

    async def auto_refresh(self, enable: bool) -> None:
        await self._call("auto_refresh", {"enable": enable})

    async def refresh(self, start_height: int | None = None) -> int:
        params = {} if start_height is None else {"start_height": start_height}
        return (await self._call("refresh", params)).integer("blocks_fetched", 0)

    # --- the key exchange ---

    async def prepare_multisig(self) -> str:
        return (await self._call("prepare_multisig", {"enable_multisig_experimental": True})).text("multisig_info")

    async def make_multisig(self, messages: Sequence[str], *, threshold: int, password: str) -> str:
        params = {"multisig_info": list(messages), "threshold": threshold, "password": password}
        # "address" in this answer has the identity point as its spend key: whoever pays to it, pays nobody. It stays
        # unread.
        return (await self._call("make_multisig", params)).text("multisig_info")

    async def exchange_multisig_keys(self, messages: Sequence[str], *, password: str) -> ExchangeAnswer:
        params = {"multisig_info": list(messages), "password": password}
        answer = await self._call("exchange_multisig_keys", params)
        return ExchangeAnswer(message=answer.text("multisig_info", ""), address=answer.text("address", ""))

    async def is_multisig(self) -> MultisigStatus:
        answer = await self._call("is_multisig")
        return MultisigStatus(
            multisig=answer.flag("multisig"),
            ready=answer.flag("ready"),
            threshold=answer.integer("threshold"),
            total=answer.integer("total"),
        )

    # --- coins ---

    async def get_balance(self) -> Balance:
        answer = await self._call("get_balance", {"account_index": 0})
        return Balance(
            balance_piconero=answer.integer("balance"),
            unlocked_piconero=answer.integer("unlocked_balance"),
            multisig_import_needed=answer.flag("multisig_import_needed"),
            blocks_to_unlock=answer.integer("blocks_to_unlock", 0),
        )

    async def incoming_transfers(self) -> list[WalletOutput]:
        answer = await self._call("incoming_transfers", {"transfer_type": "all", "account_index": 0})
        return [_output(entry) for entry in answer.objects("transfers")]

    async def get_transfers(self, *, pool: bool = False) -> list[WalletTransfer]:
        answer = await self._call("get_transfers", {"in": True, "pool": pool, "account_index": 0})
        mined = [_transfer(entry, in_pool=False) for entry in answer.objects("in")]
        return mined + [_transfer(entry, in_pool=True) for entry in answer.objects("pool")]

    async def freeze(self, key_image: str) -> None:
        await self._call("freeze", {"key_image": key_image})

    async def thaw(self, key_image: str) -> None:
        await self._call("thaw", {"key_image": key_image})

    # --- spending together ---

    async def export_multisig_info(self) -> str:
        return (await self._call("export_multisig_info")).text("info")

    async def import_multisig_info(self, infos: Sequence[str]) -> int:
        return (await self._call("import_multisig_info", {"info": list(infos)})).integer("n_outputs")

    async def transfer(
        self, destinations: Sequence[tuple[str, int]], *, priority: int, subtract_fee_from: Sequence[int] = ()
    ) -> Proposal:
        answer = await self._call(
            "transfer",
            {
                "destinations": _destinations(destinations),
                "account_index": 0,
                "priority": priority,
                "subtract_fee_from_outputs": list(subtract_fee_from),
                "do_not_relay": True,  # were the wallet no multisig wallet, this would otherwise pay at once
            },
        )
        images = tuple(answer.inner("spent_key_images").texts("key_images")) if answer.has("spent_key_images") else ()
        return _proposal("transfer", answer, fees=[answer.integer("fee")], images=(images,) if images else ())

    async def sweep_all(self, address: str, *, priority: int) -> Proposal:
        answer = await self._call(
            "sweep_all", {"address": address, "account_index": 0, "priority": priority, "do_not_relay": True}
        )
        images = tuple(tuple(entry.texts("key_images")) for entry in answer.objects("spent_key_images_list"))
        return _proposal("sweep_all", answer, fees=answer.integers("fee_list"), images=images)

    async def describe_transfer(self, txset: str) -> DescribedSet:
        answer = await self._call("describe_transfer", {"multisig_txset": txset})
        return DescribedSet(tuple(_described(entry) for entry in answer.objects("desc")))

    async def sign_multisig(self, txset: str) -> SignedSet:
        answer = await self._call("sign_multisig", {"tx_data_hex": txset})
        return SignedSet(blob=answer.text("tx_data_hex"), txids=tuple(answer.texts("tx_hash_list")))

    async def submit_multisig(self, blob: str) -> list[str]:
        return (await self._call("submit_multisig", {"tx_data_hex": blob})).texts("tx_hash_list")

    # --- what a person with a plain wallet does ---

    async def transfer_now(
        self, destinations: Sequence[tuple[str, int]], *, priority: int = 1, unlock_time: int = 0
    ) -> tuple[str, int]:
        """Pay from a plain wallet, at once and for good; answers txid and fee in piconero."""
        answer = await self._call(
            "transfer",
            {
                "destinations": _destinations(destinations),
                "account_index": 0,
                "priority": priority,
                "unlock_time": unlock_time,
            },
        )
        return answer.text("tx_hash"), answer.integer("fee")

    async def create_address(self) -> str:
        """A new subaddress of account 0."""
        return (await self._call("create_address", {"account_index": 0})).text("address")

    async def make_integrated_address(self) -> str:
        """The primary address with a fresh payment ID of 8 bytes."""
        return (await self._call("make_integrated_address")).text("integrated_address")


def _checked_filename(method: str, filename: str) -> str:
    if not FILENAME.fullmatch(filename):
        raise InvalidFilenameError(method, -1)
    return filename


def _destinations(destinations: Sequence[tuple[str, int]]) -> list[dict[str, object]]:
    return [{"address": address, "amount": amount_piconero} for address, amount_piconero in destinations]


def _proposal(method: str, answer: Fields, *, fees: list[int], images: tuple[tuple[str, ...], ...]) -> Proposal:
    txset = answer.text("multisig_txset", "")
    if not txset:
        raise NotMultisigError(method, -31)  # a plain wallet made a transaction, which was not relayed
    return Proposal(txset=txset, fees_piconero=tuple(fees), spent_key_images=images)


def _output(entry: Fields) -> WalletOutput:
    index = entry.inner("subaddr_index")
    return WalletOutput(
        amount_piconero=entry.integer("amount"),
        public_key=entry.text("pubkey"),
        key_image=entry.text("key_image", "") or None,
        txid=entry.text("tx_hash"),
        global_index=entry.integer("global_index"),
        block_height=entry.integer("block_height"),
        unlocked=entry.flag("unlocked"),
        spent=entry.flag("spent"),
        frozen=entry.flag("frozen"),
        subaddress_major=index.integer("major"),
        subaddress_minor=index.integer("minor"),
    )


def _transfer(entry: Fields, *, in_pool: bool) -> WalletTransfer:
    index = entry.inner("subaddr_index")
    return WalletTransfer(
        txid=entry.text("txid"),
        amount_piconero=entry.integer("amount"),
        height=entry.integer("height", 0),
        confirmations=entry.integer("confirmations", 0),
        unlock_time=entry.integer("unlock_time"),
        locked=entry.flag("locked"),
        in_pool=in_pool,
        double_spend_seen=entry.flag("double_spend_seen", default=False),
        subaddress_major=index.integer("major"),
        subaddress_minor=index.integer("minor"),
    )


def _described(entry: Fields) -> DescribedTransaction:
    return DescribedTransaction(
        recipients=tuple(
            Recipient(address=to.text("address"), amount_piconero=to.integer("amount"))
            for to in entry.objects("recipients")
        ),
        amount_in_piconero=entry.integer("amount_in"),
        amount_out_piconero=entry.integer("amount_out"),
        fee_piconero=entry.integer("fee"),
        change_address=entry.text("change_address", ""),
        change_amount_piconero=entry.integer("change_amount"),
        ring_size=entry.integer("ring_size"),
        unlock_time=entry.integer("unlock_time"),
        payment_id=entry.text("payment_id", ""),
        dummy_outputs=entry.integer("dummy_outputs"),
        extra=entry.text("extra", ""),
        sources=tuple(_source(source) for source in entry.objects("sources")) if entry.has("sources") else None,
    )


def _source(entry: Fields) -> Source:
    # 0.18.5.3 answers the output's key with its amount commitment behind it, 64 bytes in all; the key is the first
    # half.
    return Source(
        public_key=entry.hexadecimal("pubkey", lengths=(64, 128))[:64], amount_piconero=entry.integer("amount")
    )
