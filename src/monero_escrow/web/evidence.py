"""POST and GET /api/escrows/{escrow_id}/evidence: what the parties of a dispute say, for the arbiter."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from monero_escrow.core.roles import Role
from monero_escrow.core.words import iso_time
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.decide import Decision
from monero_escrow.escrows.evidence import LONGEST_TEXT, add_evidence
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.access import find_escrow
from monero_escrow.web.auth import AnyCaller, ShopCaller
from monero_escrow.web.decisions import ANSWERS, TheDecision
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.schemas import Escrow

router = APIRouter(prefix="/api/escrows/{escrow_id}/evidence", tags=["decisions"])


class EvidenceTerms(BaseModel):
    """What one party says."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"example": {"party": "buyer", "text": "The parcel was empty; the scale at the post..."}},
    )

    party: Literal["buyer", "vendor"] = Field(description="Whose word it is.")
    text: str = Field(min_length=1, max_length=LONGEST_TEXT, description="Plain text; shown to the arbiter as it is.")


class Evidence(BaseModel):
    """One text of a party."""

    model_config = ConfigDict(frozen=True)

    party: Literal["buyer", "vendor"]
    text: str
    at: str = Field(examples=["2026-01-31T12:00:00Z"])


class EvidenceList(BaseModel):
    """All that was said, the oldest first."""

    model_config = ConfigDict(frozen=True)

    evidence: list[Evidence]


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
