"""The list of escrows as a page: what is searched for, what was found, and how it goes on. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from monero_escrow.core.errors import InvalidInputError
from monero_escrow.core.life_cycle import State
from monero_escrow.store.records import EscrowRecord
from monero_escrow.web.escrows import cursor_after, parse_cursor, parse_states
from monero_escrow.web.pages import ROOT

PAGE_ROWS: Final = 50
PATH: Final = f"{ROOT}/escrows"
LONGEST_SEARCH: Final = 200


class SearchTooLongError(InvalidInputError):
    """What is searched for is longer than any identifier."""

    code = "search_too_long"
    what_to_do = "Search for the beginning of an order's or escrow's id, an address or a transaction id."


@dataclass(frozen=True, slots=True)
class Search:
    """What the list is to show. Empty texts leave a condition out; `before` is what the cursor says."""

    text: str
    state: str
    cursor: str
    before: tuple[float, str] | None

    @classmethod
    def of(cls, text: str, state: str, cursor: str) -> Search:
        """From what the address of the page says. Raises InvalidInputError."""
        wanted = text.strip()
        if len(wanted) > LONGEST_SEARCH:
            raise SearchTooLongError(f"A search takes at most {LONGEST_SEARCH} characters.")
        if state:
            parse_states(state)
        return cls(wanted, state, cursor, parse_cursor(cursor) if cursor else None)

    @property
    def states(self) -> frozenset[State] | None:
        """The states to show; None is all."""
        return parse_states(self.state) if self.state else None

    @property
    def beginning(self) -> str | None:
        """How an identifier must begin."""
        return self.text or None

    @property
    def can_find(self) -> bool:
        """Whether anything stored could begin so: a NUL is in no text of a database."""
        return "\0" not in self.text

    def address(self, cursor: str = "") -> str:
        """The page with the same conditions, from here on."""
        given = {"q": self.text, "state": self.state, "cursor": cursor}
        conditions = urlencode({name: value for name, value in given.items() if value})
        return f"{PATH}?{conditions}" if conditions else PATH


@dataclass(frozen=True, slots=True)
class Found:
    """One page of escrows, newest first."""

    search: Search
    rows: tuple[EscrowRecord, ...]
    next_cursor: str | None

    @classmethod
    def of(cls, search: Search, found: Sequence[EscrowRecord]) -> Found:
        """From one row more than a page shows, if there are so many."""
        rows = tuple(found[:PAGE_ROWS])
        return cls(search, rows, cursor_after(rows[-1]) if len(found) > PAGE_ROWS else None)

    @property
    def here(self) -> str:
        """This very page."""
        return self.search.address(self.search.cursor)

    @property
    def further(self) -> str | None:
        """The next page."""
        return None if self.next_cursor is None else self.search.address(self.next_cursor)

    @property
    def nothing(self) -> str:
        """What an empty list says."""
        if self.search.before is not None:
            return "There are no older ones."
        if self.search.text or self.search.state:
            return "No escrow is like that. A search finds what an identifier begins with."
        return "There are no escrows yet. The first order makes one: POST /api/orders/{order_id}/init-escrow."
