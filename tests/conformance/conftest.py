"""What the conformance cases run on: real Monero processes, once for every version on this machine, and the fake.

Cases about what both must do take `subject`, `offline`, `idle`, `chain` or `trio`, and run on all. Cases about what
only a real process has, its wire above all, take `programs`, `start_offline` or `real_offline`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from conformance.subjects import Chain, ChainInMemory, OfflineProcesses, RealChain, Subject
from conformance.trio import Trio, make_trio
from conftest import installed_programs
from monero_escrow.core.address import Network
from monero_escrow.monero.fake.alarms import NonceLedger
from monero_escrow.monero.ports import WalletRpc
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.processes import ChildProcess, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms, ProgramsMissingError
from monero_escrow.monero.versions import MoneroVersion
from monero_escrow.monero.wallet_rpc import WalletRpcClient

StartOffline = Callable[..., Awaitable[tuple[ChildProcess, WalletRpcClient]]]

# The fake is of versions, whatever is installed: one on each side of the nonces that are written down.
FAKES = [Subject(MoneroVersion.parse(version)) for version in ("0.18.5.3", "0.18.4.0")]


def _subjects() -> list[Subject | None]:
    return [*FAKES, *(Subject(found.version, found) if found else None for found in installed_programs())]


@pytest.fixture(scope="session", params=_subjects(), ids=lambda subject: str(subject or "no-monero"))
def subject(request: pytest.FixtureRequest) -> Subject:
    """What a case runs on."""
    if request.param is None:
        pytest.fail(ProgramsMissingError.what_to_do)
    subject: Subject = request.param
    return subject


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def offline(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OfflineProcesses]:
    """Starts wallet-rpc processes without a daemon; all are stopped at the end."""
    processes = OfflineProcesses(subject, lambda: tmp_path_factory.mktemp("offline"))
    yield processes
    await processes.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def idle(offline: OfflineProcesses) -> WalletRpc:
    """One process without a daemon. Tests leave nothing open in it."""
    return (await offline.start()).client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chain_and_trio(
    subject: Subject, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Chain, Trio]]:
    if subject.programs is None:
        ledger = NonceLedger(second_proposals_allowed=True)
        in_memory = ChainInMemory(Random(1), subject.version, ledger=ledger)
        await in_memory.mine_until_spendable()
        yield in_memory, await _trio_on(in_memory)
        return
    async with PrivateChain(subject.programs, tmp_path_factory.mktemp("chain")) as real:
        chain = RealChain(real)
        trio, _ = await asyncio.gather(_trio_on(chain), chain.mine_until_spendable())
        yield chain, trio


async def _trio_on(chain: Chain) -> Trio:
    return await make_trio([await chain.process() for _ in range(3)], Network.REGTEST)


@pytest.fixture(scope="session")
def chain(chain_and_trio: tuple[Chain, Trio]) -> Chain:
    """A private chain on which the miner can spend."""
    return chain_and_trio[0]


@pytest.fixture(scope="session")
def trio(chain_and_trio: tuple[Chain, Trio]) -> Trio:
    """Three finished 2-of-3 wallets on the chain, each open in a process of its own."""
    return chain_and_trio[1]


# --- real processes only ---


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def start_offline(
    programs: MoneroPrograms, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[StartOffline]:
    """Start real wallet-rpc processes without a daemon; all are stopped at the end."""
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
async def real_offline(start_offline: StartOffline) -> WalletRpcClient:
    """One real process without a daemon. Tests leave nothing open in it."""
    return (await start_offline())[1]
