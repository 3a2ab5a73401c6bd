"""/admin/disputes: what the parties say, a split, the payout it would be, and the ruling, confirmed twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response
from structlog.contextvars import bind_contextvars

from monero_escrow.core.errors import ConflictError, EscrowError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import SHARES_TOTAL
from monero_escrow.escrows import decide
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.views import EscrowView, escrow_view
from monero_escrow.store.records import EscrowRecord, EvidenceRecord
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.access import find_escrow
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.pages import ROOT, desk
from monero_escrow.web.pages.answers import PageRoute, go_to, page
from monero_escrow.web.pages.desk import RulingChangedError, Split
from monero_escrow.web.pages.session import AnyViewer, ArbiterViewer, TheForm, Viewer
from monero_escrow.web.problems import problem_of

router = APIRouter(prefix=f"{ROOT}/disputes", include_in_schema=False, route_class=PageRoute)

_MOST_LISTED = 200
_HALF = "50"


@dataclass(frozen=True, slots=True)
class Dispute:
    """What lies on the desk."""

    view: EscrowView
    evidence: tuple[EvidenceRecord, ...]
    split: Split

    @property
    def reason(self) -> str:
        """Why the arbiter was asked, the last time."""
        reasons = [entry.detail.get("reason") for entry in self.view.history if entry.to_state == State.DISPUTED]
        return str(reasons[-1] or "") if reasons else ""

    @property
    def open(self) -> bool:
        """Whether it is to be ruled still."""
        return self.view.escrow.state is State.DISPUTED


@router.get("")
async def disputes(viewer: AnyViewer, conductor: TheConductor) -> Response:
    """Everything that waits for a ruling, the newest first."""

    def read(tx: Transaction) -> list[EscrowRecord]:
        only = frozenset({State.DISPUTED})
        return tx.escrows.page(shop_id=None, states=only, before=None, limit=_MOST_LISTED)

    rows = await conductor.ctx.store.read(read)
    return page("disputes.html", viewer, rows=rows, most=_MOST_LISTED)


@router.get("/{escrow_id}")
async def dispute(
    escrow_id: str,
    viewer: AnyViewer,
    conductor: TheConductor,
    buyer: str = _HALF,
    slider: str = _HALF,
    moved: Annotated[str, Header(alias="HX-Trigger-Name")] = "",
) -> Response:
    """One dispute, and the payout of the split that is thought of: changes nothing."""
    share = desk.parse_percent(slider if moved == "slider" else buyer)
    found = await _dispute(conductor.ctx, viewer, escrow_id, share)
    return page("dispute.html", viewer, dispute=found)


@router.get("/{escrow_id}/confirm")
async def confirm(escrow_id: str, viewer: ArbiterViewer, conductor: TheConductor, buyer: str, shown: str) -> Response:
    """The payout once more, for the second yes. Raises RulingChangedError."""
    found = await _dispute(conductor.ctx, viewer, escrow_id, desk.parse_percent(buyer))
    if found.split.refused:
        raise ConflictError(found.split.refused)
    if found.split.fingerprint != shown:
        raise RulingChangedError("The payout is not any more what you were shown: deposits have come or gone.")
    return page("confirm_ruling.html", viewer, dispute=found)


@router.post("/{escrow_id}/rule")
async def rule(escrow_id: str, viewer: ArbiterViewer, conductor: TheConductor, form: TheForm) -> Response:
    """The ruling, by the same use case as the API's. Raises RulingChangedError, and WrongStateError for the second of
    two who rule at once."""
    ctx, share, shown = conductor.ctx, desk.parse_percent(form.text("buyer")), form.text("shown")
    bind_contextvars(escrow_id=escrow_id)
    rate = await ctx.fee_rate()
    decision = await decide.ruling(ctx, escrow_id, viewer.actor, share, SHARES_TOTAL - share)

    def act(tx: Transaction) -> None:
        find_escrow(tx, escrow_id, viewer.scope, None)
        _, plans = decide.plans_of_ruling(tx, escrow_id, rate, share, SHARES_TOTAL - share)
        if desk.fingerprint(plans) != shown:
            raise RulingChangedError("The payout is not any more what you were shown: deposits have come or gone.")
        decision(tx)

    await ctx.store.write(act)
    conductor.nudge(escrow_id)
    return go_to(f"{ROOT}/escrows/{escrow_id}")


@router.post("/{escrow_id}/dismiss")
async def dismiss(escrow_id: str, viewer: ArbiterViewer, conductor: TheConductor, form: TheForm) -> Response:
    """No ruling is needed: the shop decides again."""
    ctx = conductor.ctx
    decision = decide.dismiss(ctx, escrow_id, viewer.actor, form.text("reason"))

    def act(tx: Transaction) -> None:
        find_escrow(tx, escrow_id, viewer.scope, None)
        decision(tx)

    await ctx.store.write(act)
    conductor.nudge(escrow_id)
    return go_to(f"{ROOT}/escrows/{escrow_id}")


async def _dispute(ctx: Context, viewer: Viewer, escrow_id: str, share: int) -> Dispute:
    """The desk for this split; why it cannot be ruled so, if it cannot, is a part of it."""

    def read(tx: Transaction) -> tuple[EscrowView, tuple[EvidenceRecord, ...]]:
        find_escrow(tx, escrow_id, viewer.scope, None)
        return escrow_view(tx, escrow_id), tuple(tx.evidence.of(escrow_id))

    view, evidence = await ctx.store.read(read)
    bind_contextvars(escrow_id=escrow_id)
    try:
        rate = await ctx.fee_rate()
        _, plans = await ctx.store.read(
            lambda tx: decide.plans_of_ruling(tx, escrow_id, rate, share, SHARES_TOTAL - share)
        )
        split = desk.preview(view.escrow.terms, share, plans, rate)
    except EscrowError as error:
        problem = problem_of(error)
        split = Split(share, refused=f"{problem.detail} {problem.what_to_do}")
    return Dispute(view, evidence, split)
