"""How a dispute ended: what was ruled or dismissed, by whom, when, why, and what pays it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from monero_escrow.core.life_cycle import Event, State
from monero_escrow.core.payout import PayoutKind
from monero_escrow.core.payout_states import PayoutState
from monero_escrow.escrows.views import EscrowView
from monero_escrow.store.records import PayoutRecord

_SHARES: Final = re.compile(r"([0-9]{1,5})/([0-9]{1,5}) of 10,000")
"""How `escrows/decide.py` notes a ruling with its payouts."""
_ENDS: Final = frozenset({Event.RULING, Event.DISMISS, Event.RULING_CALLED_OFF})


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a dispute; a dismissal has no `shares`, and no payouts. `why` is empty where nothing was said."""

    by: str
    at: float
    why: str
    shares: str = ""
    payouts: tuple[PayoutRecord, ...] = ()


def outcome_of(view: EscrowView) -> Outcome | None:
    """How the last dispute ended; None while it is open, or if there never was one."""
    ends = [row for row in view.history if row.action in _ENDS]
    if view.escrow.state is State.DISPUTED or not ends or ends[-1].action == Event.RULING_CALLED_OFF:
        return None
    end = ends[-1]
    why = str(end.detail.get("reason") or "")
    if end.action == Event.DISMISS:
        return Outcome(end.actor, end.at, why)
    rulings = [payout for payout in view.payouts if payout.plan.kind is PayoutKind.RULING]
    made = tuple(payout for payout in rulings if payout.state is not PayoutState.CALLED_OFF)
    return Outcome(end.actor, end.at, why, in_percent(made[-1].reason) if made else "", made)


def in_percent(reason: str | None) -> str:
    """The reason of a payout in words: "6000/4000 of 10,000" → "buyer 60 %, vendor 40 %"; any other as it is."""
    match = _SHARES.fullmatch(reason or "")
    return f"buyer {percent(int(match[1]))} %, vendor {percent(int(match[2]))} %" if match else reason or ""


def percent(parts: int) -> str:
    """Parts of 10,000 in per cent, without needless zeros."""
    return f"{(Decimal(parts) / 100).normalize():f}"
