"""What runs while the demo runs: a private chain, the people's wallets, and the service with six processes of its own.

Everything is started side by side and kept running by a supervisor: whatever dies, be it killed, is started again at
the same place, and goes on; the service does the same for its wallet-rpc processes. The supervisor ends all of it,
whatever happens, and what the service runs ends with the service. No process is looked up or ended by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from monero_escrow.core.roles import ROLES
from monero_escrow.demo.api import EscrowApi
from monero_escrow.demo.board import Board
from monero_escrow.demo.failures import step
from monero_escrow.demo.nodes import node_name, shared_database
from monero_escrow.demo.people import Miner, Purse
from monero_escrow.demo.service_process import ApiKeys, make_keys, service_environment, start_service
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.processes import ChildProcess, lasting_port
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.supervision import Supervisor

LEAST_TRIOS: Final = 2
"""With two, a set-up or payout goes on elsewhere while a process that died is replaced."""
MOST_TRIOS: Final = 3
IN_STOCK: Final = 2
"""Of three orders two find their wallets made, and one shows how long making them takes."""
_SERVICE_GRACE_SECONDS: Final = 6.0
_LOOK_EVERY_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything an order needs to be taken through."""

    miner: Miner
    buyer: Purse
    vendor: Purse
    services: Sequence[ChildProcess]
    """The service; or, with several nodes, all of them."""
    keys: ApiKeys
    shop: EscrowApi
    arbiter: EscrowApi


async def set_stage(
    programs: MoneroPrograms,
    folder: Path,
    board: Board,
    supervisor: Supervisor,
    stack: AsyncExitStack,
    nodes: int,
) -> Stage:
    """Start it all: processes with the supervisor, connections on `stack`. Raises DemoFailedError.

    One service has its database to itself; several `nodes` share a PostgreSQL.
    """
    environment = service_environment(folder)
    if nodes > 1:
        environment |= await shared_database(board, stack)
    board.prepare("API keys", "being made")
    async with asyncio.TaskGroup() as side_by_side:
        keys = side_by_side.create_task(_keys(folder, environment, board))
        with step("starting a private chain"):
            board.prepare("chain", f"starting monerod {programs.version}")
            chain = await stack.enter_async_context(PrivateChain(programs, folder / "monero", supervisor=supervisor))
        people = side_by_side.create_task(_people(chain, board))
        services = side_by_side.create_task(_services(chain, folder, environment, keys, board, supervisor, nodes))
    miner, buyer, vendor = people.result()
    urls, known = [service.url for service in services.result()], keys.result()
    slots = _trios_a_node(nodes) * nodes * len(ROLES)
    which = f"the service at {urls[0]}" if nodes == 1 else f"{nodes} nodes from {urls[0]} on"
    board.prepared(f"a private chain, people's wallets, {which} with {slots} slots, {IN_STOCK} in stock")
    return Stage(
        miner=miner,
        buyer=buyer,
        vendor=vendor,
        services=services.result(),
        keys=known,
        shop=await stack.enter_async_context(EscrowApi(urls, known.shop)),
        arbiter=await stack.enter_async_context(EscrowApi(urls, known.arbiter)),
    )


def _trios_a_node(nodes: int) -> int:
    return LEAST_TRIOS if nodes == 1 else 1


async def _keys(folder: Path, environment: dict[str, str], board: Board) -> ApiKeys:
    with step("making API keys"):
        keys = await make_keys(folder, environment)
    board.prepare("API keys", "ready")
    return keys


async def _people(chain: PrivateChain, board: Board) -> tuple[Miner, Purse, Purse]:
    """Buyer and vendor open wallets of their own; then the first blocks are mined to the buyer, who has to pay."""

    def told(mined: int, all_of_them: int) -> None:
        board.prepare("chain", f"{mined} of {all_of_them} blocks mined" if mined else "mining the first blocks")

    with step("making the buyer's and the vendor's wallets"):
        board.prepare("people's wallets", "being made")
        async with asyncio.TaskGroup() as side_by_side:
            buyer = side_by_side.create_task(chain.person("buyer"))
            vendor = side_by_side.create_task(chain.person("vendor"))
    board.prepare("people's wallets", "ready")
    with step("mining the buyer's coins"):
        miner = Miner(chain.daemon, chain.miner.address)
        await miner.first_coins(buyer.result().address, told)
    return miner, Purse(buyer.result()), Purse(vendor.result())


async def _services(
    chain: PrivateChain,
    folder: Path,
    environment: dict[str, str],
    keys: asyncio.Task[ApiKeys],
    board: Board,
    supervisor: Supervisor,
    nodes: int,
) -> list[ChildProcess]:
    known, trios = await keys, _trios_a_node(nodes)
    settings = {
        **environment,
        "MONERO_DAEMON_URL": chain.monerod.url,
        "MONERO_BIN_DIR": str(chain.programs.folder),
        "FLEET_MIN_TRIOS": str(trios),
        "FLEET_MAX_TRIOS": str(MOST_TRIOS if nodes == 1 else trios),
        "STOCK_TARGET": str(IN_STOCK),
    }

    async def start(number: int) -> ChildProcess:
        if nodes == 1:
            name, begin = "the service", partial(start_service, folder, settings, lasting_port())
        else:
            name = node_name(number)
            own = {"NODE_NAME": name, "DATA_DIR": str(folder / name)}
            begin = partial(start_service, folder, {**settings, **own}, lasting_port(), log_name=name)
        # In the end it would let requests finish first, and what it is asked to finish, nobody waits for any more.
        return await supervisor.keep(name, begin, grace_seconds=_SERVICE_GRACE_SECONDS)

    with step("starting the service"):
        board.prepare("service", "starting")
        services = await asyncio.gather(*(start(number) for number in range(1, nodes + 1)))
    board.prepare("service", f"ready at {', '.join(service.url for service in services)}")
    with step("waiting for the service's wallet-rpc processes"):
        async with AsyncExitStack() as stack:
            each = [await stack.enter_async_context(EscrowApi(service.url, known.operator)) for service in services]
            await _until_slots_run(each, trios * len(ROLES), board)
            with step("filling the stock"):
                await _until_stocked(each[0], board)
    return services


async def _until_slots_run(operators: Sequence[EscrowApi], slots_a_service: int, board: Board) -> None:
    """Orders need not wait for this, but whoever watches sees what is there."""
    running, wanted = 0, slots_a_service * len(operators)
    while running < wanted:
        pools = [(await operator.read("/admin/health"))["rpc_pool"] for operator in operators]
        running = sum(pool["total"] - pool["sick"] for pool in pools)
        board.prepare("slots", f"{running} of {wanted} running" if running < wanted else f"{running} running")
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def _until_stocked(operator: EscrowApi, board: Board) -> None:
    """Wait until the wallets for the first orders are made: 2-of-3, behind the gate, nobody's yet."""
    ready = -1
    while ready < IN_STOCK:
        ready = (await operator.read("/admin/health"))["stock"]["ready"]
        board.prepare("stock", f"{ready} of {IN_STOCK} wallets made" if ready < IN_STOCK else f"{ready} wallets")
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
