"""What runs while the demo runs: a private chain, the people's wallets, six wallet-rpc slots and the service.

Everything is started side by side and kept running by a supervisor: whatever dies, be it killed, is started again at
the same place, and goes on. The supervisor ends all of it, whatever happens. No process is looked up or ended by name.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from monero_escrow.core.roles import ROLES, Role
from monero_escrow.demo.api import EscrowApi
from monero_escrow.demo.board import Board
from monero_escrow.demo.failures import step
from monero_escrow.demo.people import Miner, Purse
from monero_escrow.demo.service_process import ApiKeys, make_keys, service_environment, start_service
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.processes import ChildProcess, lasting_port
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.supervision import Supervisor

SLOTS_A_CLASS: Final = 2
"""With two, a set-up or payout goes on elsewhere while a process that died is away."""
_SERVICE_GRACE_SECONDS: Final = 3.0


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
        urls = side_by_side.create_task(_slots(chain, folder, board))
        service = side_by_side.create_task(_service(chain, folder, environment, keys, urls, board, supervisor))
    miner, buyer, vendor = people.result()
    url, known = service.result().url, keys.result()
    board.prepared(f"a private chain, {len(urls.result())} slots, people's wallets, the service at {url}")
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


async def _slots(chain: PrivateChain, folder: Path, board: Board) -> list[str]:
    """So many wallet-rpc processes a role, nothing open; in the order of their roles.

    Those of a class share a folder, so that neither has to rebuild what the other made. A wallet is open in one of
    them at a time, and that one's death sets it free.
    """

    async def start(role: Role, number: int) -> str:
        name = f"slot-{role.value}-{number}"
        process, _ = await chain.wallet_rpc(
            name, called=f"{role.value} slot {number}", wallet_dir=folder / "wallets" / role.value
        )
        return process.url

    with step("starting the service's wallet-rpc processes"):
        async with asyncio.TaskGroup() as side_by_side:
            starts = [
                side_by_side.create_task(start(role, number))
                for number in range(1, SLOTS_A_CLASS + 1)
                for role in ROLES
            ]
    board.prepare("slots", f"{len(starts)} running")
    return [started.result() for started in starts]


async def _service(
    chain: PrivateChain,
    folder: Path,
    environment: dict[str, str],
    keys: asyncio.Task[ApiKeys],
    urls: asyncio.Task[list[str]],
    board: Board,
    supervisor: Supervisor,
) -> ChildProcess:
    await keys
    rpc_urls = ",".join(await urls)
    with step("starting the service"):
        board.prepare("service", "starting")
        settings = {**environment, "MONERO_RPC_URLS": rpc_urls, "MONERO_DAEMON_URL": chain.monerod.url}
        start = partial(start_service, folder, settings, lasting_port())
        # In the end it would let requests finish first, and what it is asked to finish, nobody waits for any more.
        service = await supervisor.keep("the service", start, grace_seconds=_SERVICE_GRACE_SECONDS)
    board.prepare("service", f"ready at {service.url}")
    return service
