"""Who may do what when: the table of endpoint × scope × state, derived from the life cycle, and what a caller may see.

`docs/endpoints.md` prints `endpoint_table_markdown()`, the routers take paths and visibility from here, a test walks
every cell against the real application. A shop sees its own escrows, the arbiter those that are or were in dispute,
the operator all; what a caller may not see does not exist for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.errors import NotFoundError
from monero_escrow.core.life_cycle import CLOSED_STATES, TRANSITIONS, Caller, Event, State, Transition
from monero_escrow.core.payout_states import DONE
from monero_escrow.escrows.views import EscrowView
from monero_escrow.store.records import EscrowRecord, Scope
from monero_escrow.store.transaction import Transaction

_SCOPE_OF: Final = {Caller.SHOP: Scope.SHOP, Caller.ARBITER: Scope.ARBITER}

ROWS: Final = {(row.state, row.event): row for row in TRANSITIONS if row.caller in _SCOPE_OF}
"""The rows of the life cycle that a caller of the API can cause."""

ACTIONS: Final = tuple(event for event in Event if any(event is row.event for row in ROWS.values()))
"""The events that callers cause: each is one endpoint, `POST /api/escrows/{escrow_id}/` and `path_of(event)`."""


def path_of(event: Event) -> str:
    """The last part of an action's path, which is also its name in `actions`: "accept-short"."""
    return event.value.replace("_", "-")


def scopes_of(event: Event) -> frozenset[Scope]:
    """Whose keys may call the action at all."""
    return frozenset(_SCOPE_OF[row.caller] for row in ROWS.values() if row.event is event)


def _reachable_from(state: State) -> frozenset[State]:
    found = {state}
    rows = [row for row in TRANSITIONS if row.event is not Event.PAYOUT_CALLED_OFF]  # never that of a ruling
    while more := {row.next_state for row in rows if row.state in found} - found:
        found |= more
    return frozenset(found)


AFTER_DISPUTE: Final = _reachable_from(State.DISPUTED)
"""The states in which an escrow can be that is or was in dispute: what the arbiter may see."""


def status_for(event: Event | None, scope: Scope, state: State, *, disputed: bool) -> int:
    """What the endpoint of an action (None: reading the escrow) answers to a well-formed request.

    `disputed` says whether the escrow is or was in dispute. 200 is an action that this state allows; whether the
    transition's `when` holds too shows when it is tried (409 if not).
    """
    if event is not None and scope not in scopes_of(event):
        return 403
    if scope is Scope.ARBITER and not disputed:
        return 404
    return 200 if event is None or (state, event) in ROWS else 409


def find_escrow(tx: Transaction, escrow_id: str, scope: Scope, shop_id: str | None) -> EscrowRecord:
    """The escrow, if this caller may see it. Raises NotFoundError, the same as for one that does not exist."""
    escrow = tx.escrows.get(escrow_id)
    match scope:
        case Scope.OPERATOR:
            visible = True
        case Scope.SHOP:
            visible = escrow.shop_id == shop_id
        case Scope.ARBITER:
            visible = escrow.state is State.DISPUTED or _was_disputed(tx, escrow)
    if not visible:
        raise NotFoundError("There is no such escrow.")
    return escrow


def visible_states(scope: Scope) -> frozenset[State]:
    """The states of the escrows in this caller's list. The arbiter's is a list of work: disputes without a ruling."""
    return frozenset({State.DISPUTED}) if scope is Scope.ARBITER else frozenset(State)


def actions_now(view: EscrowView, scope: Scope) -> list[str]:
    """What the caller may do with the escrow now, as `path_of` names it."""
    state = view.escrow.state
    allowed = (ROWS.get((state, event)) for event in ACTIONS if scope in scopes_of(event))
    return [path_of(row.event) for row in allowed if row is not None and _holds(row, view)]


def _was_disputed(tx: Transaction, escrow: EscrowRecord) -> bool:
    return any(entry.to_state == State.DISPUTED for entry in tx.audit.of(escrow.id))


def _holds(row: Transition, view: EscrowView) -> bool:
    """Whether the row's `when` holds, as far as the database can tell: a network fee may still forbid a payout."""
    undecided = view.deposits
    match row.event:
        case Event.ACCEPT_SHORT:
            return undecided.counted_piconero > 0 and undecided.pending_piconero == 0
        case Event.RELEASE if row.state is State.FUNDED:
            return undecided.complete or undecided.pending_piconero == 0
        case Event.RULING:
            return undecided.complete or undecided.pending_piconero == 0
        case Event.CANCEL:
            return undecided.counted_piconero == undecided.pending_piconero == 0
        case Event.RELEASE | Event.REFUND if row.state in CLOSED_STATES:
            done = all(payout.state in DONE for payout in view.payouts)
            spendable = (OutputStatus.COUNTED, OutputStatus.RETURNABLE)
            return done and any(output.payout_id is None and output.status in spendable for output in view.outputs)
        case Event.REFUND if row.state is not State.FUNDED:
            return undecided.counted_piconero > 0 and undecided.pending_piconero == 0
        case _:
            return True


# --- the table, for people -------------------------------------------------------------------------------------------


def endpoint_table_markdown() -> str:
    """The table of the docs: endpoint and scope down, state across, the answer's status in the cells, and its notes."""
    lines = [
        "| endpoint | scope | " + " | ".join(f"`{state}`" for state in State) + " |",
        "|---|---|" + "---|" * len(State),
        *_table_rows(),
        "",
        "200: done, and recorded in the same transaction. 409: the state does not allow it, and nothing was changed. "
        "404: there is no such escrow, or it is not the caller's to see. A scope an action does not list gets 403, "
        "a request without a valid key 401.",
        "",
        "`200*` depends on more than the state. It is refused, with 409 or 422, when this does not hold:",
        "",
        *(f"- {path_of(row.event)} in `{row.state}`: {row.when}" for row in ROWS.values() if row.when),
        "",
        "`200°` is a 404 for an escrow that never was in dispute, as is `409°`.",
    ]
    return "\n".join(lines) + "\n"


def _table_rows() -> Iterator[str]:
    for event in (None, *ACTIONS):
        where = (
            "`GET /api/escrows/{escrow_id}`" if event is None else f"`POST /api/escrows/{{escrow_id}}/{path_of(event)}`"
        )
        for scope in Scope:
            if event is None or scope in scopes_of(event):
                cells = " | ".join(_cell(event, scope, state) for state in State)
                yield f"| {where} | {scope} | {cells} |"


def _cell(event: Event | None, scope: Scope, state: State) -> str:
    disputed = state in AFTER_DISPUTE
    status = status_for(event, scope, state, disputed=disputed)
    row = None if event is None else ROWS.get((state, event))
    depends = "*" if status == 200 and row is not None and row.when else ""
    maybe_hidden = "°" if scope is Scope.ARBITER and disputed and state is not State.DISPUTED else ""
    return f"{status}{depends}{maybe_hidden}"
