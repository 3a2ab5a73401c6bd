"""GET /admin/nodes and POST /admin/nodes/{name}/drain and resume: the services that share this one's database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from monero_escrow.core.words import iso_time
from monero_escrow.escrows.operate import drain_node
from monero_escrow.store.node_table import NodeRecord
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.auth import Caller, OperatorCaller
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.openapi import problem_answers

router = APIRouter(prefix="/admin/nodes", tags=["operation"])

_TIME = "2026-01-31T12:00:00Z"

NodeName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Its NODE_NAME.")]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Node(_Answer):
    """One node. Times go by the database's clock."""

    name: str = Field(examples=["escrow-1"])
    alive: bool = Field(description="Its lease holds. Else it is silent, and the others do its work.")
    draining: bool = Field(description="It finishes what it works on and takes up nothing new.")
    version: str = Field(examples=["0.1.0"])
    slots: int = Field(description="Its wallet-rpc processes.")
    working_on: int = Field(description="Escrows it works on this moment.")
    started_at: str = Field(examples=[_TIME])
    seen_at: str = Field(description="When it last renewed its lease.", examples=[_TIME])
    lease_until: str = Field(examples=[_TIME])


class Nodes(_Answer):
    """All nodes, by name."""

    nodes: list[Node] = Field(description="Empty when the database is a file, which serves one service alone.")


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
