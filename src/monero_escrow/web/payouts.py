"""POST /api/escrows/{escrow_id}/payouts/{number}/…: what an operator does about a payout that is held.

A payout is held when going on by itself might pay wrongly, or did not help; its `trouble` says what to look at.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse

from monero_escrow.escrows import held
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.decide import Decision
from monero_escrow.web.auth import OperatorCaller
from monero_escrow.web.decisions import ANSWERS, TheDecision
from monero_escrow.web.schemas import Escrow, NoTerms, WriteOffTerms

router = APIRouter(prefix="/api/escrows/{escrow_id}/payouts/{number}", tags=["operation"])

Number = Annotated[int, Path(ge=1, le=1_000_000, description="Which of the escrow's payouts, counted from 1.")]


@router.post("/resume", summary="Go on with a held payout", response_model=Escrow, responses=ANSWERS)
async def resume(
    deciding: TheDecision, caller: OperatorCaller, number: Number, body: NoTerms | None = None
) -> JSONResponse:
    """Take it up where it was: signed anew if nothing was signed, else submitted or followed. It cannot pay twice."""

    async def make(ctx: Context, escrow_id: str, actor: str) -> Decision:
        return held.to_resume(escrow_id, number, actor, ctx.clock.now())

    return await deciding.carry_out(caller, f"payouts/{number}/resume", body, make)


@router.post("/replace", summary="Sign a held payout anew", response_model=Escrow, responses=ANSWERS)
async def replace(
    deciding: TheDecision, caller: OperatorCaller, number: Number, body: NoTerms | None = None
) -> JSONResponse:
    """The same plan by another transaction, which spends the same anchor: the network takes one of the two at most."""

    async def make(ctx: Context, escrow_id: str, actor: str) -> Decision:
        return held.to_replace(escrow_id, number, actor, ctx.clock.now())

    return await deciding.carry_out(caller, f"payouts/{number}/replace", body, make)


@router.post("/call-off", summary="Give a held payout up", response_model=Escrow, responses=ANSWERS)
async def call_off(
    deciding: TheDecision, caller: OperatorCaller, number: Number, body: NoTerms | None = None
) -> JSONResponse:
    """For one that can never be mined, because its deposit fell out of the chain for good or nothing was ever signed.

    The escrow awaits its deposit again, or the arbiter's ruling.
    """

    async def make(ctx: Context, escrow_id: str, actor: str) -> Decision:
        return await held.to_call_off(ctx, escrow_id, number, actor)

    return await deciding.carry_out(caller, f"payouts/{number}/call-off", body, make)


@router.post("/write-off", summary="Close a held payout whose coins are gone", response_model=Escrow, responses=ANSWERS)
async def write_off(deciding: TheDecision, caller: OperatorCaller, number: Number, body: WriteOffTerms) -> JSONResponse:
    """For coins that were spent by a transaction that is not ours, for example one of a database that was lost.

    With the last open payout of the decision, the escrow is settled. Nothing is decided about these coins again.
    """

    async def make(ctx: Context, escrow_id: str, actor: str) -> Decision:
        return await held.to_write_off(ctx, escrow_id, number, actor, body.reason)

    return await deciding.carry_out(caller, f"payouts/{number}/write-off", body, make)
