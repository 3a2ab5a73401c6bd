"""What the soak runs on: a private chain, slots and daemon behind proxies, people with wallets, and the service.

All of it is kept running by the supervisor the demo uses; only the service and the slots hear through the proxies. With
`managed` the service runs its own wallet-rpc processes, as many as the load wants, and only its daemon is behind one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from monero_escrow.core.roles import ROLES, Role
from monero_escrow.demo.api import EscrowApi
from monero_escrow.demo.people import Miner, Purse
from monero_escrow.demo.service_process import ApiKeys, make_keys, service_environment, start_service
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.processes import ChildProcess, lasting_port
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.supervision import Patience, Supervisor
from soak.proxy import Proxy
from soak.storm import Slot, Storm

# Here dying is no sign of a fault: the storm kills as often as it likes.
_PATIENCE: Final = Patience(longest_pause_seconds=1.0, most_deaths=100_000)
_SILENCE_LIMIT_SECONDS: Final = 240.0
_SETTINGS: Final = {
    "CHAIN_POLL_SECONDS": "1",
    "REQUEST_WAIT_SECONDS": "5",
    "LEASE_WAIT_SECONDS": "30",
    "STOCK_TARGET": "2",
}


@dataclass(frozen=True, slots=True)
class Market:
    """Everything an order needs, and what the books are read from at the end, whatever the service runs on."""

    chain: PrivateChain
    miner: Miner
    buyer: Purse
    vendor: Purse
    market: Purse
    shop: EscrowApi
    arbiter: EscrowApi
    operator: EscrowApi


@dataclass(frozen=True, slots=True)
class World(Market):
    """One service on a database of its own."""

    service: ChildProcess
    supervisor: Supervisor
    key_file: Path


@asynccontextmanager
async def running_world(
    programs: MoneroPrograms,
    folder: Path,
    storm: Storm,
    slots_a_class: int,
    say: Callable[[str], None],
    *,
    managed: bool = False,
) -> AsyncIterator[World]:
    """All of it started, and ended again. The storm is told what to blow over."""
    proxies: dict[ChildProcess, Proxy] = {}
    listening: set[asyncio.Task[None]] = set()

    def on_restart(child: ChildProcess) -> None:
        proxy = proxies.get(child)
        if proxy is not None:
            task = asyncio.create_task(proxy.listen())
            listening.add(task)
            task.add_done_callback(listening.discard)

    async with AsyncExitStack() as stack:
        supervisor = Supervisor(on_restart, _PATIENCE)
        stack.push_async_callback(supervisor.aclose)

        async def behind_proxy(child: ChildProcess) -> Proxy:
            proxy = proxies[child] = Proxy(child.name, child.url, lasting_port(), storm.watch)
            stack.push_async_callback(proxy.aclose)
            await proxy.listen()
            return proxy

        say(f"starting a private chain on Monero {programs.version}, {slots_a_class} slots a class and the service")
        chain = await stack.enter_async_context(PrivateChain(programs, folder / "monero", supervisor=supervisor))
        daemon_proxy = await behind_proxy(chain.monerod)

        async def slot(role: Role, number: int) -> Slot:
            name, disk = f"slot-{role}-{number}", folder / "wallets" / f"{role}-{number}"
            child, _ = await chain.wallet_rpc(name, called=f"{role} slot {number}", wallet_dir=disk)
            return Slot(child, await behind_proxy(child), disk)

        numbers = range(1, slots_a_class + 1)
        starts = [] if managed else [slot(role, number) for number in numbers for role in ROLES]
        people = [chain.person(name) for name in ("buyer", "vendor", "market")]
        slots, persons = await asyncio.gather(asyncio.gather(*starts), asyncio.gather(*people))
        buyer, vendor, market = map(Purse, persons)
        miner = Miner(chain.daemon, chain.miner.address)
        environment = {
            **service_environment(folder),
            **_SETTINGS,
            **(_own_fleet(programs, slots_a_class) if managed else _listed(slots)),
            "MONERO_DAEMON_URL": daemon_proxy.url,
        }

        async def serving() -> tuple[ApiKeys, ChildProcess]:
            keys = await make_keys(folder, environment)
            return keys, await supervisor.keep(
                "the service", partial(start_service, folder, environment, lasting_port())
            )

        mined = miner.first_coins(buyer.owner.address, lambda _mined, _all: None)
        (keys, service), _ = await asyncio.gather(serving(), mined)
        storm.over(service, chain.monerod, daemon_proxy, slots, folder / "data" / "fleet" if managed else None)
        shop, arbiter, operator = [await stack.enter_async_context(api) for api in callers([service.url], keys)]
        yield World(
            chain=chain,
            miner=miner,
            buyer=buyer,
            vendor=vendor,
            market=market,
            service=service,
            supervisor=supervisor,
            key_file=Path(environment["DB_ENCRYPTION_KEY_FILE"]),
            shop=shop,
            arbiter=arbiter,
            operator=operator,
        )


def _listed(slots: Sequence[Slot]) -> dict[str, str]:
    return {"MONERO_RPC_URLS": ",".join(slot.proxy.url for slot in slots)}


def _own_fleet(programs: MoneroPrograms, most_trios: int) -> dict[str, str]:
    """Sizes and pauses with which it grows and shrinks while the storm blows."""
    return {
        "MONERO_BIN_DIR": str(programs.folder),
        "FLEET_MIN_TRIOS": "2",
        "FLEET_MAX_TRIOS": str(max(2, most_trios)),
        "FLEET_QUIET_SECONDS": "15",
    }


def callers(urls: Sequence[str], keys: ApiKeys) -> list[EscrowApi]:
    """Shop, arbiter and operator, who ask whichever of these answers."""
    return [
        EscrowApi(urls, key, silence_limit_seconds=_SILENCE_LIMIT_SECONDS)
        for key in (keys.shop, keys.arbiter, keys.operator)
    ]
