"""What an operator does about nodes and the fleet, by API, page or command: done, and put on record.

Whether the caller may is judged before. No lease and no claim is taken from whoever holds one.
"""

from __future__ import annotations

from monero_escrow.core.errors import UnavailableError
from monero_escrow.escrows.context import Context
from monero_escrow.fleet.fleet import Fleet
from monero_escrow.fleet.reload import Reloaded
from monero_escrow.store.transaction import Transaction


def drain_node(tx: Transaction, name: str, actor: str, *, drains: bool) -> None:
    """A node takes up nothing new, or takes up work again. Raises NotFoundError."""
    tx.nodes.drain(name, drains=drains)
    _record(tx, "node_drained" if drains else "node_resumed", name, actor)


def forget_node(tx: Transaction, name: str, actor: str) -> None:
    """A node that is gone for good is not listed or waited for any more. Raises NotFoundError, ConflictError."""
    tx.nodes.forget(name)
    _record(tx, "node_forgotten", name, actor)


def _record(tx: Transaction, action: str, name: str, actor: str) -> None:
    """By the database's clock, as all that nodes tell each other."""
    tx.audit.add(actor, action, tx.nodes.now(), detail={"node": name})


async def reload_fleet(ctx: Context, actor: str) -> Reloaded:
    """Go over to the list of processes and the sizes that the settings name by now; then what came of it is recorded.

    Raises UnavailableError, and ReloadRefusedError, which has changed nothing.
    """
    done = await fleet_of(ctx).reload()
    detail = {"joined": list(done.joined), "draining": list(done.draining), "max_trios": done.max_trios}
    now = ctx.clock.now()
    await ctx.store.write(lambda tx: tx.audit.add(actor, "fleet_reloaded", now, detail=detail))
    return done


def fleet_of(ctx: Context) -> Fleet:
    """Whoever runs the processes. Raises UnavailableError where nobody does: they are as the service was started."""
    if ctx.fleet is None:
        raise UnavailableError("The service's processes cannot be changed while it runs.")
    return ctx.fleet
