"""POST /admin/escrows/{escrow_id}/rescan: look once more at what came to an escrow."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from monero_escrow.escrows.context import Context
from monero_escrow.escrows.decide import Decision
from monero_escrow.escrows.rescan import to_rescan
from monero_escrow.web.auth import OperatorCaller
from monero_escrow.web.decisions import ANSWERS, TheDecision
from monero_escrow.web.schemas import Escrow, RescanTerms

router = APIRouter(prefix="/admin/escrows/{escrow_id}", tags=["operation"])


@router.post("/rescan", summary="Look once more at what came", response_model=Escrow, responses=ANSWERS)
async def rescan(deciding: TheDecision, caller: OperatorCaller, body: RescanTerms | None = None) -> JSONResponse:
    """The escrow's wallet looks at the chain as soon as a slot is free, also if the escrow is not watched any more.
    With `from_height` the blocks from there on are scanned for it again besides. The answer is the escrow as it is
    before that."""
    from_height = None if body is None else body.from_height

    async def make(ctx: Context, escrow_id: str, actor: str) -> Decision:
        return to_rescan(escrow_id, from_height, actor, ctx.clock.now())

    return await deciding.carry_out(caller, "rescan", body, make)
