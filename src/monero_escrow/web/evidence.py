"""POST and GET /api/escrows/{escrow_id}/evidence: what the parties of a dispute say, for the arbiter."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from monero_escrow.core.roles import Role
from monero_escrow.core.words import iso_time
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.decide import Decision
from monero_escrow.escrows.evidence import add_evidence
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.access import find_escrow
from monero_escrow.web.auth import AnyCaller, ShopCaller
from monero_escrow.web.decisions import ANSWERS, TheDecision
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.schemas import Escrow, Evidence, EvidenceList, EvidenceTerms

router = APIRouter(prefix="/api/escrows/{escrow_id}/evidence", tags=["decisions"])


@router.post("", summary="Tell the arbiter what a party says", response_model=Escrow, responses=ANSWERS)
async def send_evidence(deciding: TheDecision, caller: ShopCaller, body: EvidenceTerms) -> JSONResponse:
    """Text of the buyer or the vendor, kept as it is for the arbiter; while the escrow is in dispute."""

    async def make(ctx: Context, escrow_id: str, actor: str) -> Decision:
        return add_evidence(ctx, escrow_id, actor, Role(body.party), body.text)

    return await deciding.carry_out(caller, "evidence", body, make)


@router.get("", summary="Read the evidence", response_model=EvidenceList, responses=problem_answers(401, 404, 503))
async def read_evidence(escrow_id: str, caller: AnyCaller, conductor: TheConductor) -> EvidenceList:
    """What both parties said."""

    def read(tx: Transaction) -> EvidenceList:
        find_escrow(tx, escrow_id, caller.scope, caller.shop_id)
        said = [
            Evidence(party="buyer" if row.party is Role.BUYER else "vendor", text=row.text, at=iso_time(row.at))
            for row in tx.evidence.of(escrow_id)
        ]
        return EvidenceList(evidence=said)

    return await conductor.ctx.store.read(read)
