"""The life of an escrow: one table, which is data.

    setting_up ──► awaiting_deposit ──► funded ──► paying_out ──► settled
         │           │    │   ▲           │  ▲          ▲
         ▼           │    ▼   │           ▼  │          │
     cancelled ◄─────┤  short ─┴────────────┼──────────►│
                     ▼                    disputed ────►│
                  expired

A reorganisation can take back what was not final: funded ──► awaiting_deposit, settled ──► paying_out.

`docs/life-cycle.md` (diagram, and who may do what when) is generated from `TRANSITIONS`; nothing else decides what is
allowed. Coins that arrive when an escrow no longer waits for them do not change its state: they are paid out by a
further payout of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from monero_escrow.core.errors import ConflictError


class State(StrEnum):
    """Where an escrow is. The values are stored: never rename one."""

    SETTING_UP = "setting_up"
    """Three wallets are being made into one 2-of-3 multisig. There is no address yet."""
    AWAITING_DEPOSIT = "awaiting_deposit"
    """The address has been handed out; the order's amount has not come, or not with enough confirmations."""
    SHORT = "short"
    """The deadline passed with less than the amount. The shop accepts what came, extends, or refunds."""
    FUNDED = "funded"
    """The amount (or what the shop accepted) is there. The shop releases or refunds, or a dispute is opened."""
    DISPUTED = "disputed"
    """Buyer and vendor disagree. The arbiter rules."""
    PAYING_OUT = "paying_out"
    """A decision is made and its payout is under way. Nothing can be decided any more."""
    SETTLED = "settled"
    """The payout is mined, deep enough; it is followed until it is final."""
    EXPIRED = "expired"
    """The deadline passed and nothing had come. The shop may extend."""
    CANCELLED = "cancelled"
    """The shop called the order off before anything had come."""


class Caller(StrEnum):
    """Who may cause an event. The service itself is one: it sees deposits, deadlines and mined payouts.

    An operator only acts on payouts that are held.
    """

    SHOP = "shop"
    ARBITER = "arbiter"
    OPERATOR = "operator"
    SERVICE = "service"


class Event(StrEnum):
    """What happens to an escrow. The values are stored and published: never rename one."""

    ADDRESS_READY = "address_ready"
    DEPOSIT_COMPLETE = "deposit_complete"
    DEADLINE_PASSED_SHORT = "deadline_passed_short"
    DEADLINE_PASSED_EMPTY = "deadline_passed_empty"
    ACCEPT_SHORT = "accept_short"
    EXTEND = "extend"
    CANCEL = "cancel"
    RELEASE = "release"
    REFUND = "refund"
    DISPUTE = "dispute"
    RULING = "ruling"
    DISMISS = "dismiss"
    DEPOSIT_FELL_OUT = "deposit_fell_out"
    PAYOUT_SETTLED = "payout_settled"
    PAYOUT_FELL_OUT = "payout_fell_out"
    PAYOUT_CALLED_OFF = "payout_called_off"
    RULING_CALLED_OFF = "ruling_called_off"
    PAYOUT_WRITTEN_OFF = "payout_written_off"
    LATE_COINS_REFUNDED = "late_coins_refunded"


@dataclass(frozen=True, slots=True)
class Transition:
    """In `state`, `caller` may cause `event`, which leads to `next_state`; `when` says what else must hold."""

    state: State
    event: Event
    caller: Caller
    next_state: State
    when: str = ""


_S, _E, _C = State, Event, Caller

TRANSITIONS: tuple[Transition, ...] = (
    Transition(_S.SETTING_UP, _E.ADDRESS_READY, _C.SERVICE, _S.AWAITING_DEPOSIT, "the gate passed three wallets"),
    Transition(_S.SETTING_UP, _E.CANCEL, _C.SHOP, _S.CANCELLED),
    Transition(_S.AWAITING_DEPOSIT, _E.DEPOSIT_COMPLETE, _C.SERVICE, _S.FUNDED, "counted deposits reach the amount"),
    Transition(_S.AWAITING_DEPOSIT, _E.DEADLINE_PASSED_SHORT, _C.SERVICE, _S.SHORT, "something came, but too little"),
    Transition(_S.AWAITING_DEPOSIT, _E.DEADLINE_PASSED_EMPTY, _C.SERVICE, _S.EXPIRED, "nothing came"),
    Transition(_S.AWAITING_DEPOSIT, _E.ACCEPT_SHORT, _C.SHOP, _S.FUNDED, "some deposit counts and none is pending"),
    Transition(_S.AWAITING_DEPOSIT, _E.EXTEND, _C.SHOP, _S.AWAITING_DEPOSIT, "the new deadline is later"),
    Transition(_S.AWAITING_DEPOSIT, _E.REFUND, _C.SHOP, _S.PAYING_OUT, "some deposit counts and none is pending"),
    Transition(_S.AWAITING_DEPOSIT, _E.CANCEL, _C.SHOP, _S.CANCELLED, "nothing came"),
    Transition(_S.SHORT, _E.ACCEPT_SHORT, _C.SHOP, _S.FUNDED, "some deposit counts and none is pending"),
    Transition(_S.SHORT, _E.EXTEND, _C.SHOP, _S.AWAITING_DEPOSIT, "the new deadline is later"),
    Transition(_S.SHORT, _E.REFUND, _C.SHOP, _S.PAYING_OUT, "some deposit counts and none is pending"),
    Transition(_S.FUNDED, _E.RELEASE, _C.SHOP, _S.PAYING_OUT, "the amount counts, or nothing more is pending"),
    Transition(_S.FUNDED, _E.REFUND, _C.SHOP, _S.PAYING_OUT),
    Transition(_S.FUNDED, _E.DISPUTE, _C.SHOP, _S.DISPUTED),
    Transition(
        _S.FUNDED,
        _E.DEPOSIT_FELL_OUT,
        _C.SERVICE,
        _S.AWAITING_DEPOSIT,
        "a reorganisation took it back before it was final",
    ),
    Transition(
        _S.DISPUTED,
        _E.RULING,
        _C.ARBITER,
        _S.PAYING_OUT,
        "the shares add up to 10,000; the amount counts, or nothing more is pending",
    ),
    Transition(_S.DISPUTED, _E.DISMISS, _C.ARBITER, _S.FUNDED),
    Transition(_S.PAYING_OUT, _E.PAYOUT_SETTLED, _C.SERVICE, _S.SETTLED, "its transaction is deep enough"),
    Transition(
        _S.PAYING_OUT, _E.PAYOUT_CALLED_OFF, _C.OPERATOR, _S.AWAITING_DEPOSIT, "it is held, and can never be mined"
    ),
    Transition(_S.PAYING_OUT, _E.RULING_CALLED_OFF, _C.OPERATOR, _S.DISPUTED, "it is held, and can never be mined"),
    Transition(
        _S.PAYING_OUT,
        _E.PAYOUT_WRITTEN_OFF,
        _C.OPERATOR,
        _S.SETTLED,
        "it is held, and its coins were spent by a transaction that is not ours",
    ),
    Transition(
        _S.SETTLED, _E.PAYOUT_FELL_OUT, _C.SERVICE, _S.PAYING_OUT, "a reorganisation took it back before it was final"
    ),
    Transition(_S.EXPIRED, _E.EXTEND, _C.SHOP, _S.AWAITING_DEPOSIT, "the new deadline is later"),
    *(
        Transition(closed, event, caller, closed, "coins came late and no payout is under way")
        for closed in (_S.SETTLED, _S.EXPIRED, _S.CANCELLED)
        for event, caller in (
            (_E.LATE_COINS_REFUNDED, _C.SERVICE),
            (_E.REFUND, _C.SHOP),
            (_E.RELEASE, _C.SHOP),
        )
    ),
)

CLOSED_STATES: frozenset[State] = frozenset({State.SETTLED, State.EXPIRED, State.CANCELLED})
"""Nothing is expected any more; the address is still watched for coins that come late."""

_BY_STATE_AND_EVENT = {(row.state, row.event): row for row in TRANSITIONS}


class WrongStateError(ConflictError):
    """The escrow's state does not allow the action; nothing was changed."""

    code = "wrong_state"


def transition(state: State, event: Event) -> Transition:
    """The row of the table for this event in this state.

    Raises WrongStateError, which names what is possible instead.
    """
    row = _BY_STATE_AND_EVENT.get((state, event))
    if row is None:
        possible = sorted(
            {
                row.event.value.replace("_", "-")
                for row in TRANSITIONS
                if row.state is state and row.caller in (_C.SHOP, _C.ARBITER)
            }
        )
        then = f"In this state one can: {', '.join(possible)}." if possible else "In this state one can only wait."
        raise WrongStateError(f"An escrow that is {state.value} does not take '{event.value}'.", what_to_do=then)
    return row


def callers_of(event: Event) -> frozenset[Caller]:
    """Everybody who may cause the event in some state."""
    return frozenset(row.caller for row in TRANSITIONS if row.event is event)


def waits_for(state: State) -> str:
    """Whom or what an escrow in this state waits for, as a sentence for people."""
    return _WAITS_FOR[state]


_WAITS_FOR = {
    State.SETTING_UP: "The service: three wallets are being set up.",
    State.AWAITING_DEPOSIT: "The buyer: the deposit has not come, or not with enough confirmations.",
    State.SHORT: "The shop: less than the amount came. Accept it, extend the deadline, or refund.",
    State.FUNDED: "The shop: release, refund, or open a dispute.",
    State.DISPUTED: "The arbiter: rule, or dismiss the dispute.",
    State.PAYING_OUT: "The service and the chain: the payout is under way.",
    State.SETTLED: "Nobody.",
    State.EXPIRED: "Nobody; the shop may extend the deadline.",
    State.CANCELLED: "Nobody.",
}
