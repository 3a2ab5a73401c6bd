"""GET /admin/health for the operator, and the probes /livez and /readyz for whatever runs the service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import structlog
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from monero_escrow import __version__
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.roles import ROLES
from monero_escrow.escrows.context import Context
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.web.auth import OperatorCaller
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.schemas import Capacity, Health, Probe, RpcPool, Stock

log = structlog.get_logger(__name__)

router = APIRouter(tags=["operation"])

_DAEMON_SECONDS: Final = 5.0
_HOUR_SECONDS: Final = 3_600
_DAY_SECONDS: Final = 86_400


@router.get(
    "/admin/health", summary="How the service stands", response_model=Health, responses=problem_answers(401, 403, 503)
)
async def health(_: OperatorCaller, conductor: TheConductor) -> Health:
    """Critical: no escrow can be set up until something is done. Degraded: something is not as it should be, or every
    process of a role is busy this moment and no wallet is in stock. Healthy: neither."""
    return await health_of(conductor.ctx)


async def health_of(ctx: Context) -> Health:
    """The same for whoever shows it: the operator's pages."""
    stats = ctx.pool.stats()
    without = list(_roles_without_slots(ctx.pool))
    daemon_trouble = await _daemon_trouble(ctx)
    reasons = [*without, *_slot_troubles(ctx.pool), *([daemon_trouble] if daemon_trouble else [])]
    stock = await _stock(ctx)
    if not without and stats.set_ups_possible == 0 and stock.ready == 0:
        busy = ", ".join(role for role in ROLES if stats.free_by_role[role] == 0)
        reasons.append(f"No set-up can begin this moment: no process is free for {busy}.")
    return Health(
        status="critical" if without else "degraded" if reasons else "healthy",
        reasons=reasons,
        rpc_pool=RpcPool(total=stats.total, free=stats.free, busy=stats.leased, sick=stats.sick),
        capacity=Capacity(max_concurrent_escrows=stats.set_ups_possible),
        stock=stock,
        deposits="waiting for a daemon" if daemon_trouble else "watched",
        version=__version__,
    )


def _roles_without_slots(pool: SlotPool) -> Iterator[str]:
    for role in ROLES:
        if not pool.has_usable_slot(role):
            yield f"No usable wallet-rpc process serves the {role}s: no escrow can be set up."


def _slot_troubles(pool: SlotPool) -> Iterator[str]:
    for slot in pool.slots:
        if slot.sick is not None:
            yield f"{slot.name} is not used: {slot.sick}"
        elif slot.resting_because is not None:
            yield f"{slot.name} rests: {slot.resting_because}."


async def _stock(ctx: Context) -> Stock:
    now = ctx.clock.now()
    ages = await ctx.store.read(lambda tx: tx.trios.stock_ages(now))
    hour, day = (sum(age < limit for age in ages) for limit in (_HOUR_SECONDS, _DAY_SECONDS))
    return Stock(
        target=ctx.settings.stock_target,
        ready=len(ages),
        under_an_hour=hour,
        under_a_day=day - hour,
        older=len(ages) - day,
        oldest_seconds=int(ages[0]) if ages else None,
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
async def readyz(conductor: TheConductor) -> JSONResponse:
    """The database answers. Wallet processes that are down are no reason to keep callers away: orders are recorded and
    go on later; `/admin/health` tells of them."""
    try:
        await conductor.ctx.store.read(lambda tx: tx.escrows.next_due_at(frozenset()))
    except Exception as error:  # whatever it is, the answer is no, and the log says why
        log.exception("not_ready", error=type(error).__name__)
        return JSONResponse(Probe(status="unavailable").model_dump(), 503)
    return JSONResponse(Probe(status="ok").model_dump())
