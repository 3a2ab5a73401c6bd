"""What the cases run on: the real programs of one version, or the fake of that version, behind the same few words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

from monero_escrow.core.address import Network
from monero_escrow.monero.fake.alarms import NonceLedger
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.private_chain import FakePrivateChain
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.ports import Daemon, WalletRpc, WalletTransfer
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.processes import ChildProcess, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.versions import MoneroVersion
from monero_escrow.monero.wallet_rpc import WalletRpcClient

Folder = Path | FakeDisk


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tested: a version, and its programs; without programs, the fake of it."""

    version: MoneroVersion
    programs: MoneroPrograms | None = None

    def __str__(self) -> str:
        return f"{self.version}" if self.programs else f"fake-{self.version}"


class WalletProcess(Protocol):
    """A wallet-rpc process that can be killed. `client` is another one after that."""

    @property
    def client(self) -> WalletRpc: ...
    async def kill_and_start_again(self) -> WalletRpc:
        """SIGKILL, and a new process on the same folder with nothing open."""
        ...


class Payer(Protocol):
    """Somebody with a plain wallet."""

    @property
    def address(self) -> str: ...
    @property
    def wallet(self) -> WalletRpc: ...
    async def pay(self, destinations: Sequence[tuple[str, int]]) -> str: ...
    async def balance_piconero(self) -> int: ...
    async def received(self) -> list[WalletTransfer]: ...


class Chain(Protocol):
    """A private chain."""

    @property
    def daemon(self) -> Daemon: ...
    @property
    def miner(self) -> Payer: ...
    async def process(self) -> WalletProcess: ...
    async def person(self, name: str) -> Payer: ...
    async def mine(self, blocks: int) -> None: ...
    async def mine_until_spendable(self) -> None: ...
    async def reorganise(self, depth_blocks: int, *, drop_pool: bool = False) -> None: ...


@dataclass
class FakeWalletProcess:
    """A fake one."""

    client: FakeWalletRpc

    async def kill_and_start_again(self) -> FakeWalletRpc:
        self.client.kill()
        self.client.start()
        return self.client


@dataclass
class RealWalletProcess:
    """A real one; `start` starts a further process on the same folder."""

    start: Callable[[], Awaitable[tuple[ChildProcess, WalletRpcClient]]]
    child: ChildProcess
    client: WalletRpcClient

    async def kill_and_start_again(self) -> WalletRpcClient:
        await self.client.aclose()
        await self.child.kill()
        self.child, self.client = await self.start()
        await self.client.auto_refresh(False)
        return self.client


class RealChain:
    """The private chain of a `PrivateChain`, with processes that can be killed."""

    def __init__(self, real: PrivateChain) -> None:
        self._real = real
        self._started = 0

    @property
    def daemon(self) -> Daemon:
        return self._real.daemon

    @property
    def miner(self) -> Payer:
        return self._real.miner

    async def process(self) -> WalletProcess:
        folder = self._real.folder / f"wallets-{self._started}"

        async def start() -> tuple[ChildProcess, WalletRpcClient]:
            self._started += 1
            return await self._real.wallet_rpc(f"process-{self._started}", wallet_dir=folder)

        process = RealWalletProcess(start, *await start())
        await process.client.auto_refresh(False)
        return process

    async def person(self, name: str) -> Payer:
        return await self._real.person(name)

    async def mine(self, blocks: int) -> None:
        await self._real.mine(blocks)

    async def mine_until_spendable(self) -> None:
        await self._real.mine_until_spendable()

    async def reorganise(self, depth_blocks: int, *, drop_pool: bool = False) -> None:
        await self._real.reorganise(depth_blocks, drop_pool=drop_pool)


class ChainInMemory(FakePrivateChain):
    """The fake one. As Monero does, it lets a wallet propose twice on one export."""

    async def process(self) -> FakeWalletProcess:
        return FakeWalletProcess(self.wallet_rpc())


@dataclass
class OfflineProcesses:
    """Starts wallet-rpc processes without a daemon, on testnet."""

    subject: Subject
    make_folder: Callable[[], Path]
    chance: Random = field(default_factory=lambda: Random(1))
    real: list[RealWalletProcess] = field(default_factory=list)

    def folder(self) -> Folder:
        """An empty wallet folder, for one process or several."""
        return self.make_folder() if self.subject.programs else FakeDisk()

    async def start(self, folder: Folder | None = None) -> WalletProcess:
        """A process with nothing open."""
        wallets = self.folder() if folder is None else folder
        if isinstance(wallets, FakeDisk):
            return self._fake(wallets)
        programs = self.subject.programs
        assert programs is not None

        async def start() -> tuple[ChildProcess, WalletRpcClient]:
            child = await start_wallet_rpc(
                programs, self.make_folder(), network=Network.TESTNET, daemon_url=None, wallet_dir=wallets
            )
            return child, WalletRpcClient(child.url)

        process = RealWalletProcess(start, *await start())
        self.real.append(process)
        return process

    def _fake(self, disk: FakeDisk) -> FakeWalletProcess:
        offline = FakeWalletRpc(
            "http://127.0.0.1:1",
            disk,
            self.chance,
            network=Network.TESTNET,
            version=self.subject.version,
            ledger=NonceLedger(),
        )
        return FakeWalletProcess(offline)

    async def stop(self) -> None:
        for process in self.real:
            await process.client.aclose()
            await process.child.stop()
