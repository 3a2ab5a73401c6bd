"""A local fleet without processes: starts take a while on the tests' clock, and fail or die when a test says so."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import cast

from monero_escrow.core.roles import Role
from monero_escrow.fleet.slot import Slot
from monero_escrow.fleet.upkeep import DeathListener
from monero_escrow.monero.ports import WalletRpc
from monero_escrow.monero.processes import ProgramFailedError
from unit.slots import IdleRpc, VirtualClock, mark_anew

START_SECONDS = 1.0
SLOT_BYTES = 40 << 20


class FakeFleet:
    """What `Upkeep` starts slots with. `alive`: the slots whose process runs; `ended`: those it was told to end."""

    on_death: DeathListener

    def __init__(self, clock: VirtualClock) -> None:
        self.alive: list[Slot] = []
        self.ended: list[Slot] = []
        self.starts = 0
        self.broken = False
        self._clock = clock
        self._numbers = itertools.count()

    async def start_slot(self, role: Role) -> Slot:
        self.starts += 1
        await self._clock.sleep(START_SECONDS)
        if self.broken:
            raise ProgramFailedError("monero-wallet-rpc does not start here.")
        index = next(self._numbers)
        slot = Slot(index, role, cast("WalletRpc", IdleRpc(index)), managed=True)
        mark_anew(slot)
        self.alive.append(slot)
        return slot

    async def stop_slot(self, slot: Slot) -> None:
        if slot in self.alive:
            self.alive.remove(slot)
        self.ended.append(slot)

    def runs(self, slot: Slot) -> bool:
        return slot in self.alive

    def memory_bytes(self) -> Mapping[Slot, int]:
        return dict.fromkeys(self.alive, SLOT_BYTES)

    def die(self, slot: Slot) -> None:
        """Its process ends by itself."""
        self.alive.remove(slot)
        self.on_death(slot)
