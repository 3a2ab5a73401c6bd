"""What the parties of a dispute say, kept for the arbiter: text alone, so much of it, and nothing that hides in it.

The text is shown to people as text. What changes how text around it reads (control characters, marks that turn the
direction of writing) is refused rather than taken out: nobody's word is kept other than it was said.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from monero_escrow.core.errors import ConflictError, InvalidInputError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import Role
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.decide import Decision
from monero_escrow.store.evidence_table import hash_of
from monero_escrow.store.transaction import Transaction

LONGEST_TEXT: Final = 4_000
MOST_TEXTS: Final = 20
"""Of one party about one escrow."""

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_JOINERS: Final = frozenset("\u200c\u200d")
"""Invisible, but some scripts and emoji are not written without them."""


class NoDisputeError(ConflictError):
    """Nobody is to judge about this escrow."""

    code = "no_dispute"
    what_to_do = "Open a dispute first, then send what the parties say."


class TooMuchEvidenceError(ConflictError):
    """A party has said as much as one may."""

    code = "too_much_evidence"
    what_to_do = f"A party sends at most {MOST_TEXTS} texts; the arbiter has them all."


def add_evidence(ctx: Context, escrow_id: str, actor: str, party: Role, text: str) -> Decision:
    """Keep what a party says. The decision raises NoDisputeError, TooMuchEvidenceError; this, InvalidInputError."""
    said = checked_text(text)
    if party not in (Role.BUYER, Role.VENDOR):
        raise InvalidInputError("Evidence is the buyer's or the vendor's.")

    def decision(tx: Transaction) -> None:
        escrow, now = tx.escrows.get(escrow_id), ctx.clock.now()
        if escrow.state is not State.DISPUTED:
            raise NoDisputeError("The escrow is not in dispute.")
        if tx.evidence.count(escrow_id, party) >= MOST_TEXTS:
            raise TooMuchEvidenceError(f"The {party} has sent {MOST_TEXTS} texts already.")
        tx.evidence.add(escrow_id, party, said, actor, now)
        detail = {"party": party.value, "characters": len(said), "text_hash": hash_of(said)}
        tx.audit.add(actor, "evidence", now, escrow_id=escrow_id, detail=detail)

    return decision


def checked_text(text: str) -> str:
    """The text without blanks around it, its lines ended by a newline alone. Raises InvalidInputError."""
    lines = text.replace("\r\n", "\n").strip()
    if not lines or len(lines) > LONGEST_TEXT:
        raise InvalidInputError(f"Evidence is a text of 1 to {LONGEST_TEXT} characters.")
    if any(unicodedata.category(sign) in _UNSEEN and sign not in _JOINERS for sign in lines.replace("\n", "")):
        raise InvalidInputError("Evidence holds characters that cannot be seen.", what_to_do="Send plain text.")
    return lines
