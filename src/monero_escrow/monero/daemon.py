"""The typed client of one `monerod`: the `Daemon` port over the wire.

It believes what its daemon says, so the daemon should be the operator's own. An unrestricted RPC is needed for the
version and, on private chains, for mining; what payouts and the scan of blocks ask works on a restricted one too.

A daemon has several threads and no open wallet, so a call without an answer leaves nothing behind that could strike
later: what is harmless twice (`calls.py`) is repeated in place before its error is raised.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from monero_escrow.core.address import Network
from monero_escrow.core.errors import UnavailableError
from monero_escrow.core.scan import PublicTransaction
from monero_escrow.jitter import jittered
from monero_escrow.monero.calls import DAEMON_CALLS, Again
from monero_escrow.monero.errors import (
    BlockNotThereError,
    CallAbandonedError,
    MoneroRpcError,
    NotMoneroError,
    ProcessUnreachableError,
    TransactionRefusedError,
)
from monero_escrow.monero.fields import Fields
from monero_escrow.monero.ports import Block, BlockHeader, DaemonInfo, DaemonTransaction, FeeEstimate, KeyImageStatus
from monero_escrow.monero.public_parts import public_transaction
from monero_escrow.monero.rpc import CallHook, Credentials, RpcConnection

# A call that is harmless twice is made up to two times more, after these pauses (jittered); all tries together take no
# longer than twice its time limit.
PAUSES_SECONDS: Final = (0.2, 0.8)

# The most a restricted daemon answers in one call (src/rpc/core_rpc_server.cpp, RESTRICTED_TRANSACTIONS_COUNT).
_TRANSACTIONS_A_CALL: Final = 100
_NO_SUCH_HEIGHT: Final = -2  # a daemon's codes are not a wallet's (src/rpc/core_rpc_server_error_codes.h)
_NETWORK_OF: Final[Mapping[str, Network]] = {
    "mainnet": Network.MAINNET,
    "stagenet": Network.STAGENET,
    "testnet": Network.TESTNET,
    "fakechain": Network.REGTEST,
}
_REASONS: Final = (
    "double_spend",
    "fee_too_low",
    "invalid_input",
    "invalid_output",
    "low_mixin",
    "nonzero_unlock_time",
    "overspend",
    "sanity_check_failed",
    "too_big",
    "too_few_outputs",
    "tx_extra_too_big",
)


class _Send(Protocol):
    async def __call__(self, *, limit_seconds: float) -> Fields: ...


class DaemonClient:
    """One daemon. `UnavailableError` while it is busy syncing.

    `on_call` is told of every try. `pauses_seconds` are those before each repetition; none means that nothing is
    repeated.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        tls: ssl.SSLContext | None = None,
        on_call: CallHook | None = None,
        pauses_seconds: Sequence[float] = PAUSES_SECONDS,
    ) -> None:
        self._rpc = RpcConnection(url, credentials=credentials, tls=tls, on_call=on_call)
        self._pauses_seconds = pauses_seconds

    def __repr__(self) -> str:
        return f"DaemonClient({self.url!r})"

    @property
    def url(self) -> str:
        return self._rpc.url

    async def aclose(self) -> None:
        await self._rpc.aclose()

    async def _call(self, method: str, params: Mapping[str, object] | None = None) -> Fields:
        return self._ready(await self._patiently(method, partial(self._rpc.call, method, params)))

    async def _post(self, name: str, params: Mapping[str, object]) -> Fields:
        return await self._patiently(name, partial(self._rpc.post, f"/{name}", params))

    async def _patiently(self, method: str, send: _Send) -> Fields:
        row = DAEMON_CALLS[method]
        ends_at = time.monotonic() + 2 * row.limit_seconds
        limit_seconds = row.limit_seconds
        for pause in self._pauses_seconds if row.again is Again.ALWAYS else ():
            try:
                return await send(limit_seconds=limit_seconds)
            except (ProcessUnreachableError, CallAbandonedError):
                wait_seconds = jittered(pause)
                limit_seconds = min(row.limit_seconds, ends_at - time.monotonic() - wait_seconds)
                if limit_seconds <= 0:
                    raise
                await asyncio.sleep(wait_seconds)
        return await send(limit_seconds=limit_seconds)

    def _ready(self, answer: Fields) -> Fields:
        if answer.text("status", "OK") != "OK":
            raise UnavailableError("The daemon cannot answer now: it is busy, or refuses the request.")
        return answer

    async def get_info(self) -> DaemonInfo:
        answer = await self._call("get_info")
        network = _NETWORK_OF.get(answer.text("nettype"))
        if network is None:
            raise NotMoneroError(self.url, "get_info", "nettype is no network we know")
        return DaemonInfo(
            height=answer.integer("height"),
            target_height=answer.integer("target_height"),
            top_block_hash=answer.text("top_block_hash"),
            synchronized=answer.flag("synchronized"),
            network=network,
            offline=answer.flag("offline"),
            version=answer.text("version", ""),  # a restricted daemon does not say
        )

    async def get_last_block_header(self) -> BlockHeader:
        return _header(await self._call("get_last_block_header"))

    async def get_block_header(self, height: int) -> BlockHeader:
        return _header(await _of_block(self._call("get_block_header_by_height", {"height": height})))

    async def get_block(self, height: int) -> Block:
        return _block(await _of_block(self._call("get_block", {"height": height})))

    async def get_transactions(self, txids: Sequence[str]) -> dict[str, DaemonTransaction]:
        answers = await self._transactions(txids, {"decode_as_json": False})
        return {txid: _transaction(entry) for txid, entry in answers.items()}

    async def get_public_parts(self, txids: Sequence[str]) -> dict[str, PublicTransaction]:
        answers = await self._transactions(txids, {"decode_as_json": True, "prune": True})
        return {txid: public_transaction(self.url, txid, entry.text("as_json")) for txid, entry in answers.items()}

    async def _transactions(self, txids: Sequence[str], how: Mapping[str, object]) -> dict[str, Fields]:
        found: dict[str, Fields] = {}
        for first in range(0, len(txids), _TRANSACTIONS_A_CALL):
            some = list(txids[first : first + _TRANSACTIONS_A_CALL])
            answer = self._ready(await self._post("get_transactions", {"txs_hashes": some, **how}))
            for entry in answer.objects("txs"):
                txid = entry.text("tx_hash")
                if txid not in some:
                    raise NotMoneroError(self.url, "get_transactions", "a txid nobody asked for")
                found[txid] = entry
        return found

    async def get_pool_txids(self) -> list[str]:
        answer = await self._post("get_transaction_pool_hashes", {})
        return self._ready(answer).texts("tx_hashes")

    async def is_key_image_spent(self, key_images: Sequence[str]) -> list[KeyImageStatus]:
        if not key_images:
            return []
        answer = self._ready(await self._post("is_key_image_spent", {"key_images": list(key_images)}))
        statuses = answer.integers("spent_status")
        if len(statuses) != len(key_images) or any(status not in {0, 1, 2} for status in statuses):
            raise NotMoneroError(self.url, "is_key_image_spent", "spent_status does not fit the question")
        return [KeyImageStatus(status) for status in statuses]

    async def send_raw_transaction(self, raw_hex: str) -> None:
        answer = await self._post("send_raw_transaction", {"tx_as_hex": raw_hex, "do_not_relay": False})
        status = answer.text("status")
        if status == "BUSY":
            raise UnavailableError("The daemon is busy syncing and takes no transactions.")
        if status != "OK":
            reasons = frozenset(reason for reason in _REASONS if answer.flag(reason, default=False))
            raise TransactionRefusedError("send_raw_transaction", reasons)

    async def get_fee_estimate(self) -> FeeEstimate:
        answer = await self._call("get_fee_estimate")
        return FeeEstimate(
            per_byte_piconero=answer.integer("fee"),
            fees_piconero=tuple(answer.integers("fees")),
            quantization_mask=answer.integer("quantization_mask", 1),
        )

    # --- private chains only ---

    async def generate_blocks(self, count: int, address: str) -> list[str]:
        params = {"amount_of_blocks": count, "wallet_address": address, "starting_nonce": 0}
        return (await self._call("generateblocks", params)).texts("blocks")

    async def pop_blocks(self, count: int) -> int:
        return self._ready(await self._post("pop_blocks", {"nblocks": count})).integer("height")

    async def unrelayed_txids(self) -> list[str]:
        """What is in the pool and not yet passed on. Until then, a moment even offline, blocks are made without it."""
        answer = self._ready(await self._post("get_transaction_pool", {}))
        waiting = [entry for entry in answer.objects("transactions") if not entry.flag("do_not_relay", default=False)]
        return [entry.text("id_hash") for entry in waiting if not entry.flag("relayed")]

    async def flush_txpool(self) -> None:
        await self._call("flush_txpool")


async def _of_block(answer: Awaitable[Fields]) -> Fields:
    """The answer about one block. Raises BlockNotThereError."""
    try:
        return await answer
    except MoneroRpcError as error:
        if error.rpc_code == _NO_SUCH_HEIGHT:
            raise BlockNotThereError(error.method) from None
        raise


def _block(answer: Fields) -> Block:
    header = answer.inner("block_header")
    return Block(
        height=header.integer("height"),
        hash=header.text("hash"),
        previous_hash=header.text("prev_hash"),
        txids=(answer.text("miner_tx_hash"), *answer.texts("tx_hashes")),
    )


def _header(answer: Fields) -> BlockHeader:
    header = answer.inner("block_header")
    return BlockHeader(
        height=header.integer("height"), hash=header.text("hash"), timestamp_seconds=header.integer("timestamp")
    )


def _transaction(entry: Fields) -> DaemonTransaction:
    in_pool = entry.flag("in_pool")
    return DaemonTransaction(
        txid=entry.text("tx_hash"),
        in_pool=in_pool,
        block_height=None if in_pool else entry.integer("block_height"),
        confirmations=0 if in_pool else entry.integer("confirmations", 0),
        raw_hex=entry.text("as_hex"),
        double_spend_seen=entry.flag("double_spend_seen"),
    )
