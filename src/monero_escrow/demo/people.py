"""The people of the demo: a miner who makes blocks when somebody waits for them, a buyer and a vendor with wallets.

None of them knows the service: they see addresses and the chain. What a person received is read by their own wallet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from monero_escrow.monero.ports import Daemon
from monero_escrow.monero.private_chain import SPENDABLE_CHAIN_BLOCKS, Person

# Of these the buyer has 20 outputs: more than the 16 a ring hides among, and enough to pay several deposits at once.
BUYERS_BLOCKS: Final = 20
_BLOCKS_A_CALL: Final = 10


class Miner:
    """Mines on request. Who asks while others wait shares their blocks, so the chain grows only as far as needed."""

    def __init__(self, daemon: Daemon, address: str) -> None:
        self._daemon = daemon
        self._address = address
        self._at_work = asyncio.Lock()
        self.mined = 0

    async def first_coins(self, buyer_address: str, on_progress: Callable[[int, int], None]) -> None:
        """Mine a chain on which the buyer can spend; `on_progress` is told (mined, all) blocks."""
        mined = 0
        while mined < SPENDABLE_CHAIN_BLOCKS:
            on_progress(mined, SPENDABLE_CHAIN_BLOCKS)
            await self._mine(_BLOCKS_A_CALL, buyer_address if mined < BUYERS_BLOCKS else self._address)
            mined += _BLOCKS_A_CALL
        on_progress(mined, SPENDABLE_CHAIN_BLOCKS)

    async def bury(self, blocks: int) -> None:
        """Return when what is in the pool now lies `blocks` deep (1 is: just mined)."""
        async with self._at_work:
            # Read inside the lock: blocks of a call that was under way may have been filled before.
            target = self.mined + blocks
        while self.mined < target:
            async with self._at_work:
                if self.mined < target:
                    await self._mine(min(_BLOCKS_A_CALL, target - self.mined), self._address)

    async def _mine(self, blocks: int, address: str) -> None:
        await self._daemon.generate_blocks(blocks, address)
        self.mined += blocks


@dataclass(frozen=True, slots=True)
class Pocket:
    """A fresh subaddress of somebody's wallet: one order's coins, apart from everything else they own."""

    owner: Person
    address: str
    subaddress_minor: int

    async def received(self) -> Mapping[str, int]:
        """Piconero by txid of all that was ever mined to this subaddress, as the owner's own wallet reads the chain."""
        sums: dict[str, int] = {}
        for transfer in await self.owner.received():
            if (transfer.subaddress_major, transfer.subaddress_minor) == (0, self.subaddress_minor):
                sums[transfer.txid] = sums.get(transfer.txid, 0) + transfer.amount_piconero
        return sums


class Purse:
    """Hands out the pockets of one person's wallet."""

    def __init__(self, owner: Person) -> None:
        self.owner = owner
        self._made = 0
        self._making = asyncio.Lock()

    async def pocket(self) -> Pocket:
        """A new one. A wallet numbers its subaddresses 1, 2, 3 …; 0 is its primary address."""
        async with self._making:
            address = await self.owner.wallet.create_address()
            self._made += 1
            return Pocket(self.owner, address, self._made)
