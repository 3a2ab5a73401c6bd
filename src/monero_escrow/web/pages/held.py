"""/admin/escrows/…/payouts/…: what an operator does about a held payout, asked once more before it is done.

By the same use cases as the API's. What the operator was shown goes with the form: if the payout was taken up
meanwhile, nothing is done and they are told by whom.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from structlog.contextvars import bind_contextvars

from monero_escrow.escrows import held
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.decide import Decision
from monero_escrow.escrows.views import EscrowView, escrow_view, planned_payments
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.pages import ROOT
from monero_escrow.web.pages.answers import PageRoute, go_to, page
from monero_escrow.web.pages.forms import Form
from monero_escrow.web.pages.held_choices import HeldChoice, Holding, choice_of, holding_of, require_shown
from monero_escrow.web.pages.session import OperatorViewer, TheForm
from monero_escrow.web.payouts import Number

router = APIRouter(
    prefix=f"{ROOT}/escrows/{{escrow_id}}/payouts/{{number}}", include_in_schema=False, route_class=PageRoute
)


@router.get("/{choice}")
async def confirm(
    escrow_id: str, number: Number, choice: str, viewer: OperatorViewer, conductor: TheConductor
) -> Response:
    """The payout, what would be done about it and what must be true for that. Raises HeldPayoutChangedError."""
    chosen = choice_of(choice)

    def read(tx: Transaction) -> tuple[EscrowView, Holding]:
        return escrow_view(tx, escrow_id), _holding(tx, escrow_id, number)

    view, holding = await conductor.ctx.store.read(read)
    bind_contextvars(escrow_id=view.escrow.id)
    payments = planned_payments(holding.payout)
    return page("confirm_held.html", viewer, view=view, holding=holding, choice=chosen, payments=payments)


@router.post("/{choice}")
async def carry_out(
    escrow_id: str, number: Number, choice: str, viewer: OperatorViewer, conductor: TheConductor, form: TheForm
) -> Response:
    """Do it. Raises HeldPayoutChangedError for the second of two who act at once, and what `escrows/held.py` raises."""
    ctx, chosen, shown = conductor.ctx, choice_of(choice), form.text("shown", longest=20)

    def require(tx: Transaction) -> None:
        require_shown(_holding(tx, escrow_id, number), shown, tx.audit.of(escrow_id))

    await ctx.store.read(require)  # before the chain is asked: whoever comes too late hears of that first
    bind_contextvars(escrow_id=escrow_id)
    decision = await _decision(ctx, chosen, escrow_id, number, viewer.actor, form)

    def act(tx: Transaction) -> None:
        require(tx)
        decision(tx)

    await ctx.store.write(act)
    conductor.nudge(escrow_id)
    return go_to(f"{ROOT}/escrows/{escrow_id}")


async def _decision(ctx: Context, choice: HeldChoice, escrow_id: str, number: int, actor: str, form: Form) -> Decision:
    match choice.name:
        case "resume":
            return held.to_resume(escrow_id, number, actor, ctx.clock.now())
        case "replace":
            return held.to_replace(escrow_id, number, actor, ctx.clock.now())
        case "call-off":
            return await held.to_call_off(ctx, escrow_id, number, actor)
        case _:
            return await held.to_write_off(ctx, escrow_id, number, actor, form.text("reason"))


def _holding(tx: Transaction, escrow_id: str, number: int) -> Holding:
    """Raises NotFoundError, HeldPayoutChangedError."""
    tx.escrows.get(escrow_id)
    return holding_of(tx.payouts.of(escrow_id), tx.audit.of(escrow_id), number)
