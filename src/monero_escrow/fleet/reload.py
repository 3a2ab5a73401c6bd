"""What a new list of URLs changes: decided as a whole before anything is done, and told afterwards.

A URL is known again by the place it leads to. It must not come to serve another role by its new position: its process
holds wallets of its class, and a process of one class never opens another's wallet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from monero_escrow.core.errors import InvalidInputError
from monero_escrow.core.roles import ROLES
from monero_escrow.fleet.slot import Slot


class ReloadRefusedError(InvalidInputError):
    """The new settings cannot be used. Nothing was changed."""

    code = "reload_refused"
    what_to_do = "Correct the settings and reload once more; `monero-escrow doctor` checks them. Nothing was changed."


@dataclass(frozen=True, slots=True)
class UrlChanges:
    """The slots of a new list that are not in the pool yet, and those of the pool that are on the list no more."""

    joining: tuple[Slot, ...]
    leaving: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did, slots by name. `sick` are those of the joined that cannot be used yet, and why."""

    joined: tuple[str, ...]
    draining: tuple[str, ...]
    sick: dict[str, str]
    min_trios: int
    max_trios: int


def url_changes(now: Sequence[Slot], wanted: Sequence[Slot]) -> UrlChanges:
    """Compare the static slots that stay in the pool with those of the new list. Raises ReloadRefusedError.

    Example: of A, B, C and D, E, F, the list A, B, C lets D, E and F leave; the list B, C, D is refused.
    """
    known = {_place(slot): slot for slot in now}
    listed = {_place(slot): slot for slot in wanted}
    for place, slot in listed.items():
        if place in known and known[place].role is not slot.role:
            raise ReloadRefusedError(
                f"{known[place].name} would come to serve {slot.role}s: the roles follow from the places in the list.",
                what_to_do=f"Take whole trios off the list ({', '.join(ROLES)}), or put other URLs in the places of "
                "those you remove. Nothing was changed.",
            )
    return UrlChanges(
        joining=tuple(slot for place, slot in listed.items() if place not in known),
        leaving=tuple(slot for place, slot in known.items() if place not in listed),
    )


def _place(slot: Slot) -> tuple[str | None, int | None]:
    parts = urlsplit(slot.rpc.url)
    return parts.hostname, parts.port
