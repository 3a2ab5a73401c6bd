"""Who gets which slot: the decision, apart from the waiting and the handing over.

A request asks for one slot of each role it names, all or nothing. Requests are served in order of arrival. One that
cannot be served reserves its classes: a later request may pass it only if the two want nothing in common. So none
starves, and since nobody holds a slot while waiting for another, none deadlocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from monero_escrow.core.roles import Role

TicketT = TypeVar("TicketT")
SlotT = TypeVar("SlotT")


@dataclass(frozen=True, slots=True)
class Grant(Generic[TicketT, SlotT]):
    """A request that can be served now, and the slot it gets for each of its roles."""

    ticket: TicketT
    slots: Mapping[Role, SlotT]


def assign(
    waiting: Iterable[tuple[TicketT, frozenset[Role]]], free: Mapping[Role, Sequence[SlotT]]
) -> list[Grant[TicketT, SlotT]]:
    """Serve the waiting (ticket, roles) in order from the free slots of each class, best slot first.

    Example: with one free slot a class, [(A, {buyer, vendor}), (B, {vendor}), (C, {arbiter})] grants A and C; B waits.
    """
    left = {role: list(slots) for role, slots in free.items()}
    reserved: set[Role] = set()
    grants: list[Grant[TicketT, SlotT]] = []
    for ticket, roles in waiting:
        if roles & reserved or not all(left.get(role) for role in roles):
            reserved |= roles
            if len(reserved) == len(Role):
                break
            continue
        grants.append(Grant(ticket, {role: left[role].pop(0) for role in Role if role in roles}))
    return grants
