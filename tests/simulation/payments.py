"""What people pay to escrows, as long as some node has it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from monero_escrow.core.errors import EscrowError

if TYPE_CHECKING:
    from simulation.surroundings import Surroundings


class Payments:
    """Who paid what to whom."""

    def __init__(self, world: Surroundings) -> None:
        self._world = world
        self._paid: dict[str, list[tuple[str, int]]] = {}

    async def pay(self, *payments: tuple[str, int]) -> None:
        """Pay each (address, piconero) from the miner's wallet, as soon as that has coins that are not locked."""
        while True:
            try:
                txid = await self._world.monero.miner.pay(list(payments))
            except EscrowError:
                await asyncio.sleep(150)
                continue
            self._paid[txid] = list(payments)
            return

    def to(self, address: str) -> int:
        """What was paid to an address and is not lost, in piconero."""
        return sum(piconero for paid in self._paid.values() for payee, piconero in paid if payee == address)

    def lost(self, txid: str) -> list[tuple[str, int]]:
        """No node has it any more; what it paid to whom."""
        return self._paid.pop(txid, [])
