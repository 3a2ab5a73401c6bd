"""/admin/audit: the audit trail to look through, and its verification. For operators; changes nothing."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from monero_escrow.store.audit_actions import ACTIONS
from monero_escrow.store.audit_browse import Looked, look_through
from monero_escrow.store.audit_check import Verified
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.pages.answers import PageRoute, go_to, page
from monero_escrow.web.pages.audit_list import PAGE_ROWS, PATH, AuditSearch, Trail
from monero_escrow.web.pages.audit_run import TrailVerification
from monero_escrow.web.pages.audit_verdict import WHAT_TO_DO, verdict_of
from monero_escrow.web.pages.session import OperatorViewer, TheForm

router = APIRouter(prefix=PATH, include_in_schema=False, route_class=PageRoute)


@router.get("")
async def audit(
    request: Request,
    viewer: OperatorViewer,
    conductor: TheConductor,
    escrow: str = "",
    actor: str = "",
    action: str = "",
    since: str = "",
    until: str = "",
    cursor: str = "",
    verify: str = "",
    did: str = "",
    people: str = "",
) -> Response:
    """A page of the trail, newest first. With `verify`, also what is wrong with the one escrow that it is about."""
    search = AuditSearch.of(escrow, actor, action, since, until, cursor, did, people)

    def look(tx: Transaction) -> Looked:
        return look_through(tx.connection, search.wanted, search.before, PAGE_ROWS)

    looked = await conductor.ctx.store.read(look) if search.can_find else Looked()
    verdict = None
    if verify and looked.escrow_id is not None:
        # Every checkpoint there ever was is looked at: not among the reads that others wait for.
        judged = await conductor.ctx.store.read_long(partial(_verified, escrow_id=looked.escrow_id))
        verdict = verdict_of(judged, one_escrow=True)
    return page(
        "audit.html", viewer, trail=Trail(search, looked), verdict=verdict, run=_run_of(request),
        what_to_do=WHAT_TO_DO, actions=ACTIONS, now=conductor.ctx.clock.now(),
    )  # fmt: skip


@router.get("/verification")
async def verification(request: Request, viewer: OperatorViewer, conductor: TheConductor) -> Response:
    """How far the verification of the whole trail is, or what the last one found."""
    now = conductor.ctx.clock.now()
    return page("parts/verification.html", viewer, run=_run_of(request), what_to_do=WHAT_TO_DO, now=now)


@router.post("/verify")
async def begin(request: Request, viewer: OperatorViewer, _: TheForm) -> Response:
    """Verify the whole trail; whoever asks while that is under way waits for the same answer."""
    _run_of(request).begin(viewer.actor)
    return go_to(PATH)


def _verified(tx: Transaction, *, escrow_id: str) -> Verified:
    return verify(tx, escrow_id=escrow_id)


def _run_of(request: Request) -> TrailVerification:
    run: TrailVerification = request.app.state.trail_verification
    return run
