"""GET /admin/fleet: every wallet-rpc process as it stands, and what was done about their number lately, and why."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

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

router = APIRouter(tags=["operation"])

SlotState = Literal["free", "leased", "sick", "resting", "draining"]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class FleetSlot(_Answer):
    """One process."""

    name: str = Field(examples=["vendor@127.0.0.1:18083"])
    role: Role
    managed: bool = Field(description="The service started it, and ends it; else it is one of MONERO_RPC_URLS.")
    state: SlotState = Field(
        description="free; leased; sick: not used until it is found to be well; resting: a call to it was given up on "
        "and may still run; draining: it leaves as soon as nobody holds it."
    )
    work: str | None = Field(description="What it is leased for, also while it drains.")
    leased_seconds: float | None = Field(description="For how long.")
    reason: str | None = Field(description="Why it is sick or rests.")
    next_look_seconds: float | None = Field(description="In how many seconds a sick one is inspected again.")
    rests_seconds: float | None = Field(description="For how many seconds at most a resting one still rests.")
    memory_bytes: int | None = Field(description="Resident memory of a managed one.")


class FleetClass(_Answer):
    """The processes of one role, draining ones not counted."""

    slots: int
    leased: int
    usable: int = Field(description="Leased or free: neither sick nor resting.")
    starting: int = Field(description="On their way, those included that are tried again after a failed start.")
    waiting: int = Field(description="Requests that wait for one.")
    longest_wait_seconds: float
    utilisation: float | None = Field(
        description="How much of the time they were leased in the last minute, 0 to 1; null until the class has had "
        "its size for a minute, and without processes of the service's own.",
        examples=[0.4],
    )
    trouble: str | None = Field(description="Why the last start failed, if the class still lacks a process for it.")


class FleetLimits(_Answer):
    """Between what the service keeps the number of its own processes."""

    min_trios: int
    max_trios: int
    memory_max_bytes: int
    memory_bytes: int = Field(description="What they use now.")
    quiet_seconds: float


class FleetStep(_Answer):
    """What was done about the fleet's size, or could not be done, and why."""

    at: str = Field(examples=["2026-01-31T12:00:00Z"])
    started: list[Role]
    stopped: list[Role]
    not_larger: list[Role] = Field(description="Roles that should have more processes and cannot.")
    reason: str = Field(examples=["buyer +1: 3 wait, the first for 2 s"])


class FleetAnswer(_Answer):
    """All processes, how much they have to do, and how their number came to be. The latest step is the last."""

    classes: dict[Role, FleetClass]
    slots: list[FleetSlot]
    own: FleetLimits | None = Field(description="null when the service runs no processes of its own.")
    steps: list[FleetStep]


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
