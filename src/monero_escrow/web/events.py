"""GET /api/events: the outbox, for shops that poll."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query

from monero_escrow.web.auth import ShopOrOperator
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.render import outbox_event
from monero_escrow.web.schemas import EventPage

router = APIRouter(tags=["events"])

_LARGEST_ID: Final = 2**63 - 1


@router.get(
    "/api/events", summary="Read events", response_model=EventPage, responses=problem_answers(401, 403, 422, 503)
)
async def list_events(
    caller: ShopOrOperator,
    conductor: TheConductor,
    after: Annotated[int, Query(ge=0, le=_LARGEST_ID, description="The `next_after` of the answer before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> EventPage:
    """What happened since, in order: a shop's own, or for the operator all. Each was written with the change itself."""
    events = await conductor.ctx.store.read(lambda tx: tx.outbox.after(caller.shop_id, after, limit))
    return EventPage(events=[outbox_event(event) for event in events], next_after=events[-1].id if events else after)
