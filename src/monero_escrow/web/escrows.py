"""GET /api/escrows and GET /api/escrows/{escrow_id}: what there is to see. Pages go from newest to oldest."""

from __future__ import annotations

import base64
import re
from typing import Annotated

from fastapi import APIRouter, Query
from structlog.contextvars import bind_contextvars

from monero_escrow.core.errors import InvalidInputError
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.views import EscrowView, escrow_view
from monero_escrow.escrows.watch_deposits import deposits_of
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.access import find_escrow, visible_states
from monero_escrow.web.auth import AnyCaller
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.render import escrow_answer, escrow_summary
from monero_escrow.web.schemas import Escrow, EscrowPage

router = APIRouter(tags=["escrows"])

_CURSOR = re.compile(r"([0-9]{1,12}\.[0-9]{1,20}) ([0-9a-f]{24})")
_LONGEST_CURSOR = 120


class InvalidCursorError(InvalidInputError):
    """The cursor is none that this service gave."""

    code = "invalid_cursor"
    what_to_do = "Start without a cursor, then send each answer's next_cursor as it is."


class UnknownStateError(InvalidInputError):
    """The filter names a state that no escrow has."""

    code = "unknown_state"
    what_to_do = f"Name one or more of these, separated by commas: {', '.join(State)}."


@router.get(
    "/api/escrows",
    summary="List escrows",
    response_model=EscrowPage,
    responses=problem_answers(401, 422, 503),
)
async def list_escrows(
    caller: AnyCaller,
    conductor: TheConductor,
    state: Annotated[
        str | None, Query(description="Only these states, comma-separated.", examples=["funded,short"])
    ] = None,
    cursor: Annotated[str | None, Query(description="The `next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> EscrowPage:
    """A shop's own escrows, the arbiter's open disputes, or for the operator all, newest first."""
    states = visible_states(caller.scope)
    if state is not None:
        states &= parse_states(state)
    before = None if cursor is None else parse_cursor(cursor)

    def page(tx: Transaction) -> list[EscrowView]:
        found = tx.escrows.page(shop_id=caller.shop_id, states=states, before=before, limit=limit + 1)
        return [_row(tx, escrow) for escrow in found]

    views = await conductor.ctx.store.read(page)
    more, views = len(views) > limit, views[:limit]
    return EscrowPage(
        escrows=[escrow_summary(view) for view in views], next_cursor=cursor_after(views[-1].escrow) if more else None
    )


@router.get(
    "/api/escrows/{escrow_id}",
    summary="Read an escrow",
    response_model=Escrow,
    responses=problem_answers(401, 404, 503),
)
async def read_escrow(escrow_id: str, caller: AnyCaller, conductor: TheConductor) -> Escrow:
    """State, deposits, payouts, history, whom or what it waits for, and what the caller may do now."""

    def read(tx: Transaction) -> Escrow:
        find_escrow(tx, escrow_id, caller.scope, caller.shop_id)
        return escrow_answer(escrow_view(tx, escrow_id), caller.scope)

    found = await conductor.ctx.store.read(read)
    bind_contextvars(escrow_id=found.escrow_id)
    return found


def _row(tx: Transaction, escrow: EscrowRecord) -> EscrowView:
    """As much of an escrow as a list shows."""
    outputs, payouts = tuple(tx.outputs.of(escrow.id)), tuple(tx.payouts.of(escrow.id))
    return EscrowView(escrow, deposits_of(tx, escrow), outputs, payouts, history=(), steps=())


def parse_states(text: str) -> frozenset[State]:
    """The states a filter names. Raises UnknownStateError."""
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= set(State):
        raise UnknownStateError("The filter `state` names a state that there is not.")
    return frozenset(State(name) for name in names)


def cursor_after(last: EscrowRecord) -> str:
    """Opaque to callers: where the page ended."""
    return base64.urlsafe_b64encode(f"{last.created_at!r} {last.id}".encode()).decode().rstrip("=")


def parse_cursor(text: str) -> tuple[float, str]:
    """Where the page before ended. Raises InvalidCursorError for what `cursor_after` did not make."""
    match = None if len(text) > _LONGEST_CURSOR else _CURSOR.fullmatch(_decoded(text))
    if match is None:
        raise InvalidCursorError("The cursor is none that this service gave.")
    return float(match[1]), match[2]


def _decoded(cursor: str) -> str:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except ValueError:  # no base64, or no ASCII before or after
        return ""
