"""/admin/escrows: every escrow to search among, and the story of each."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from structlog.contextvars import bind_contextvars

from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.views import EscrowView, escrow_view
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.access import find_escrow
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.pages import ROOT
from monero_escrow.web.pages.answers import PageRoute, page
from monero_escrow.web.pages.escrow_list import PAGE_ROWS, Found, Search
from monero_escrow.web.pages.held_choices import CHOICES
from monero_escrow.web.pages.session import AnyViewer, OperatorViewer
from monero_escrow.web.pages.story import story_of

router = APIRouter(prefix=f"{ROOT}/escrows", include_in_schema=False, route_class=PageRoute)


@router.get("")
async def escrows(
    viewer: OperatorViewer, conductor: TheConductor, q: str = "", state: str = "", cursor: str = ""
) -> Response:
    """A page of the list, newest first."""
    search = Search.of(q, state, cursor)

    def read(tx: Transaction) -> Found:
        rows = tx.escrows.page(
            shop_id=None,
            states=search.states,
            before=search.before,
            limit=PAGE_ROWS + 1,
            beginning=search.beginning,
        )
        return Found.of(search, rows)

    found = await conductor.ctx.store.read(read) if search.can_find else Found.of(search, ())
    return page("escrows.html", viewer, found=found, states=list(State), now=conductor.ctx.clock.now())


@router.get("/{escrow_id}")
async def escrow(escrow_id: str, viewer: AnyViewer, conductor: TheConductor) -> Response:
    """One escrow: where it stands, what came, what is paid, and all that happened. An arbiter sees disputed ones."""

    def read(tx: Transaction) -> EscrowView:
        find_escrow(tx, escrow_id, viewer.scope, None)
        return escrow_view(tx, escrow_id)

    view = await conductor.ctx.store.read(read)
    bind_contextvars(escrow_id=view.escrow.id)
    return page("escrow.html", viewer, story=story_of(view, conductor.ctx.clock.now()), held_choices=CHOICES)
