"""The audit trail as a page: what is looked for, what was found, and how it goes on. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from monero_escrow.core.words import parse_moment
from monero_escrow.store.audit_browse import MOST_ESCROWS, ROWS_A_LOOK, Looked, TrailEntry, Wanted
from monero_escrow.store.audit_seal import name_of
from monero_escrow.store.trail_tables import OK
from monero_escrow.web.escrows import InvalidCursorError
from monero_escrow.web.pages import ROOT
from monero_escrow.web.pages.escrow_list import LONGEST_SEARCH, SearchTooLongError
from monero_escrow.web.pages.story import what_else_is_told, what_was_done

PATH: Final = f"{ROOT}/audit"
PAGE_ROWS: Final = 50
_CURSOR: Final = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class AuditSearch:
    """What the page is to show: the conditions, and the id of the row before which it begins (None: at the newest)."""

    wanted: Wanted
    before: int | None = None

    @classmethod
    def of(
        cls, escrow: str, actor: str, action: str, since: str, until: str, cursor: str, did: str = "", people: str = ""
    ) -> AuditSearch:
        """From what the address of the page says. Raises InvalidInputError.

        Whoever looks for nothing in particular is shown what people did; the service does a hundred times as much.
        """
        escrow, actor, action, did = escrow.strip(), actor.strip(), action.strip(), did.strip()
        if max(map(len, (escrow, actor, action, did))) > LONGEST_SEARCH:
            raise SearchTooLongError(
                f"A search takes at most {LONGEST_SEARCH} characters.",
                what_to_do="Search for the beginning of an id, an actor or an action.",
            )
        if cursor and not (cursor.isascii() and _CURSOR.fullmatch(cursor)):
            raise InvalidCursorError("The cursor is none that this service gave.")
        after, before = (parse_moment(text) if text.strip() else None for text in (since, until))
        wanted = Wanted(escrow, actor, action, after, before, did)
        wanted = replace(wanted, people=people == "1" if people else not wanted.any)
        return cls(wanted, int(cursor) if cursor else None)

    @property
    def can_find(self) -> bool:
        """Whether anything stored could be like that: a NUL is in no text of a database."""
        return "\0" not in self.wanted.escrow + self.wanted.actor + self.wanted.action + self.wanted.did

    @property
    def since(self) -> str:
        """As the field of a form holds it."""
        return _field(self.wanted.since)

    @property
    def until(self) -> str:
        """The same of the other bound."""
        return _field(self.wanted.until)

    def address(self, before: int | None = None) -> str:
        """The page with the same conditions, from here on."""
        wanted = self.wanted
        given = {
            "escrow": wanted.escrow, "actor": wanted.actor, "did": wanted.did, "action": wanted.action,
            "since": self.since, "until": self.until, "people": "1" if wanted.people else "0",
            "cursor": "" if before is None else str(before),
        }  # fmt: skip
        return f"{PATH}?{urlencode({name: value for name, value in given.items() if value})}"


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the trail as it is read."""

    entry: TrailEntry

    @property
    def what(self) -> str:
        """What was done, and where it led if it led anywhere."""
        return what_was_done(self.entry.row)

    @property
    def more(self) -> str:
        """What the row says besides."""
        return what_else_is_told(self.entry.row)

    @property
    def place(self) -> str:
        """Where it stands, as the verification names it: "row 12", with its chain if that is no escrow's."""
        chain, seq = self.entry.chain, self.entry.seq
        if chain is None or seq is None:
            return "in no chain"
        return f"row {seq}" if chain == self.entry.row.escrow_id else f"{name_of(chain)}, row {seq}"

    @property
    def went_wrong(self) -> bool:
        """Whether its result is another than that all went well."""
        return self.entry.row.result not in (None, OK)


@dataclass(frozen=True, slots=True)
class Trail:
    """One page of the trail, newest first."""

    search: AuditSearch
    looked: Looked

    @property
    def lines(self) -> tuple[Line, ...]:
        """The rows."""
        return tuple(map(Line, self.looked.entries))

    @property
    def further(self) -> str | None:
        """The next page."""
        return None if self.looked.next_before is None else self.search.address(self.looked.next_before)

    @property
    def nothing(self) -> str:
        """What a page without rows says."""
        if self.looked.too_many:
            return f"More than {MOST_ESCROWS} escrows begin like that. Write more of the id."
        if self.looked.next_before is not None:
            return f"None of {ROWS_A_LOOK:,} rows is like that. There are older ones."
        if self.search.before is not None:
            return "There are no older ones."
        if self.search.wanted == Wanted(people=True):
            return "No person has done anything yet. What the service did by itself is among all rows."
        if self.search.wanted.any:
            return "No row is like that. Who, what and the escrow are found by what they begin with."
        return "Nothing was done yet."


def _field(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.fromtimestamp(int(seconds), UTC).replace(tzinfo=None).isoformat()
