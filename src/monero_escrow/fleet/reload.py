"""What new settings change: decided as a whole before anything is done, and told afterwards.

Settings that would be another service's are no wish but a mistake: a file that is cut off, or not there.

A URL is known again by the place it leads to. With other credentials it is a slot of its own, which joins when the one
before has left. It must not come to serve another role by its new position: its process
holds wallets of its class, and a process of one class never opens another's wallet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from monero_escrow.config import Settings, named_settings_file
from monero_escrow.core.errors import InvalidInputError
from monero_escrow.core.roles import ROLES
from monero_escrow.fleet.slot import Slot


class ReloadRefusedError(InvalidInputError):
    """The new settings cannot be used. Nothing was changed."""

    code = "reload_refused"
    what_to_do = "Correct the settings and reload once more; `monero-escrow doctor` checks them. Nothing was changed."


_OF_ONE_SERVICE: Final = (
    *("db_encryption_key", "db_encryption_key_file", "db_encryption_key_command"),
    *("data_dir", "monero_network"),
)
"""The settings that say which service this is; with another value it would be another one."""


@dataclass(frozen=True, slots=True)
class UrlChanges:
    """The slots of a new list that are not in the pool yet, and those of the pool that are on the list no more, or not
    as they were.
    """

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


def starts_or_ends() -> ReloadRefusedError:
    """Why there is no reload while the service is not at work."""
    return ReloadRefusedError("The service starts or ends just now.", what_to_do="Reload once more, later.")


def require_settings_file() -> None:
    """Raises ReloadRefusedError when the file that MONERO_ESCROW_CONFIG names is not there: it would count as empty."""
    named = named_settings_file()
    if named is not None and not named.exists():
        raise ReloadRefusedError(
            f"{named}, which MONERO_ESCROW_CONFIG names, is not there.",
            what_to_do="Put the file back and reload once more. Nothing was changed.",
        )


def require_same_service(at_start: Settings, now: Settings) -> None:
    """Raises ReloadRefusedError when settings that only a start reads have changed in a way that no wish explains."""
    other = [name.upper() for name in _OF_ONE_SERVICE if getattr(at_start, name) != getattr(now, name)]
    if other:
        raise ReloadRefusedError(
            f"Not as at the start: {', '.join(other)}. The file of the settings may be cut off, or another one.",
            what_to_do="Put back what was there and reload once more; for another database, restart the service. "
            "Nothing was changed.",
        )


def url_changes(now: Sequence[Slot], wanted: Sequence[Slot]) -> UrlChanges:
    """Compare the static slots that stay in the pool with those of the new list. Raises ReloadRefusedError.

    Example: of A, B, C and D, E, F, the list A, B, C lets D, E and F leave; the list B, C, D is refused. The same list
    with another login for B lets B leave and join.
    """
    known = {place_of(slot): slot for slot in now}
    listed = {place_of(slot): slot for slot in wanted}
    for place, slot in listed.items():
        if place in known and known[place].role is not slot.role:
            raise ReloadRefusedError(
                f"{known[place].name} would come to serve {slot.role}s: the roles follow from the places in the list.",
                what_to_do=f"Take whole trios off the list ({', '.join(ROLES)}), or put other URLs in the places of "
                "those you remove. Nothing was changed.",
            )
    staying = {place for place in known.keys() & listed.keys() if known[place].access == listed[place].access}
    return UrlChanges(
        joining=tuple(slot for place, slot in listed.items() if place not in staying),
        leaving=tuple(slot for place, slot in known.items() if place not in staying),
    )


def place_of(slot: Slot) -> tuple[str | None, int | None]:
    """Host and port its URL leads to: one process, however the URL is spelt."""
    parts = urlsplit(slot.rpc.url)
    return parts.hostname, parts.port
