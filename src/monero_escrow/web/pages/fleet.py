"""/admin/slots: the processes and nodes, and what an operator may do about them: drain, look again, reload.

Slots are named by role and place, as everywhere. What is done is written to the audit trail; a drain takes nothing from
whoever holds the slot.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from monero_escrow.core.errors import NotFoundError, UnavailableError
from monero_escrow.escrows.context import Context
from monero_escrow.fleet.fleet import Fleet
from monero_escrow.fleet.slot import Slot
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.fleet import fleet_now
from monero_escrow.web.pages.answers import PageRoute, go_to, page
from monero_escrow.web.pages.session import COOKIE_PATH, OperatorViewer, TheForm, Viewer

PATH = f"{COOKIE_PATH}/slots"

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
    _fleet(conductor.ctx).health.look_soon(slot)
    return go_to(PATH)


@router.post("/reload")
async def reload(viewer: OperatorViewer, conductor: TheConductor, _: TheForm) -> Response:
    """The list of processes and the fleet's sizes are read again. A list that cannot be used changes nothing."""
    done = await _fleet(conductor.ctx).reload()
    joined, draining = ", ".join(done.joined), ", ".join(done.draining)
    await _record(conductor.ctx, viewer, "fleet_reloaded", joined=joined, draining=draining)
    return go_to(PATH)


@router.post("/nodes")
async def node(viewer: OperatorViewer, conductor: TheConductor, form: TheForm) -> Response:
    """A node takes up nothing new, or takes up work again."""
    name, drains = form.text("node", longest=64), form.text("do") == "drain"

    def change(tx: Transaction) -> None:
        tx.nodes.drain(name, drains=drains)
        action = "node_drained" if drains else "node_resumed"
        tx.audit.add(viewer.actor, action, conductor.ctx.clock.now(), detail={"node": name})

    await conductor.ctx.store.write(change)
    return go_to(PATH)


def _slot(ctx: Context, name: str) -> Slot:
    """The slot of this name. Raises NotFoundError: it may have left since the page was drawn."""
    found = next((slot for slot in ctx.pool.slots if slot.name == name), None)
    if found is None:
        raise NotFoundError("There is no such process any more.", what_to_do="Look at the list anew.")
    return found


def _fleet(ctx: Context) -> Fleet:
    if ctx.fleet is None:
        raise UnavailableError("The service's processes cannot be changed while it runs.")
    return ctx.fleet


async def _record(ctx: Context, viewer: Viewer, action: str, **detail: str) -> None:
    """Who did what about the fleet: it is written before it is done."""
    now = ctx.clock.now()
    await ctx.store.write(lambda tx: tx.audit.add(viewer.actor, action, now, detail=detail))
