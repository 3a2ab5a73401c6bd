"""The `Daemon` port on a chain in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from monero_escrow.core.scan import PublicTransaction
from monero_escrow.monero.errors import (
    BlockNotThereError,
    CallAbandonedError,
    ProcessUnreachableError,
    TransactionRefusedError,
)
from monero_escrow.monero.fake import chain as fake_chain
from monero_escrow.monero.fake.alarms import NotModelledError
from monero_escrow.monero.fake.chain import FakeChain, RefusedTransactionError
from monero_escrow.monero.fake.faults import Fault, FaultPlan, Moment, Phase, no_faults
from monero_escrow.monero.ports import Block, BlockHeader, DaemonInfo, DaemonTransaction, FeeEstimate, KeyImageStatus
from monero_escrow.monero.versions import MoneroVersion

# What a fresh private chain answers: piconero a byte for each priority, and what a fee is rounded up to.
FEE_ESTIMATE: Final = FeeEstimate(1_200_000, (1_200_000, 4_700_000, 19_000_000, 240_000_000), 10_000)

_NO_HASH: Final = "0" * 64


class FakeDaemon:
    """One monerod, offline like that of a private chain.

    A test may set `synchronized` and `target_height`, and make it `reachable` or not. Of the faults it knows `LOST` and
    `UNREACHABLE`.
    """

    def __init__(self, url: str, chain: FakeChain, version: MoneroVersion, *, faults: FaultPlan = no_faults) -> None:
        self.chain = chain
        self.synchronized = True
        self.target_height = 0
        self.reachable = True
        self._url = url
        self._version = version
        self._faults = faults

    def __repr__(self) -> str:
        return f"FakeDaemon({self._url!r})"

    @property
    def url(self) -> str:
        return self._url

    async def aclose(self) -> None:
        return

    async def get_info(self) -> DaemonInfo:
        await self._arrive("get_info")
        info = DaemonInfo(
            height=self.chain.height,
            target_height=self.target_height,
            top_block_hash=self.chain.top.hash,
            synchronized=self.synchronized,
            network=self.chain.network,
            offline=True,
            version=f"{self._version}-fake",
        )
        await self._answer("get_info")
        return info

    async def get_last_block_header(self) -> BlockHeader:
        await self._arrive("get_last_block_header")
        header = _header(self.chain.top)
        await self._answer("get_last_block_header")
        return header

    async def get_block_header(self, height: int) -> BlockHeader:
        await self._arrive("get_block_header_by_height")
        header = _header(self._block("get_block_header_by_height", height))
        await self._answer("get_block_header_by_height")
        return header

    async def get_block(self, height: int) -> Block:
        await self._arrive("get_block")
        found = self._block("get_block", height)
        block = Block(
            height=height,
            hash=found.hash,
            previous_hash=self.chain.block(height - 1).hash if height else _NO_HASH,
            txids=tuple(transaction.txid for transaction in found.transactions),
        )
        await self._answer("get_block")
        return block

    async def get_public_parts(self, txids: Sequence[str]) -> Mapping[str, PublicTransaction]:
        await self._arrive("get_transactions")
        found = {txid: known[0].public_parts for txid in txids if (known := self.chain.find(txid)) is not None}
        await self._answer("get_transactions")
        return found

    async def get_pool_txids(self) -> list[str]:
        await self._arrive("get_transaction_pool_hashes")
        txids = list(self.chain.pool)
        await self._answer("get_transaction_pool_hashes")
        return txids

    async def get_transactions(self, txids: Sequence[str]) -> Mapping[str, DaemonTransaction]:
        """As monerod: what is mined between its look into the chain and that into the pool, it misses."""
        await self._arrive("get_transactions")
        mined = self._transactions(txids, in_pool=False)
        await self._answer("get_transactions")
        return mined | self._transactions(txids, in_pool=True)

    async def is_key_image_spent(self, key_images: Sequence[str]) -> list[KeyImageStatus]:
        """As monerod: what is spent by a transaction that is mined between its two looks, it calls unspent."""
        await self._arrive("is_key_image_spent")
        mined = {image for image in key_images if self.chain.key_image_status(image) is KeyImageStatus.IN_CHAIN}
        await self._answer("is_key_image_spent")
        return [KeyImageStatus.IN_CHAIN if image in mined else self._status_in_pool(image) for image in key_images]

    async def send_raw_transaction(self, raw_hex: str) -> None:
        await self._arrive("send_raw_transaction")
        try:
            self.chain.take(raw_hex)
        except RefusedTransactionError as refused:
            raise TransactionRefusedError("send_raw_transaction", refused.reasons) from None
        await self._answer("send_raw_transaction")

    async def get_fee_estimate(self) -> FeeEstimate:
        await self._arrive("get_fee_estimate")
        await self._answer("get_fee_estimate")
        return FEE_ESTIMATE

    async def generate_blocks(self, count: int, address: str) -> list[str]:
        await self._arrive("generateblocks")
        hashes = [self.chain.mine(address) for _ in range(count)]
        await self._answer("generateblocks")
        return hashes

    async def pop_blocks(self, count: int) -> int:
        await self._arrive("pop_blocks")
        height = self.chain.pop(count)
        await self._answer("pop_blocks")
        return height

    async def flush_txpool(self) -> None:
        await self._arrive("flush_txpool")
        self.chain.forget_pool()
        await self._answer("flush_txpool")

    def _block(self, method: str, height: int) -> fake_chain.Block:
        try:
            return self.chain.block(height)
        except IndexError:
            raise BlockNotThereError(method) from None

    def _transactions(self, txids: Sequence[str], *, in_pool: bool) -> dict[str, DaemonTransaction]:
        found = {txid: known for txid in txids if (known := self._transaction(txid)) is not None}
        return {txid: known for txid, known in found.items() if known.in_pool == in_pool}

    def _transaction(self, txid: str) -> DaemonTransaction | None:
        found = self.chain.find(txid)
        if found is None:
            return None
        transaction, height = found
        return DaemonTransaction(
            txid=txid,
            in_pool=height is None,
            block_height=height,
            confirmations=0 if height is None else self.chain.height - height,
            raw_hex=transaction.raw_hex,
            double_spend_seen=height is None and txid in self.chain.double_spend_seen,
        )

    def _status_in_pool(self, key_image: str) -> KeyImageStatus:
        is_there = self.chain.key_image_status(key_image) is KeyImageStatus.IN_POOL
        return KeyImageStatus.IN_POOL if is_there else KeyImageStatus.UNSPENT

    async def _arrive(self, method: str) -> None:
        fault = await self._faults(Moment(self._url, method, Phase.ARRIVING)) if self.reachable else Fault.UNREACHABLE
        if fault is Fault.UNREACHABLE:
            raise ProcessUnreachableError(self._url, method, "nobody listens")
        self._refuse_unless_answered(method, fault)

    async def _answer(self, method: str) -> None:
        self._refuse_unless_answered(method, await self._faults(Moment(self._url, method, Phase.ANSWERING)))

    def _refuse_unless_answered(self, method: str, fault: Fault) -> None:
        if fault is Fault.LOST:
            raise CallAbandonedError(self._url, method, "no answer")
        if fault is not Fault.NONE:
            raise NotModelledError(f"{fault} of a daemon")


def _header(block: fake_chain.Block) -> BlockHeader:
    return BlockHeader(height=block.height, hash=block.hash, timestamp_seconds=block.timestamp_seconds)
