"""/admin/slots: the processes and nodes, and what an operator may do about them: drain, look again, reload.

Slots are named by role and place, as everywhere. What is done is written to the audit trail; a drain takes nothing from
whoever holds the slot.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from monero_escrow.core.errors import NotFoundError
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.operate import drain_node, fleet_of, reload_fleet
from monero_escrow.fleet.slot import Slot
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.fleet import fleet_now
from monero_escrow.web.pages import ROOT
from monero_escrow.web.pages.answers import PageRoute, go_to, page
from monero_escrow.web.pages.session import OperatorViewer, TheForm, Viewer

PATH = f"{ROOT}/slots"

router = APIRouter(prefix=PATH, include_in_schema=False, route_class=PageRoute)


@router.get("")
async def fleet(viewer: OperatorViewer, conductor: TheConductor) -> Response:
    """Every process, how their number came to be, and the nodes beside this one."""
    nodes = await conductor.ctx.store.read(lambda tx: tx.nodes.all())
    return page("fleet.html", viewer, fleet=fleet_now(conductor.ctx), nodes=nodes)


@router.post("/drain")
async def drain(viewer: OperatorViewer, conductor: TheConductor, form: TheForm) -> Response:
    """A process takes nothing new, and leaves when nobody holds it."""
    slot = _slot(conductor.ctx, form.text("slot"))
    await _record(conductor.ctx, viewer, "slot_drained", slot=slot.name)
    conductor.ctx.pool.drain(slot)
    return go_to(PATH)


@router.post("/look")
async def look(viewer: OperatorViewer, conductor: TheConductor, form: TheForm) -> Response:
    """A sick process is inspected within moments; it serves again if it is well."""
    slot = _slot(conductor.ctx, form.text("slot"))
    await _record(conductor.ctx, viewer, "slot_looked_at", slot=slot.name)
    fleet_of(conductor.ctx).health.look_soon(slot)
    return go_to(PATH)


@router.post("/reload")
async def reload(viewer: OperatorViewer, conductor: TheConductor, _: TheForm) -> Response:
    """The list of processes and the fleet's sizes are read again. A list that cannot be used changes nothing."""
    await reload_fleet(conductor.ctx, viewer.actor)
    return go_to(PATH)


@router.post("/nodes")
async def node(viewer: OperatorViewer, conductor: TheConductor, form: TheForm) -> Response:
    """A node takes up nothing new, or takes up work again."""
    name, drains = form.text("node", longest=64), form.one_of("do", "drain", "resume") == "drain"
    await conductor.ctx.store.write(lambda tx: drain_node(tx, name, viewer.actor, drains=drains))
    return go_to(PATH)


def _slot(ctx: Context, name: str) -> Slot:
    """The slot of this name. Raises NotFoundError: it may have left since the page was drawn."""
    found = next((slot for slot in ctx.pool.slots if slot.name == name), None)
    if found is None:
        raise NotFoundError("There is no such process any more.", what_to_do="Look at the list anew.")
    return found


async def _record(ctx: Context, viewer: Viewer, action: str, **detail: str) -> None:
    """Who did what about a process: it is written before it is done."""
    now = ctx.clock.now()
    await ctx.store.write(lambda tx: tx.audit.add(viewer.actor, action, now, detail=detail))
