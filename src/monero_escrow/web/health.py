"""GET /admin/health for the operator, and the probes /livez and /readyz for whatever runs the service.

Observes; what it means is `core/health.py`'s to say.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from monero_escrow import __version__
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.health import Observed, judge
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.tally import Reading, TallyReader
from monero_escrow.store.second_place import trouble_with
from monero_escrow.web.auth import OperatorCaller
from monero_escrow.web.dependencies import TheConductor, TheTally
from monero_escrow.web.gauges import scan_lag_blocks, stock_by_age
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.schemas import Capacity, Health, HealthReason, Probe, RpcPool, Stock

router = APIRouter(tags=["operation"])

_DAEMON_SECONDS: Final = 5.0
_READY_SECONDS: Final = 1.0
"""An answer of the database this old still counts: whoever asks all the time costs it little."""


@router.get(
    "/admin/health", summary="How the service stands", response_model=Health, responses=problem_answers(401, 403, 503)
)
async def health(_: OperatorCaller, conductor: TheConductor, tallies: TheTally) -> Health:
    """Critical: no escrow can be set up, or nothing be recorded, until something is done. Degraded: something is not
    as it should be, or every process of a role is busy this moment and no wallet is in stock. Healthy: neither."""
    return await health_of(conductor.ctx, tallies)


async def health_of(ctx: Context, tallies: TallyReader) -> Health:
    """The same for whoever shows it: the operator's pages."""
    stats = ctx.pool.stats()
    reading, daemon_trouble, second_place_trouble = await asyncio.gather(
        tallies.read(fresh_seconds=0), _daemon_trouble(ctx), asyncio.to_thread(trouble_with, ctx.settings)
    )
    status, reasons = judge(_observed(ctx, reading, daemon_trouble, second_place_trouble))
    return Health(
        status=status.value,
        reasons=[
            HealthReason(code=reason.code, reason=reason.sentence, what_to_do=reason.what_to_do, status=reason.status)
            for reason in reasons
        ],
        rpc_pool=RpcPool(total=stats.total, free=stats.free, busy=stats.leased, sick=stats.sick),
        capacity=Capacity(max_concurrent_escrows=stats.set_ups_possible),
        stock=None if reading is None else _stock(ctx, reading),
        deposits="waiting for a daemon" if daemon_trouble else "watched",
        version=__version__,
    )


def _observed(
    ctx: Context, reading: Reading | None, daemon_trouble: str | None, second_place_trouble: str | None
) -> Observed:
    free = ctx.pool.stats().free_by_role
    slots = [slot for slot in ctx.pool.slots if not slot.draining]
    resting = {slot.name: slot.resting_because for slot in slots if slot.resting_because is not None}
    seen = Observed(
        roles_without_slots=tuple(role for role in ROLES if not ctx.pool.has_usable_slot(role)),
        busy_roles=tuple(role for role in ROLES if free[role] == 0),
        sick={slot.name: slot.sick for slot in slots if slot.sick is not None and slot.name not in resting},
        quarantined=resting,
        daemon_trouble=daemon_trouble,
        second_place_trouble=second_place_trouble,
        database_trouble="The database does not answer." if reading is None else None,
    )
    if reading is None:
        return seen
    tally = reading.tally
    return replace(
        seen,
        stock_ready=len(tally.stock_ages_seconds),
        scan_lag_blocks=scan_lag_blocks(ctx, tally),
        payouts_held=tally.held,
        longest_set_up_seconds=tally.longest_seconds.get(State.SETTING_UP, 0.0),
        longest_payout_seconds=tally.longest_seconds.get(State.PAYING_OUT, 0.0),
    )


def _stock(ctx: Context, reading: Reading) -> Stock:
    ages = reading.tally.stock_ages_seconds
    return Stock(
        target=ctx.settings.stock_target,
        ready=len(ages),
        oldest_seconds=int(ages[0]) if ages else None,
        **stock_by_age(ages),
    )


async def _daemon_trouble(ctx: Context) -> str | None:
    """Why deposits and payouts wait, or None."""
    try:
        async with asyncio.timeout(_DAEMON_SECONDS):
            await ctx.chain()
    except EscrowError as error:
        return error.message
    except TimeoutError:
        return f"The daemon did not answer within {_DAEMON_SECONDS:g} s."
    return None


@router.get("/livez", summary="Whether it runs", response_model=Probe)
async def livez() -> Probe:
    """The process runs and answers. If it does not: restart it."""
    return Probe(status="ok")


@router.get(
    "/readyz",
    summary="Whether it can serve",
    response_model=Probe,
    responses={503: {"model": Probe, "description": "The database does not answer."}},
)
async def readyz(tallies: TheTally) -> JSONResponse:
    """The database answers, and soon. Wallet processes that are down are no reason to keep callers away: orders are
    recorded and go on later; `/admin/health` tells of them."""
    if await tallies.read(fresh_seconds=_READY_SECONDS) is None:  # the log says why
        return JSONResponse(Probe(status="unavailable").model_dump(), 503)
    return JSONResponse(Probe(status="ok").model_dump())
