"""The demo with several nodes: one PostgreSQL for all of them, and one node that is killed in the middle of its work.

It is not started again. The others notice that it is silent, take its escrows over, rebuild the wallets they need by
replay, and every order settles as planned.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from monero_escrow.demo.api import EscrowApi
from monero_escrow.demo.board import Board, seconds
from monero_escrow.demo.failures import step
from monero_escrow.demo.private_postgres import PrivatePostgres
from monero_escrow.monero.processes import ChildProcess
from monero_escrow.monero.supervision import Supervisor

LEASE_SECONDS: Final = 5
_LOOK_EVERY_SECONDS: Final = 0.1


def node_name(number: int) -> str:
    """What a node is called, from 1 on."""
    return f"node-{number}"


async def shared_database(folder: Path, board: Board, stack: AsyncExitStack) -> dict[str, str]:
    """Start a PostgreSQL of the demo's own; the settings that let nodes share it. Raises DemoFailedError."""
    with step("starting PostgreSQL"):
        board.prepare("PostgreSQL", "starting")
        server = await stack.enter_async_context(PrivatePostgres(folder / "postgresql"))
        url = await server.new_database("escrow")
        board.prepare("PostgreSQL", "ready")
    return {"DATABASE_URL": url, "NODE_LEASE_SECONDS": str(LEASE_SECONDS)}


async def kill_one_at_work(
    nodes: Sequence[ChildProcess], operator_key: str, supervisor: Supervisor, board: Board
) -> None:
    """Wait until a node works on an escrow, and kill it with its processes (kill -9); say when others took over."""
    with step("killing a node"):
        async with EscrowApi([node.url for node in nodes], operator_key) as operator:
            victim = await _at_work(operator, nodes)
            supervisor.leave_dead(victim)
            await victim.kill()
            killed_at = time.monotonic()
            board.say(f"{victim.name} was killed (kill -9) while it worked on an order; it stays away")
            await _until_idle(operator, victim.name)
            board.say(f"{victim.name}'s work was taken over after {seconds(time.monotonic() - killed_at)}")


async def _at_work(operator: EscrowApi, nodes: Sequence[ChildProcess]) -> ChildProcess:
    while True:
        for node in nodes:
            if await _holds(operator, node.name):
                return node
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def _until_idle(operator: EscrowApi, name: str) -> None:
    while await _holds(operator, name):
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def _holds(operator: EscrowApi, name: str) -> bool:
    known = (await operator.read("/admin/nodes"))["nodes"]
    return any(node["name"] == name and node["working_on"] for node in known)
