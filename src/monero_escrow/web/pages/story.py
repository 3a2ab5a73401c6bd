"""An escrow's story: what happened when, how long each step took, what it waits for, and who can do what. Pure.

The audit trail says what was done and by whom, the journal which steps the service took; together they are one line of
time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.core.money import format_xmr
from monero_escrow.core.words import lasting
from monero_escrow.escrows.views import EscrowView, Round, has_moved, planned_payments, rounds_of
from monero_escrow.store.records import AuditRecord, PayoutState, Scope
from monero_escrow.web.access import actions_now
from monero_escrow.web.pages.desk import Payee, payees_of
from monero_escrow.web.pages.held_choices import CHOICES
from monero_escrow.web.pages.meanings import Deed, in_words, remaining
from monero_escrow.web.pages.words import sentence

_ORDINARY: Final = (
    State.SETTING_UP, State.AWAITING_DEPOSIT, State.FUNDED, State.PAYING_OUT, State.SETTLED,
)  # fmt: skip
_HELD_ACTIONS: Final = tuple(Deed(choice.name) for choice in CHOICES)


@dataclass(frozen=True, slots=True)
class Moment:
    """One entry of the timeline: `grade` is moved, note, good, bad or open (nobody knows yet whether it happened)."""

    at: float
    what: str
    who: str
    grade: str
    took: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody can do now."""

    who: str
    actions: tuple[Deed, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """An escrow as its page tells it. `since_seconds` is how long it has been in its state."""

    view: EscrowView
    since_seconds: float
    moments: tuple[Moment, ...]
    choices: tuple[Choice, ...]
    stages: tuple[tuple[State, str], ...]
    payments: Mapping[str, tuple[Payee, ...]]

    @property
    def closed(self) -> bool:
        """Whether nothing is expected any more."""
        return self.view.escrow.state in CLOSED_STATES


def story_of(view: EscrowView, now: float) -> Story:
    """Everything the page of an escrow shows."""
    steps = (_step(one, now) for one in rounds_of(view.steps))
    moments = sorted((*map(_happened, view.history), *steps), key=lambda moment: moment.at)
    return Story(
        view=view,
        since_seconds=max(0.0, now - view.since),
        moments=tuple(reversed(moments)),
        choices=tuple(_choices(view)),
        stages=tuple(_stages(view)),
        payments={payout.id: payees_of(view.escrow.terms, planned_payments(payout)) for payout in view.payouts},
    )


def _happened(entry: AuditRecord) -> Moment:
    """A row of the audit trail."""
    moved = "moved" if has_moved(entry) else "note"
    grade = "bad" if entry.action in ("payout_held", "deposit_vanished") else moved
    return Moment(entry.at, what_was_done(entry), entry.actor, grade, detail=what_else_is_told(entry))


def what_was_done(entry: AuditRecord) -> str:
    """What was done, and where it led if it led anywhere: "Deposit complete → funded"."""
    what, state = in_words(entry.action, entry.detail) or sentence(entry.action), sentence(str(entry.to_state)).lower()
    return what + (f" → {state}" if has_moved(entry) and state not in what.lower() else "")


def what_else_is_told(entry: AuditRecord) -> str:
    """What the row says beside what the words for it say already."""
    return told(remaining(entry.action, entry.detail))


def told(detail: Mapping[str, Any]) -> str:
    """What an audit row says besides, amounts in XMR."""
    return "; ".join(
        f"{value} characters" if name == "characters" else f"{_name(name)} {_value(name, value)}"
        for name, value in detail.items()
    )


def _name(name: str) -> str:
    return sentence(name.removesuffix("_piconero"))


def _value(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{sentence(str(who)).lower()} {_value(name, part)}" for who, part in value.items())
    if (name.endswith("_piconero") or name == "shares") and str(value).isdecimal():
        return f"{format_xmr(int(value))} XMR"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _step(one: Round, now: float) -> Moment:
    """A round of the journal."""
    who, what = ", ".join(one.roles) or "service", sentence(one.name)
    places = "; ".join(str(step["slot"]) for step in one.steps if step["slot"])
    if one.seconds is None:
        detail = f"{places}. No result is recorded: it runs, or the service finds out whether it happened."
        return Moment(one.at, what, who, "open", f"for {lasting(now - one.at)}", detail.removeprefix(". "))
    grade = "bad" if one.troubles else "good"
    return Moment(one.at, what, who, grade, lasting(one.seconds), " ".join(one.troubles) or places)


def _choices(view: EscrowView) -> Iterator[Choice]:
    """Who can do what now, by the life cycle; endpoints are named as the API names them."""
    for scope in (Scope.SHOP, Scope.ARBITER):
        actions = tuple(map(Deed, actions_now(view, scope)))
        if actions:
            yield Choice(f"The {scope}", actions)
    if any(payout.state is PayoutState.HELD for payout in view.payouts):
        yield Choice("The operator, about the held payout,", _HELD_ACTIONS)


def _stages(view: EscrowView) -> Iterator[tuple[State, str]]:
    """The way from order to payout, each stage done, here, or to come; a state beside the way is named where it is."""
    state = view.escrow.state
    been = {entry.to_state for entry in view.history} | {state}
    way = [*_ORDINARY]
    if state not in way or State.DISPUTED in been:
        beside = State.DISPUTED if State.DISPUTED in been and state in way else state
        way.insert(way.index(State.FUNDED) + (beside is State.DISPUTED), beside)
    here = way.index(state)
    for number, stage in enumerate(way):
        yield stage, "here" if number == here else "done" if number < here and stage in been else "to-come"
