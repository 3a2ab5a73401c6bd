"""Blocks that are replaced by others: as deep as they go before anything is final, with deposits and payouts in them.

What was in them goes back to the pool and is mined again, is missing for a while, or is kept by no node at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import TYPE_CHECKING, Any

from monero_escrow.monero.fake.chain import RefusedTransactionError, Transaction
from monero_escrow.monero.fake.keys import read_address
from simulation.fate import Fate

if TYPE_CHECKING:
    from simulation.surroundings import Surroundings

_COUNTED_BLOCKS = 10
_FINAL_BLOCKS = 30


class Reorganisations:
    """Replaces blocks of one world's chain, and counts into its fate what struck."""

    def __init__(self, world: Surroundings, fate: Fate, rng: Random) -> None:
        self._world = world
        self._chain = world.monero.chain
        self._struck = fate.struck
        self._rng = rng
        self.mending = 0
        """How many repairs are still to come."""

    async def shallow(self) -> None:
        """A few blocks, and everything in them is mined again."""
        self._struck["reorganisation"] += 1
        await self._world.monero.reorganise(self._rng.randint(1, 3))

    async def deep(self) -> None:
        """Many blocks, though none that is final; mostly such that a deposit that counted is in them."""
        deposits = [
            (height, transaction)
            for height, transaction in self._mined(_FINAL_BLOCKS - 2)
            if self._is_deposit(transaction) and self._chain.height - height >= _COUNTED_BLOCKS
        ]
        self._struck["deep reorganisation"] += 1
        if not deposits:
            await self._world.monero.reorganise(self._rng.randint(4, 12))
            return
        height, deposit = self._rng.choice(deposits)
        depth = self._chain.height - height
        self._chain.pop(depth)
        if self._rng.random() < 0.5:
            self._struck["counted deposit out of the chain for good"] += 1
            self._lose(deposit)
        else:
            self._struck["counted deposit out of the chain and back"] += 1
            if self._rng.random() < 0.5:
                self._keep_back(deposit)
        await self._world.monero.mine(depth + 1)

    async def forget_payouts(self, depth: int) -> None:
        """A fork without the payouts that were mined of late, and no node that kept them."""
        payouts = [transaction.txid for _, transaction in self._mined(depth) if not self._is_deposit(transaction)]
        if not payouts:
            return
        self._struck["payout forgotten by the network"] += len(payouts)
        self._chain.pop(depth)
        for txid in payouts:
            self._chain.pool.pop(txid, None)
        await self._world.monero.mine(depth + 1)

    def _mined(self, blocks: int) -> list[tuple[int, Transaction]]:
        """What the last blocks hold, with its height, apart from their rewards."""
        return [
            (block.height, transaction)
            for block in self._chain.blocks_from(self._chain.height - blocks)
            for transaction in block.transactions
            if not transaction.is_coinbase
        ]

    def _is_deposit(self, transaction: Transaction) -> bool:
        """Whether the miner paid it, and not an escrow."""
        miner = read_address(self._world.monero.miner.address, self._chain.network).public_spend_key.hex()
        places = [self._chain.place(spent) for spent in transaction.spends]
        return any(place is not None and place.output.destination == miner for place in places)

    def _lose(self, transaction: Transaction) -> None:
        """No node has it any more, nor what spends its outputs; some buyers pay once more."""
        pool = self._chain.pool
        pool.pop(transaction.txid, None)
        lost = self._world.payments.lost(transaction.txid)
        if lost and self._rng.random() < 0.6:
            self._mend(self._pay_again(lost))
        outputs = {output.public_key for output in transaction.outputs}
        for child in [child for child in pool.values() if outputs & set(child.spends)]:
            self._lose(child)

    async def _pay_again(self, payments: list[tuple[str, int]]) -> None:
        await asyncio.sleep(self._rng.uniform(60, 3_000))
        await self._world.payments.pay(*payments)

    def _keep_back(self, transaction: Transaction) -> None:
        """It is missing for a while, and then some node sends it again."""
        self._chain.pool.pop(transaction.txid, None)
        self._mend(self._send_again(transaction))

    async def _send_again(self, transaction: Transaction) -> None:
        await asyncio.sleep(self._rng.uniform(60, 3_000))
        try:
            self._chain.take(transaction.raw_hex)
        except RefusedTransactionError:  # the miner's wallet has spent the same coins again meanwhile
            self._lose(transaction)

    def _mend(self, repair: Coroutine[Any, Any, None]) -> None:
        self.mending += 1

        async def mend() -> None:
            await repair
            self.mending -= 1

        self._world.also(mend())
