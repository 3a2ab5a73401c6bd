"""`monero-escrow nodes`: the services that share a PostgreSQL database; who is there, who drains, who is forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable

from cyclopts import App
from rich.console import Console
from rich.table import Table

from monero_escrow.cli.database import actor, in_database
from monero_escrow.cli.options import Json
from monero_escrow.config import load_settings
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.words import lasting, moment
from monero_escrow.escrows.operate import drain_node, forget_node
from monero_escrow.nodes.bell import ANY_ESCROW
from monero_escrow.store.node_table import NodeRecord
from monero_escrow.store.transaction import Transaction

nodes_app = App(name="nodes", help="List, drain and forget the nodes that share a PostgreSQL database.")


class NotSharedError(EscrowError):
    """The database is a file: there are no nodes."""

    code = "not_shared"
    what_to_do = "For several nodes set DATABASE_URL to a PostgreSQL database: docs/postgresql.md says how."


@nodes_app.default
def list_nodes(*, json_output: Json = False) -> None:
    """Every node that is there, or was and did not say goodbye; times go by the database's clock."""
    _require_shared()
    now, nodes = in_database(lambda tx: (tx.nodes.now(), tx.nodes.all()))
    if json_output:
        print(json.dumps([_as_json(node, now) for node in nodes]))
        return
    if not nodes:
        print("No node is there: start a service with this DATABASE_URL.")
        return
    table = Table("node", "state", "version", "slots", "works on", "lease", box=None, pad_edge=False)
    for node in nodes:
        table.add_row(
            node.name, _state(node, now), node.version, str(node.slots), str(node.working_on), _lease(node, now)
        )
    Console().print(table)


def _state(node: NodeRecord, now: float) -> str:
    if not node.alive:
        return f"[red]silent for {lasting(now - node.seen_at)}[/red]"
    if node.draining_at is not None:
        return f"[yellow]draining for {lasting(now - node.draining_at)}[/yellow]"
    return "[green]alive[/green]"


def _lease(node: NodeRecord, now: float) -> str:
    left = node.lease_until - now
    return f"{lasting(left)} left" if node.alive else f"over for {lasting(-left)}"


def _as_json(node: NodeRecord, now: float) -> dict[str, object]:
    return {
        "name": node.name,
        "alive": node.alive,
        "draining": node.draining_at is not None,
        "version": node.version,
        "slots": node.slots,
        "working_on": node.working_on,
        "started_at": moment(node.started_at),
        "silent_seconds": round(now - node.seen_at, 1),
        "lease_seconds": round(node.lease_until - now, 1),
    }


@nodes_app.command
def drain(name: str, /) -> None:
    """Let a node finish what it works on and take up nothing new, before it is stopped.

    It works again after `nodes resume NAME`, or as soon as it is started anew.

    Parameters
    ----------
    name
        Its NODE_NAME, as `monero-escrow nodes` lists it.
    """
    _change(lambda tx, actor: drain_node(tx, name, actor, drains=True))
    print(f"{name} takes up nothing new. When `monero-escrow nodes` shows that it works on 0 escrows, stop it.")


@nodes_app.command
def resume(name: str, /) -> None:
    """Let a node that drains take up work again.

    Parameters
    ----------
    name
        Its NODE_NAME, as `monero-escrow nodes` lists it.
    """
    _change(lambda tx, actor: drain_node(tx, name, actor, drains=False))
    print(f"{name} takes up work again.")


@nodes_app.command
def forget(name: str, /) -> None:
    """Take a node that is gone for good off the list. Its work was taken over when its lease ended; nothing is lost.

    Its wallets' files are not waited for any more: other nodes make them anew from the database at once.

    Parameters
    ----------
    name
        Its NODE_NAME, as `monero-escrow nodes` lists it.
    """
    _change(lambda tx, actor: forget_node(tx, name, actor))
    print(f"{name} is forgotten. Should it come back, it joins as a new node.")


def _change(change: Callable[[Transaction, str], None]) -> None:
    """One change of one node, by whoever types the command. Raises NotSharedError, NotFoundError, ConflictError."""
    _require_shared()
    who = actor()
    in_database(lambda tx: change(tx, who), writes=True, wakes=ANY_ESCROW)


def _require_shared() -> None:
    if load_settings().database_url is None:
        raise NotSharedError("This database is a file, which serves one service alone: it has no nodes and needs none.")
