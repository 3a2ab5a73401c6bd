"""GET /admin/nodes and POST /admin/nodes/{name}/drain and resume: the services that share this one's database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path

from monero_escrow.core.words import iso_time
from monero_escrow.escrows.operate import drain_node
from monero_escrow.store.node_table import NodeRecord
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.auth import Caller, OperatorCaller
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.schemas import Node, Nodes

router = APIRouter(prefix="/admin/nodes", tags=["operation"])

NodeName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Its NODE_NAME.")]


@router.get(
    "", summary="The services that share the database", response_model=Nodes, responses=problem_answers(401, 403)
)
async def nodes(_: OperatorCaller, conductor: TheConductor) -> Nodes:
    """Every node that is there, or was and did not say goodbye."""
    return _nodes(await conductor.ctx.store.read(lambda tx: tx.nodes.all()))


@router.post(
    "/{name}/drain",
    summary="Let a node take up nothing new",
    response_model=Nodes,
    responses=problem_answers(401, 403, 404, 422, 503),
)
async def drain(name: NodeName, caller: OperatorCaller, conductor: TheConductor) -> Nodes:
    """It finishes what it works on; it works again after `resume`, or when it is started anew."""
    return await _drain(name, caller, conductor, drains=True)


@router.post(
    "/{name}/resume",
    summary="Let a node that drains take up work again",
    response_model=Nodes,
    responses=problem_answers(401, 403, 404, 422, 503),
)
async def resume(name: NodeName, caller: OperatorCaller, conductor: TheConductor) -> Nodes:
    """The opposite of `drain`."""
    return await _drain(name, caller, conductor, drains=False)


async def _drain(name: str, caller: Caller, conductor: TheConductor, *, drains: bool) -> Nodes:
    def change(tx: Transaction) -> list[NodeRecord]:
        drain_node(tx, name, caller.actor, drains=drains)
        return tx.nodes.all()

    return _nodes(await conductor.ctx.store.write(change))


def _nodes(records: Sequence[NodeRecord]) -> Nodes:
    return Nodes(nodes=[_node(record) for record in records])


def _node(record: NodeRecord) -> Node:
    return Node(
        name=record.name,
        alive=record.alive,
        draining=record.draining_at is not None,
        version=record.version,
        slots=record.slots,
        working_on=record.working_on,
        started_at=iso_time(record.started_at),
        seen_at=iso_time(record.seen_at),
        lease_until=iso_time(record.lease_until),
    )
