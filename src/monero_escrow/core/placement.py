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
    taken = dict.fromkeys(free, 0)
    open_classes = {role for role, slots in free.items() if slots}
    grants: list[Grant[TicketT, SlotT]] = []
    for ticket, roles in waiting:
        if not open_classes:
            break
        if not roles <= open_classes:
            open_classes -= roles
            continue
        grants.append(Grant(ticket, {role: free[role][taken[role]] for role in Role if role in roles}))
        for role in roles:
            taken[role] += 1
            if taken[role] == len(free[role]):
                open_classes.discard(role)
    return grants
