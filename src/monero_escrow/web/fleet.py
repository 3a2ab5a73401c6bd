"""GET /admin/fleet: every wallet-rpc process as it stands, and what was done about their number lately, and why."""

from __future__ import annotations

from fastapi import APIRouter

from monero_escrow.core.roles import ROLES, Role
from monero_escrow.core.words import iso_time
from monero_escrow.escrows.context import Context
from monero_escrow.fleet.fleet import Fleet
from monero_escrow.fleet.leases import Lease
from monero_escrow.fleet.slot import Slot
from monero_escrow.fleet.supervisor import Step
from monero_escrow.web.auth import OperatorCaller
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.schemas import FleetAnswer, FleetClass, FleetLimits, FleetSlot, FleetStep, SlotState

router = APIRouter(tags=["operation"])


@router.get(
    "/admin/fleet",
    summary="The wallet-rpc processes one by one",
    response_model=FleetAnswer,
    responses=problem_answers(401, 403),
)
async def fleet(_: OperatorCaller, conductor: TheConductor) -> FleetAnswer:
    """Which process does what, since when, and why one does not; how busy each role is; and what was done about the
    number of processes lately, with the reasons. Asks no process anything."""
    return fleet_now(conductor.ctx)


def fleet_now(ctx: Context) -> FleetAnswer:
    """The same for whoever shows it: the operator's pages."""
    memory = ctx.fleet.local.memory_bytes() if ctx.fleet is not None and ctx.fleet.local is not None else {}
    supervisor = None if ctx.fleet is None else ctx.fleet.supervisor
    leases = {slot: lease for lease in ctx.pool.leases for slot in lease.slots.values()}
    own = None
    if supervisor is not None:
        limits = supervisor.limits
        own = FleetLimits(
            min_trios=limits.min_trios,
            max_trios=limits.max_trios,
            memory_max_bytes=limits.memory_max_bytes,
            memory_bytes=sum(memory.values()),
            quiet_seconds=limits.quiet_seconds,
        )
    return FleetAnswer(
        classes={role: _class(ctx, role) for role in ROLES},
        slots=[_slot(ctx, slot, leases.get(slot), memory.get(slot)) for slot in ctx.pool.slots],
        own=own,
        steps=[_step(step) for step in supervisor.steps] if supervisor is not None else [],
    )


def _class(ctx: Context, role: Role) -> FleetClass:
    load = ctx.pool.load()[role]
    supervisor = None if ctx.fleet is None else ctx.fleet.supervisor
    upkeep = None if ctx.fleet is None else ctx.fleet.upkeep
    utilisation = None if supervisor is None else supervisor.usage[role].utilisation
    return FleetClass(
        slots=load.slots,
        leased=load.leased,
        usable=load.usable,
        starting=0 if upkeep is None else upkeep.starting[role],
        waiting=load.waiting,
        longest_wait_seconds=round(load.longest_wait_seconds, 1),
        utilisation=None if utilisation is None else round(utilisation, 3),
        trouble=None if upkeep is None else upkeep.trouble.get(role),
    )


def _slot(ctx: Context, slot: Slot, lease: Lease | None, memory_bytes: int | None) -> FleetSlot:
    now, resting = ctx.clock.monotonic(), slot.resting_because is not None
    return FleetSlot(
        name=slot.name,
        role=slot.role,
        managed=slot.managed,
        state=state_of(slot, lease),
        work=None if lease is None else lease.work,
        leased_seconds=None if lease is None else round(now - lease.since, 1),
        reason=slot.resting_because if resting else slot.sick,
        next_look_seconds=_next_look_seconds(ctx.fleet, slot),
        rests_seconds=round(max(0.0, slot.rests_until - now), 1) if resting else None,
        memory_bytes=memory_bytes,
    )


def state_of(slot: Slot, lease: Lease | None) -> SlotState:
    """How a slot stands, that is held by this lease or by none."""
    if slot.draining:
        return "draining"
    if lease is not None:
        return "leased"
    if slot.resting_because is not None:
        return "resting"
    return "free" if slot.sick is None else "sick"


def _next_look_seconds(fleet: Fleet | None, slot: Slot) -> float | None:
    seconds = None if fleet is None else fleet.health.next_look_seconds(slot)
    return None if seconds is None else round(seconds, 1)


def _step(step: Step) -> FleetStep:
    return FleetStep(
        at=iso_time(step.at),
        started=list(step.decision.grow),
        stopped=list(step.decision.shrink),
        not_larger=list(step.decision.denied),
        reason=step.decision.reason,
    )
