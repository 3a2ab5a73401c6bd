"""The demo with several nodes: one PostgreSQL for all of them, and one node that is killed in the middle of its work.

It is not started again. The others notice that it is silent, take its escrows over, rebuild the wallets they need by
replay, and every order settles as planned.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from monero_escrow.demo.api import EscrowApi
from monero_escrow.demo.board import Board, seconds
from monero_escrow.demo.failures import step
from monero_escrow.demo.private_postgres import PrivatePostgres
from monero_escrow.monero.processes import ChildProcess
from monero_escrow.monero.supervision import Supervisor
from monero_escrow.monero.waiting import until

LEASE_SECONDS: Final = 5
_POLL_SECONDS: Final = 0.1
_LIMIT_SECONDS: Final = 120.0


def node_name(number: int) -> str:
    """What a node is called, from 1 on."""
    return f"node-{number}"


async def shared_database(board: Board, stack: AsyncExitStack) -> dict[str, str]:
    """Start a PostgreSQL of the demo's own; the settings that let nodes share it. Raises DemoFailedError."""
    with step("starting PostgreSQL"):
        board.prepare("PostgreSQL", "starting")
        server = await stack.enter_async_context(PrivatePostgres())
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
            await until(
                lambda: _is_idle(operator, victim.name), limit_seconds=_LIMIT_SECONDS, poll_seconds=_POLL_SECONDS
            )
            board.say(f"{victim.name}'s work was taken over after {seconds(time.monotonic() - killed_at)}")


async def _at_work(operator: EscrowApi, nodes: Sequence[ChildProcess]) -> ChildProcess:
    found: list[ChildProcess] = []

    async def one_works() -> bool:
        found.extend([node for node in nodes if not await _is_idle(operator, node.name)])
        return bool(found)

    await until(one_works, limit_seconds=_LIMIT_SECONDS, poll_seconds=_POLL_SECONDS)
    return found[0]


async def _is_idle(operator: EscrowApi, name: str) -> bool:
    known = (await operator.read("/admin/nodes"))["nodes"]
    return not any(node["name"] == name and node["working_on"] for node in known)
