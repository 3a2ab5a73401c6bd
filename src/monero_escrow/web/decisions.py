"""POST /api/escrows/{escrow_id}/…: what shops and arbiters decide.

Every decision is taken the same way. First a look, which answers what needs no daemon: a repeated request, an escrow
that is not there, a state that does not allow it. Then one transaction: the decision and the record of its answer, or
neither.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header
from fastapi.responses import JSONResponse
from structlog.contextvars import bind_contextvars

from monero_escrow.core.life_cycle import Event, transition
from monero_escrow.escrows import decide
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.decide import Decision
from monero_escrow.escrows.views import escrow_view
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.access import find_escrow, path_of
from monero_escrow.web.auth import ArbiterCaller, Caller, ShopCaller
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.idempotency import HEADER, REPLAYED_HEADER, Repeatable
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.render import escrow_answer
from monero_escrow.web.schemas import DismissalTerms, DisputeTerms, Escrow, ExtendTerms, NoTerms, RulingTerms
from monero_escrow.web.schemas.shapes import Request

router = APIRouter(prefix="/api/escrows/{escrow_id}", tags=["decisions"])

MakeDecision = Callable[[Context, str, str], Awaitable[Decision]]
"""From context, escrow id and actor to what happens in the transaction."""


@dataclass(frozen=True, slots=True)
class Deciding:
    """One request to decide about one escrow, whoever sends it."""

    conductor: TheConductor
    escrow_id: str
    idempotency_key: Annotated[
        str | None, Header(alias=HEADER, description="Repeating the request with the same key repeats the answer only.")
    ] = None

    async def take(self, caller: Caller, event: Event, body: Request | None, make: MakeDecision) -> JSONResponse:
        """Carry out a decision that the escrow's state must allow."""
        return await self.carry_out(caller, path_of(event), body, make, lambda escrow: transition(escrow.state, event))

    async def carry_out(
        self,
        caller: Caller,
        path: str,
        body: Request | None,
        make: MakeDecision,
        check: Callable[[EscrowRecord], object] = lambda _escrow: None,
    ) -> JSONResponse:
        """Carry a decision out once, and answer with the escrow as it is then. `check` raises what forbids it."""
        ctx, escrow_id, scope = self.conductor.ctx, self.escrow_id, caller.scope
        sent = {} if body is None else body.model_dump(mode="json")
        repeatable = Repeatable.of(caller.id, self.idempotency_key, "POST", f"{escrow_id}/{path}", sent)

        def look(tx: Transaction) -> dict[str, Any] | None:
            recorded = repeatable.recorded_answer(tx)
            if recorded is None:
                check(find_escrow(tx, escrow_id, scope, caller.shop_id))
            return recorded

        def act(tx: Transaction) -> tuple[dict[str, Any], bool]:
            find_escrow(tx, escrow_id, scope, caller.shop_id)  # first: whoever waited for it sees what was answered
            recorded = repeatable.recorded_answer(tx)
            if recorded is not None:
                return recorded, True
            decision(tx)
            answer = escrow_answer(escrow_view(tx, escrow_id), scope).model_dump(mode="json")
            repeatable.record_answer(tx, answer, ctx.clock.now())
            return answer, False

        recorded = await ctx.store.read(look)
        bind_contextvars(escrow_id=escrow_id)
        if recorded is not None:
            return _answer(recorded, replayed=True)
        decision = await make(ctx, escrow_id, caller.actor)
        answer, replayed = await ctx.store.write(act)
        self.conductor.nudge(escrow_id)
        return _answer(answer, replayed=replayed)


def _answer(escrow: dict[str, Any], *, replayed: bool) -> JSONResponse:
    return JSONResponse(escrow, headers={REPLAYED_HEADER: "true"} if replayed else None)


TheDecision = Annotated[Deciding, Depends()]

ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Decided. The escrow as it is now.",
        "headers": {
            REPLAYED_HEADER: {"description": "`true`: this repeats an earlier answer.", "schema": {"type": "string"}}
        },
    },
    **problem_answers(401, 403, 404, 409, 413, 422, 503),
}


def _action(event: Event, summary: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return router.post(f"/{path_of(event)}", summary=summary, response_model=Escrow, responses=ANSWERS)


@_action(Event.RELEASE, "Pay the vendor")
async def release(deciding: TheDecision, caller: ShopCaller, body: NoTerms | None = None) -> JSONResponse:
    """The vendor gets the order's amount less commission and fee, the buyer a surplus; late coins go to the vendor."""
    return await deciding.take(caller, Event.RELEASE, body, decide.release)


@_action(Event.REFUND, "Pay the buyer back")
async def refund(deciding: TheDecision, caller: ShopCaller, body: NoTerms | None = None) -> JSONResponse:
    """The buyer gets everything, less the fee."""
    return await deciding.take(caller, Event.REFUND, body, decide.refund)


@_action(Event.DISPUTE, "Ask the arbiter")
async def dispute(deciding: TheDecision, caller: ShopCaller, body: DisputeTerms) -> JSONResponse:
    """Buyer and vendor disagree: from now on only the arbiter decides."""

    async def make(ctx: Context, escrow_id: str, actor: str) -> Decision:
        return decide.dispute(ctx, escrow_id, actor, body.reason)

    return await deciding.take(caller, Event.DISPUTE, body, make)


@_action(Event.RULING, "Rule on a dispute")
async def ruling(deciding: TheDecision, caller: ArbiterCaller, body: RulingTerms) -> JSONResponse:
    """Split everything that came by shares of 10,000; the odd piconero goes to the vendor."""

    async def make(ctx: Context, escrow_id: str, actor: str) -> Decision:
        shares, reason = (body.buyer_share, body.vendor_share), body.reason or ""
        return await decide.ruling(ctx, escrow_id, actor, *shares, reason=reason)

    return await deciding.take(caller, Event.RULING, body, make)


@_action(Event.DISMISS, "Dismiss a dispute")
async def dismiss(deciding: TheDecision, caller: ArbiterCaller, body: DismissalTerms) -> JSONResponse:
    """No ruling is needed: the parties agree, or the deposit is gone for good. The shop decides again."""

    async def make(ctx: Context, escrow_id: str, actor: str) -> Decision:
        return decide.dismiss(ctx, escrow_id, actor, body.reason)

    return await deciding.take(caller, Event.DISMISS, body, make)


@_action(Event.ACCEPT_SHORT, "Accept less than the amount")
async def accept_short(deciding: TheDecision, caller: ShopCaller, body: NoTerms | None = None) -> JSONResponse:
    """Take what has come for the whole."""

    async def make(ctx: Context, escrow_id: str, actor: str) -> Decision:
        return decide.accept_short(ctx, escrow_id, actor)

    return await deciding.take(caller, Event.ACCEPT_SHORT, body, make)


@_action(Event.EXTEND, "Give the buyer more time")
async def extend(deciding: TheDecision, caller: ShopCaller, body: ExtendTerms) -> JSONResponse:
    """A later deadline. An escrow that was short or expired awaits its deposit again."""

    async def make(ctx: Context, escrow_id: str, actor: str) -> Decision:
        return decide.extend(ctx, escrow_id, actor, body.deadline)

    return await deciding.take(caller, Event.EXTEND, body, make)


@_action(Event.CANCEL, "Call the order off")
async def cancel(deciding: TheDecision, caller: ShopCaller, body: NoTerms | None = None) -> JSONResponse:
    """Before anything has come. Coins that come all the same are seen, and go back to the buyer."""

    async def make(ctx: Context, escrow_id: str, actor: str) -> Decision:
        return decide.cancel(ctx, escrow_id, actor)

    return await deciding.take(caller, Event.CANCEL, body, make)
