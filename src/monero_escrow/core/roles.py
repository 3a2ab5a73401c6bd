"""The three roles of an escrow, and which slot serves which of them.

Slot i of the configured URLs serves buyer, vendor, arbiter as i mod 3 is 0, 1, 2. A slot of one class never opens
another class's wallet.
"""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """A participant of the 2-of-3 multisig."""

    BUYER = "buyer"
    VENDOR = "vendor"
    ARBITER = "arbiter"


ROLES: tuple[Role, Role, Role] = (Role.BUYER, Role.VENDOR, Role.ARBITER)
TRIO: frozenset[Role] = frozenset(ROLES)


def role_of_slot(index: int) -> Role:
    """The role class of the slot at this position (0-based) of the configured URLs."""
    return ROLES[index % len(ROLES)]


def peers_of(role: Role) -> tuple[Role, Role]:
    """The other two participants, in the fixed order of `ROLES`."""
    first, second = (other for other in ROLES if other is not role)
    return first, second
