"""The people of the demo: a miner who makes blocks when somebody waits for them, a buyer and a vendor with wallets.

None of them knows the service: they see addresses and the chain. What a person received is read by their own wallet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.person import Person, persistently, until_relayed
from monero_escrow.monero.private_chain import SPENDABLE_CHAIN_BLOCKS

# Of these the buyer has 20 outputs: more than the 16 a ring hides among, and enough to pay several deposits at once.
BUYERS_BLOCKS: Final = 20
_BLOCKS_A_CALL: Final = 10
_GENESIS: Final = 1


class Miner:
    """Mines on request. Who asks while others wait shares their blocks, so the chain grows only as far as needed.

    What counts is the chain's own height: a daemon that dies while it mines may or may not have made its blocks.
    """

    def __init__(self, daemon: DaemonClient, address: str) -> None:
        self._daemon = daemon
        self._address = address
        self._at_work = asyncio.Lock()

    async def first_coins(self, buyer_address: str, on_progress: Callable[[int, int], None]) -> None:
        """Mine a chain on which the buyer can spend; `on_progress` is told (mined, all) blocks."""
        for mined in range(0, SPENDABLE_CHAIN_BLOCKS, _BLOCKS_A_CALL):
            on_progress(mined, SPENDABLE_CHAIN_BLOCKS)
            address = buyer_address if mined < BUYERS_BLOCKS else self._address
            await self._grow(_GENESIS + mined + _BLOCKS_A_CALL, address)
        on_progress(SPENDABLE_CHAIN_BLOCKS, SPENDABLE_CHAIN_BLOCKS)

    async def bury(self, blocks: int) -> None:
        """Return when what is in the pool now lies `blocks` deep (1 is: just mined)."""
        async with self._at_work:
            # Read inside the lock: blocks of a call that was under way may have been filled before.
            target = await persistently(self._height) + blocks
        async with self._at_work:
            await self._grow(target, self._address)

    async def _height(self) -> int:
        return (await self._daemon.get_info()).height

    async def _grow(self, target_height: int, address: str) -> None:
        async def grown() -> None:
            await until_relayed(self._daemon)  # what is not passed on yet would be left out
            while (missing := target_height - await self._height()) > 0:
                await self._daemon.generate_blocks(min(_BLOCKS_A_CALL, missing), address)

        await persistently(grown)


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

    async def pocket(self) -> Pocket:
        """A new one."""
        address, minor = await self.owner.new_subaddress()
        return Pocket(self.owner, address, minor)
