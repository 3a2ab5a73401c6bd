"""POST /admin/fleet/reload: go over to another list of wallet-rpc processes without a restart."""

from __future__ import annotations

from fastapi import APIRouter

from monero_escrow.escrows.operate import reload_fleet
from monero_escrow.web.auth import OperatorCaller
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.schemas import Reload

router = APIRouter(tags=["operation"])


@router.post(
    "/admin/fleet/reload",
    summary="Read the list of processes and the fleet's sizes again",
    response_model=Reload,
    responses=problem_answers(401, 403, 422, 503),
)
async def reload(caller: OperatorCaller, conductor: TheConductor) -> Reload:
    """Read MONERO_RPC_URLS, FLEET_MIN_TRIOS, FLEET_MAX_TRIOS and FLEET_MEMORY_MAX again, from `.env` and the file that
    MONERO_ESCROW_CONFIG names; what the environment of the service sets, it cannot read anew. New processes join, those
    taken off the list finish what they are at and leave. A list that cannot be used changes nothing."""
    done = await reload_fleet(conductor.ctx, caller.actor)
    return Reload(
        joined=list(done.joined),
        draining=list(done.draining),
        sick=done.sick,
        min_trios=done.min_trios,
        max_trios=done.max_trios,
    )
