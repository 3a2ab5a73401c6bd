"""What runs while the demo runs: a private chain, the people's wallets, and the service with six processes of its own.

Everything is started side by side and kept running by a supervisor: whatever dies, be it killed, is started again at
the same place, and goes on; the service does the same for its wallet-rpc processes. The supervisor ends all of it,
whatever happens, and what the service runs ends with the service. No process is looked up or ended by name.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from monero_escrow.core.roles import ROLES
from monero_escrow.demo.api import EscrowApi
from monero_escrow.demo.board import Board
from monero_escrow.demo.failures import step
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
    service: ChildProcess
    keys: ApiKeys
    shop: EscrowApi
    arbiter: EscrowApi


async def set_stage(
    programs: MoneroPrograms, folder: Path, board: Board, supervisor: Supervisor, stack: AsyncExitStack
) -> Stage:
    """Start it all: processes with the supervisor, connections on `stack`. Raises DemoFailedError."""
    environment = service_environment(folder)
    board.prepare("API keys", "being made")
    async with asyncio.TaskGroup() as side_by_side:
        keys = side_by_side.create_task(_keys(folder, environment, board))
        with step("starting a private chain"):
            board.prepare("chain", f"starting monerod {programs.version}")
            chain = await stack.enter_async_context(PrivateChain(programs, folder / "monero", supervisor=supervisor))
        people = side_by_side.create_task(_people(chain, board))
        service = side_by_side.create_task(_service(chain, folder, environment, keys, board, supervisor))
    miner, buyer, vendor = people.result()
    url, known = service.result().url, keys.result()
    slots = LEAST_TRIOS * len(ROLES)
    board.prepared(f"a private chain, people's wallets, the service at {url} with {slots} slots, {IN_STOCK} in stock")
    return Stage(
        miner=miner,
        buyer=buyer,
        vendor=vendor,
        service=service.result(),
        keys=known,
        shop=await stack.enter_async_context(EscrowApi(url, known.shop)),
        arbiter=await stack.enter_async_context(EscrowApi(url, known.arbiter)),
    )


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


async def _service(
    chain: PrivateChain,
    folder: Path,
    environment: dict[str, str],
    keys: asyncio.Task[ApiKeys],
    board: Board,
    supervisor: Supervisor,
) -> ChildProcess:
    known = await keys
    with step("starting the service"):
        board.prepare("service", "starting")
        settings = {
            **environment,
            "MONERO_DAEMON_URL": chain.monerod.url,
            "MONERO_BIN_DIR": str(chain.programs.folder),
            "FLEET_MIN_TRIOS": str(LEAST_TRIOS),
            "FLEET_MAX_TRIOS": str(MOST_TRIOS),
            "STOCK_TARGET": str(IN_STOCK),
        }
        start = partial(start_service, folder, settings, lasting_port())
        # In the end it would let requests finish first, and what it is asked to finish, nobody waits for any more.
        service = await supervisor.keep("the service", start, grace_seconds=_SERVICE_GRACE_SECONDS)
    board.prepare("service", f"ready at {service.url}")
    with step("waiting for the service's wallet-rpc processes"):
        async with EscrowApi(service.url, known.operator) as operator:
            await _until_slots_run(operator, board)
            with step("filling the stock"):
                await _until_stocked(operator, board)
    return service


async def _until_slots_run(operator: EscrowApi, board: Board) -> None:
    """Orders need not wait for this, but whoever watches sees what is there."""
    running, wanted = 0, LEAST_TRIOS * len(ROLES)
    while running < wanted:
        pool = (await operator.read("/admin/health"))["rpc_pool"]
        running = pool["total"] - pool["sick"]
        board.prepare("slots", f"{running} of {wanted} running" if running < wanted else f"{running} running")
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def _until_stocked(operator: EscrowApi, board: Board) -> None:
    """Wait until the wallets for the first orders are made: 2-of-3, behind the gate, nobody's yet."""
    ready = -1
    while ready < IN_STOCK:
        ready = (await operator.read("/admin/health"))["stock"]["ready"]
        board.prepare("stock", f"{ready} of {IN_STOCK} wallets made" if ready < IN_STOCK else f"{ready} wallets")
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
