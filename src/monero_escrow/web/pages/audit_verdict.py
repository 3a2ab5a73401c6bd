"""What a verification of the audit trail says to a person: whole or not, what is wrong and where, and what to do. Pure.

The judgement itself is `store/audit_check.py`'s, and its sentences name chain and row as the command's do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from monero_escrow.core.words import many
from monero_escrow.store.audit_check import Problem, Trouble, Verified
from monero_escrow.web.pages.audit_list import PATH

MOST_SHOWN: Final = 100
WHAT_TO_DO: Final = (
    "Nobody but the service writes to its database. Keep a copy as it is now, find out who could write there "
    "(psql, the file itself, a backup that was put back), and compare the escrows concerned with the chain."
)
_MEANS: Final[Mapping[Problem, str]] = {
    Problem.CHANGED: "A value of this row was changed after the service had written it. Do not rely on what it says.",
    Problem.MISSING: "Rows between others were removed: what they told is lost, unless an export has it.",
    Problem.INSERTED: "Somebody other than the service added a row. What it tells did not happen as far as we know.",
    Problem.MOVED: "Rows are in another order than they were written in, or come from another copy of the database.",
    Problem.CUT_OFF: "The newest rows were removed: what was done last is not told any more.",
    Problem.HEAD: "Where this chain ends was changed: its escrow waits, and nothing is signed. When you know why, "
    "“monero-escrow audit mend” lets it go on.",
    Problem.CHECKPOINT: "The trail is not the one that the service signed: it was put back to an earlier time, or "
    "changed.",
    Problem.UNCHAINED: "Expected after a rolling upgrade, at the times of the upgrade: then “monero-escrow audit "
    "adopt” chains them. Otherwise somebody inserted them.",
    Problem.FILE: "The file was changed.",
}


@dataclass(frozen=True, slots=True)
class TrailFinding:
    """One thing that is wrong, what it means, and where its rows are shown."""

    what: str
    means: str
    rows: str | None


@dataclass(frozen=True, slots=True)
class TrailVerdict:
    """What was found; `more` is how many troubles it does not name."""

    findings: tuple[TrailFinding, ...]
    more: int
    checked: str
    one_escrow: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def headline(self) -> str:
        """The answer in a sentence."""
        of_what = "This escrow's trail" if self.one_escrow else "The trail"
        if self.whole:
            return f"{of_what} is whole."
        return f"{of_what} is not whole: {many(len(self.findings) + self.more, 'thing')} to look at."


def verdict_of(found: Verified, *, one_escrow: bool = False) -> TrailVerdict:
    """In words."""
    shown = found.troubles[:MOST_SHOWN]
    rows, chains = many(found.rows, "row"), many(found.chains, "chain")
    checked = f"{rows} in {chains}, {many(found.checkpoints, 'signed checkpoint')}."
    if found.chained_later:
        checked += f" {many(found.chained_later, 'row')} of an earlier version, chained later."
    return TrailVerdict(_findings(shown), len(found.troubles) - len(shown), checked, one_escrow)


def _findings(troubles: Sequence[Trouble]) -> tuple[TrailFinding, ...]:
    return tuple(TrailFinding(one.message, _MEANS[one.problem], _rows_of(one.chain)) for one in troubles)


def _rows_of(chain: str | None) -> str | None:
    return None if chain is None else f"{PATH}?{urlencode({'escrow': chain})}"
