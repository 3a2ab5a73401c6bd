"""What leasing a slot gives: the lease itself, and how it is refused or lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from monero_escrow.core.errors import EscrowError, UnavailableError
from monero_escrow.core.roles import Role
from monero_escrow.fleet.slot import Slot


class LeaseLostError(EscrowError):
    """The lease is over: whoever still holds on to it must stop. Nothing was sent."""

    code = "lease_lost"
    what_to_do = "Nothing: the work is taken up again under a new lease."


class NoSlotFreeError(UnavailableError):
    """No slot came free in time."""

    code = "no_slot_free"
    what_to_do = "Wait, or add wallet-rpc processes: three carry one set-up at a time."


def no_usable_slot(role: Role) -> NoSlotFreeError:
    """There is none that could come free, so that waiting is in vain."""
    return NoSlotFreeError(f"No usable wallet-rpc process serves the {role}s.")


@dataclass(slots=True, eq=False)
class Lease:
    """The right to one slot of each role, until it is given back. `fences` only grow, slot by slot."""

    work: str
    slots: Mapping[Role, Slot]
    fences: Mapping[Role, int]
    since: float
    over: bool = field(default=False, repr=False)
    suspects: dict[Role, str] = field(default_factory=dict, repr=False)
    require_work: Callable[[], None] = field(default=lambda: None, repr=False)
    """Raises when the work the slots were leased for is not its holder's any more."""

    def slot(self, role: Role) -> Slot:
        """The slot leased for a role, if the lease still holds. Raises LeaseLostError, or as `require_work` does."""
        slot = self.slots[role]
        if self.over or slot.fence != self.fences[role]:
            raise LeaseLostError(f"The lease of {slot.name} is over.")
        self.require_work()
        return slot

    def suspect(self, role: Role, reason: str) -> None:
        """Something is wrong with a slot: when the lease ends it is looked at before anybody gets it again."""
        self.suspects[role] = reason


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits for slots, since a moment of the monotonic clock."""

    roles: frozenset[Role]
    work: str
    since: float
    granted: asyncio.Future[Lease]

    @property
    def waits(self) -> bool:
        """Whether it is still to be told anything."""
        return not self.granted.done()
