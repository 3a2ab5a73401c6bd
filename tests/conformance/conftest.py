"""Real Monero processes for the conformance tests, once for every version of Monero on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from conformance.trio import Trio, make_trio
from monero_escrow.core.address import Network
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.processes import ChildProcess, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.wallet_rpc import WalletRpcClient

StartOffline = Callable[..., Awaitable[tuple[ChildProcess, WalletRpcClient]]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def start_offline(
    programs: MoneroPrograms, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[StartOffline]:
    """Start wallet-rpc processes without a daemon; all are stopped at the end."""
    started: list[tuple[ChildProcess, WalletRpcClient]] = []

    async def start(wallet_dir: Path | None = None) -> tuple[ChildProcess, WalletRpcClient]:
        folder = tmp_path_factory.mktemp("offline")
        process = await start_wallet_rpc(
            programs, folder, network=Network.TESTNET, daemon_url=None, wallet_dir=wallet_dir
        )
        started.append((process, WalletRpcClient(process.url)))
        return started[-1]

    yield start
    for process, client in started:
        await client.aclose()
        await process.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def offline(start_offline: StartOffline) -> WalletRpcClient:
    """One process without a daemon. Tests leave nothing open in it."""
    return (await start_offline())[1]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chain_and_trio(
    programs: MoneroPrograms, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[PrivateChain, Trio]]:
    async with PrivateChain(programs, tmp_path_factory.mktemp("chain")) as chain:
        trio, _ = await asyncio.gather(_trio_on(chain), chain.mine_until_spendable())
        yield chain, trio


async def _trio_on(chain: PrivateChain) -> Trio:
    clients = [(await chain.wallet_rpc(f"trio-{role}"))[1] for role in ("buyer", "vendor", "arbiter")]
    for client in clients:
        await client.auto_refresh(False)
    return await make_trio(clients, Network.REGTEST)


@pytest.fixture(scope="session")
def chain(chain_and_trio: tuple[PrivateChain, Trio]) -> PrivateChain:
    """A private chain on which the miner can spend."""
    return chain_and_trio[0]


@pytest.fixture(scope="session")
def trio(chain_and_trio: tuple[PrivateChain, Trio]) -> Trio:
    """Three finished 2-of-3 wallets on the chain, each open in a process of its own."""
    return chain_and_trio[1]
