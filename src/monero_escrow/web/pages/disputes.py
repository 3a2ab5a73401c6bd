"""/admin/disputes: what the parties say, a split, the payout it would be, and the ruling, confirmed twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response
from structlog.contextvars import bind_contextvars

from monero_escrow.core.deposits import assess
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import SHARES_TOTAL, Plan
from monero_escrow.escrows import decide
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.views import EscrowView, escrow_view
from monero_escrow.store.records import EscrowRecord, EvidenceRecord, RulingRecord
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.access import find_escrow
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.pages import ROOT, desk
from monero_escrow.web.pages.answers import PageRoute, go_to, page
from monero_escrow.web.pages.desk import Reading, Split, TypedShare
from monero_escrow.web.pages.outcome import Outcome, outcome_of
from monero_escrow.web.pages.session import AnyViewer, ArbiterViewer, TheForm, Viewer
from monero_escrow.web.problems import problem_of

router = APIRouter(prefix=f"{ROOT}/disputes", include_in_schema=False, route_class=PageRoute)

_MOST_LISTED = 200
_LAST_RULINGS = 20
_HALF = "50"


@dataclass(frozen=True, slots=True)
class Dispute:
    """What lies on the desk. There is no split while what was typed is no share."""

    view: EscrowView
    evidence: tuple[EvidenceRecord, ...]
    typed: TypedShare
    split: Split | None

    @property
    def reason(self) -> str:
        """Why the arbiter was asked, the last time."""
        reasons = [entry.detail.get("reason") for entry in self.view.history if entry.to_state == State.DISPUTED]
        return str(reasons[-1] or "") if reasons else ""

    @property
    def seen(self) -> str:
        """What the forms hold of it."""
        return Reading.of(self.view.history, self.evidence).seen

    @property
    def outcome(self) -> Outcome | None:
        """How it ended."""
        return outcome_of(self.view)

    @property
    def came_piconero(self) -> int:
        """All that ever came and counts, decided about or not: what was paid out is not missing."""
        came = ((output.status, output.amount_piconero) for output in self.view.outputs)
        return assess(self.view.escrow.terms.amount_piconero, came).counted_piconero

    @property
    def open(self) -> bool:
        """Whether it is to be ruled still."""
        return self.view.escrow.state is State.DISPUTED


@router.get("")
async def disputes(
    viewer: AnyViewer, conductor: TheConductor, by_htmx: Annotated[str, Header(alias="HX-Request")] = ""
) -> Response:
    """Everything that waits for a ruling, the newest first; and the last rulings, which the page's own poll leaves."""

    def read(tx: Transaction) -> tuple[list[EscrowRecord], list[RulingRecord]]:
        only = frozenset({State.DISPUTED})
        waiting = tx.escrows.page(shop_id=None, states=only, before=None, limit=_MOST_LISTED)
        return waiting, [] if by_htmx else tx.payouts.rulings(_LAST_RULINGS)

    rows, rulings = await conductor.ctx.store.read(read)
    return page("disputes.html", viewer, rows=rows, most=_MOST_LISTED, rulings=rulings)


@router.get("/{escrow_id}")
async def dispute(
    escrow_id: str,
    viewer: AnyViewer,
    conductor: TheConductor,
    buyer: str = _HALF,
    slider: str = _HALF,
    by_htmx: Annotated[str, Header(alias="HX-Request")] = "",
    moved: Annotated[str, Header(alias="HX-Trigger-Name")] = "",
) -> Response:
    """One dispute, and the payout of the split that is thought of: changes nothing."""
    typed = TypedShare.of(slider if moved == "slider" else buyer)
    found = await _dispute(conductor.ctx, viewer, escrow_id, typed)
    wrong = typed.trouble and not by_htmx  # which puts no error's answer into a page
    return page("dispute.html", viewer, status=422 if wrong else 200, dispute=found)


@router.get("/{escrow_id}/confirm")
async def confirm(
    escrow_id: str, viewer: ArbiterViewer, conductor: TheConductor, buyer: str = "", seen: str = ""
) -> Response:
    """The payout of what stands in the field, for the second yes; or the desk again, with why it cannot be.

    Raises DisputeChangedError: the desk may have been open for long.
    """
    found = await _dispute(conductor.ctx, viewer, escrow_id, TypedShare.of(buyer))
    if found.split is None:
        return page("dispute.html", viewer, status=422, dispute=found)
    Reading.of(found.view.history, found.evidence).require(seen)
    if found.split.refused:
        return page("dispute.html", viewer, status=409, dispute=found)
    return page("confirm_ruling.html", viewer, dispute=found)


@router.post("/{escrow_id}/rule")
async def rule(escrow_id: str, viewer: ArbiterViewer, conductor: TheConductor, form: TheForm) -> Response:
    """The ruling, by the same use case as the API's.

    Raises RulingChangedError, DisputeChangedError, and WrongStateError for the second of two who rule at once.
    """
    ctx, share = conductor.ctx, desk.parse_percent(form.text("buyer"))
    shown, seen = form.text("shown"), form.text("seen")
    bind_contextvars(escrow_id=escrow_id)

    def check(plans: Sequence[Plan]) -> None:
        desk.require_shown(plans, shown)

    shares, reason = (share, SHARES_TOTAL - share), form.text("reason")
    decision = await decide.ruling(ctx, escrow_id, viewer.actor, *shares, reason=reason, check=check)

    def act(tx: Transaction) -> None:
        _require_seen(tx, viewer, escrow_id, seen)
        decision(tx)

    await ctx.store.write(act)
    conductor.nudge(escrow_id)
    return go_to(f"{ROOT}/escrows/{escrow_id}")


@router.post("/{escrow_id}/dismiss")
async def dismiss(escrow_id: str, viewer: ArbiterViewer, conductor: TheConductor, form: TheForm) -> Response:
    """No ruling is needed: the shop decides again. Raises DisputeChangedError."""
    ctx, seen = conductor.ctx, form.text("seen")
    decision = decide.dismiss(ctx, escrow_id, viewer.actor, form.text("reason"))

    def act(tx: Transaction) -> None:
        _require_seen(tx, viewer, escrow_id, seen)
        decision(tx)

    await ctx.store.write(act)
    conductor.nudge(escrow_id)
    return go_to(f"{ROOT}/escrows/{escrow_id}")


def _require_seen(tx: Transaction, viewer: Viewer, escrow_id: str, seen: str) -> None:
    """Raise DisputeChangedError unless the dispute is as it was seen; from here on nobody else changes it."""
    find_escrow(tx, escrow_id, viewer.scope, None)  # first: it locks
    Reading.of(tx.audit.of(escrow_id), tx.evidence.of(escrow_id)).require(seen)


async def _dispute(ctx: Context, viewer: Viewer, escrow_id: str, typed: TypedShare) -> Dispute:
    """The desk for this split; why it cannot be ruled so, if it cannot, is a part of it."""

    def read(tx: Transaction) -> tuple[EscrowView, tuple[EvidenceRecord, ...]]:
        find_escrow(tx, escrow_id, viewer.scope, None)
        return escrow_view(tx, escrow_id), tuple(tx.evidence.of(escrow_id))

    view, evidence = await ctx.store.read(read)
    bind_contextvars(escrow_id=escrow_id)
    split = None if typed.parts is None else await _split(ctx, view, typed.parts)
    return Dispute(view, evidence, typed, split)


async def _split(ctx: Context, view: EscrowView, share: int) -> Split:
    """What a ruling of this share would pay at the present fee, or why it cannot be made."""
    escrow_id = view.escrow.id
    try:
        rate = await ctx.fee_rate()
        _, plans = await ctx.store.read(
            lambda tx: decide.plans_of_ruling(tx, escrow_id, rate, share, SHARES_TOTAL - share)
        )
        return desk.preview(view.escrow.terms, share, plans, rate)
    except EscrowError as error:
        problem = problem_of(error)
        return Split(share, refused=f"{problem.detail} {problem.what_to_do}")
