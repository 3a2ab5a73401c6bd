"""What happened to an escrow, and what can be done about it, in plain words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from monero_escrow.core.life_cycle import Event
from monero_escrow.web.pages.held_choices import CHOICES

EVENTS: Final[Mapping[str, str]] = {
    Event.ADDRESS_READY: "The deposit address is ready",
    Event.DEPOSIT_COMPLETE: "The deposit is complete",
    Event.DEADLINE_PASSED_SHORT: "The deadline passed, and too little had come",
    Event.DEADLINE_PASSED_EMPTY: "The deadline passed, and nothing had come",
    Event.ACCEPT_SHORT: "The shop took what had come for the whole",
    Event.EXTEND: "The shop gave the buyer more time",
    Event.CANCEL: "The shop called the order off",
    Event.RELEASE: "The shop released the coins to the vendor",
    Event.REFUND: "The shop refunded the buyer",
    Event.DISPUTE: "The shop asked the arbiter",
    Event.RULING: "The arbiter ruled",
    Event.DISMISS: "The arbiter dismissed the dispute",
    Event.DEPOSIT_FELL_OUT: "The deposit fell out of the chain",
    Event.PAYOUT_SETTLED: "The payout is settled",
    Event.PAYOUT_FELL_OUT: "The payout fell out of the chain",
    Event.PAYOUT_CALLED_OFF: "The payout was called off",
    Event.RULING_CALLED_OFF: "The payout of the ruling was called off",
    Event.PAYOUT_WRITTEN_OFF: "The payout was written off",
    Event.LATE_COINS_REFUNDED: "Coins that came late go back to the buyer",
}
"""What each event of the life cycle is to a person; its state stands beside it where the words do not say it."""

_OTHERS: Final[Mapping[str, str]] = {
    "init_escrow": "The shop opened the escrow",
    "evidence": "The {party} said something, for the arbiter to read",
}

ACTIONS_NOW: Final[Mapping[str, tuple[str, str]]] = {
    "release": ("Release", "pay the vendor"),
    "refund": ("Refund", "pay the buyer back"),
    "dispute": ("Ask the arbiter", "from then on only the arbiter decides"),
    "ruling": ("Rule", "split everything that came between buyer and vendor"),
    "dismiss": ("Dismiss", "no ruling is needed, and the shop decides again"),
    "accept-short": ("Accept less", "take what has come for the whole"),
    "extend": ("Give more time", "a later deadline for the deposit"),
    "cancel": ("Call the order off", "before anything has come"),
    **{choice.name: (choice.title, choice.does[:1].lower() + choice.does[1:].rstrip(".")) for choice in CHOICES},
}
"""Each thing to do, by the API's name of it: what it is called and what it means."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that can be done now."""

    name: str

    @property
    def title(self) -> str:
        """What it is called: "Rule"."""
        return ACTIONS_NOW[self.name][0]

    @property
    def means(self) -> str:
        """What happens then."""
        return ACTIONS_NOW[self.name][1]


def in_words(action: str, detail: Mapping[str, Any]) -> str | None:
    """What a row of the trail tells of; None if there are no better words than the action's name."""
    words = EVENTS.get(action) or _OTHERS.get(action)
    return None if words is None else words.replace("{party}", str(detail.get("party", "party")))


def remaining(action: str, detail: Mapping[str, Any]) -> Mapping[str, Any]:
    """What of a row's detail those words leave to be told."""
    return {name: value for name, value in detail.items() if (action, name) != ("evidence", "party")}
