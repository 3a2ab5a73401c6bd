"""What the rows run on: wallet-rpc processes, the real service as a process of its own, and callers of its API.

Everything is on loopback and of throw-away keys, and ends with the stack it was put on. Offline wallets of testnet
serve where no chain is needed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from monero_escrow.bench.run import BenchFailedError, side_by_side
from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.demo.service_process import ApiKeys, make_keys, service_environment, start_service
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.processes import ChildProcess, lasting_port, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.supervision import Supervisor
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.store import SqlStore

SHOP = "demo-shop"  # as the keys of demo/service_process.py name it
_STARTED_AT_ONCE = 10
_LIMITS = httpx2.Timeout(30.0, read=1_800.0)
_MADE = (200, 201)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Wallet-rpc processes with nothing open, in the order of their slots."""

    processes: tuple[ChildProcess, ...]

    @property
    def urls(self) -> str:
        """As MONERO_RPC_URLS takes them."""
        return ",".join(process.url for process in self.processes)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]


async def offline_fleet(
    stack: AsyncExitStack,
    programs: MoneroPrograms,
    folder: Path,
    count: int,
    supervisor: Supervisor | None = None,
    network: Network = Network.TESTNET,
) -> Fleet:
    """So many processes without a daemon, with the flags this project starts them with.

    A supervisor starts those that die again, at the same port and folder, and ends them.
    """

    async def start(index: int) -> ChildProcess:
        begin = partial(
            start_wallet_rpc,
            programs,
            folder / f"wallet-{index}",
            network=network,
            daemon_url=None,
            name=f"wallet-{index}",
            port=lasting_port(),
        )
        if supervisor is not None:
            return await supervisor.keep(f"wallet-{index}", begin)
        process = await begin()
        stack.push_async_callback(process.stop)
        return process

    return Fleet(tuple(await side_by_side([start(index) for index in range(count)], at_once=_STARTED_AT_ONCE)))


async def fleet_on(chain: PrivateChain, count: int) -> Fleet:
    """So many processes on a private chain, each with a folder of its own; the chain ends them, or its supervisor."""
    started = await side_by_side(
        [chain.wallet_rpc(f"slot-{index}") for index in range(count)], at_once=_STARTED_AT_ONCE
    )
    return Fleet(tuple(process for process, _ in started))


@dataclass(frozen=True, slots=True)
class Service:
    """The service as a process, and what a shop and the bench need to know of it."""

    process: ChildProcess
    shop: httpx2.AsyncClient = field(repr=False)
    keys: ApiKeys = field(repr=False)
    folder: Path
    network: Network

    @property
    def log(self) -> Path:
        """What it wrote, a JSON object a line."""
        return self.folder / "service.log"

    async def init_escrow(self, order_id: str | None = None) -> dict[str, Any]:
        """One order's escrow, with its address. Raises BenchFailedError for any answer without one."""
        answer = await self.shop.post(
            f"/api/orders/{order_id or new_order_id()}/init-escrow", json=order_terms(self.network)
        )
        if answer.status_code not in _MADE:
            raise BenchFailedError(f"init-escrow was answered with {answer.status_code}: {answer.text[:300]}")
        made: dict[str, Any] = answer.json()
        return made

    def open_store(self) -> SqlStore:
        """The service's own database, beside it: for reading what happened when. Close it in the end."""
        return store_in(self.folder, self.network)


def store_in(folder: Path, network: Network) -> SqlStore:
    """The database a service in this folder uses, made if it is not there; for planting rows before it starts."""
    key = bytes.fromhex((folder / "database.key").read_text())
    return open_sqlcipher(folder / "data" / "escrow.db", key, network)


def environment_in(folder: Path, network: Network, **settings: object) -> dict[str, str]:
    """Settings of a service in this folder, with a fresh database key, and without stock unless `settings` say so.

    Nothing of the user's own environment reaches it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = {name.upper(): str(value) for name, value in settings.items()}
    return {**service_environment(folder), "MONERO_NETWORK": network.value, "STOCK_TARGET": "0", **own}


async def start(
    stack: AsyncExitStack, folder: Path, environment: dict[str, str], keys: ApiKeys | None = None
) -> Service:
    """Start it and wait until it is ready. Requests wait for addresses as long as it takes."""
    keys = keys or await make_keys(folder, environment)
    waiting = {"REQUEST_WAIT_SECONDS": "1800", "LEASE_WAIT_SECONDS": "1800", "LOG_FORMAT": "json"}
    process = await start_service(folder, {**waiting, **environment}, lasting_port())
    stack.push_async_callback(process.stop)
    shop = await stack.enter_async_context(
        httpx2.AsyncClient(
            base_url=process.url,
            headers={"Authorization": f"Bearer {keys.shop}"},
            timeout=_LIMITS,
            limits=httpx2.Limits(max_connections=None),
            trust_env=False,
        )
    )
    return Service(process, shop, keys, folder, Network(environment["MONERO_NETWORK"]))


async def offline_service(
    stack: AsyncExitStack, fleet: Fleet, folder: Path, network: Network = Network.TESTNET, **settings: object
) -> Service:
    """The service on an offline fleet, without a daemon: it sets up, and its deposits wait."""
    environment = environment_in(folder, network, monero_rpc_urls=fleet.urls, **settings)
    return await start(stack, folder, environment)


def new_order_id() -> str:
    return f"bench-{secrets.token_hex(6)}"


def some_address(network: Network) -> str:
    """An address that nobody uses."""
    return WalletKeys.from_entropy(secrets.token_bytes(32), network).address


def order_terms(network: Network, amount_xmr: str = "1") -> dict[str, str]:
    """The body of an init-escrow request, for recipients that nobody is."""
    return {
        "amount": amount_xmr,
        "buyer_refund_address": some_address(network),
        "vendor_payout_address": some_address(network),
    }


async def timed(work: Awaitable[object]) -> float:
    """Seconds it takes."""
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun
