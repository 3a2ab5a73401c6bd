"""A Monero chain of one's own: a regtest monerod, wallet-rpc processes on demand, and persons with plain wallets.

For the demo, the tests and the bench. Coins on it are worthless and its blocks are mined at will. Addresses carry
mainnet's prefixes. Leaving the context manager ends every process it started, whatever happened inside; with a
supervisor, that one starts them, starts them again when they die, and ends them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

from monero_escrow.core.address import Network
from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.person import Person, PlainWallet, until_relayed
from monero_escrow.monero.processes import ChildProcess, lasting_port, start_monerod_regtest, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.supervision import Start, Supervisor
from monero_escrow.monero.wallet_rpc import WalletRpcClient

__all__ = ["Person", "PrivateChain", "Progress", "until_relayed"]

# Told what is being done, and how far it is, about once a second.
Progress = Callable[[str], None]

MINED_COINS_LOCK_BLOCKS: Final = 60
COINS_LOCK_BLOCKS: Final = 10
# A ring hides among 16 outputs, and those of the first blocks unlock after 60: 77 blocks are the least that is enough.
SPENDABLE_CHAIN_BLOCKS: Final = 80
_BLOCKS_A_CALL: Final = 10


def _say_nothing(_what: str) -> None:
    return


class PrivateChain:
    """The chain and all its processes. `keep_chain` lets the blocks in `folder` outlive them, and a `supervisor` the
    processes their deaths.
    """

    def __init__(
        self,
        programs: MoneroPrograms,
        folder: Path,
        *,
        keep_chain: bool = False,
        on_progress: Progress = _say_nothing,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.programs = programs
        self.folder = folder
        self._keep_chain = keep_chain or supervisor is not None
        self._supervisor = supervisor
        self._on_progress = on_progress
        self._open = contextlib.AsyncExitStack()
        self._daemon: DaemonClient | None = None
        self._monerod: ChildProcess | None = None
        self._miner: Person | None = None

    @property
    def daemon(self) -> DaemonClient:
        if self._daemon is None:
            raise RuntimeError("The private chain is not running.")
        return self._daemon

    @property
    def monerod(self) -> ChildProcess:
        if self._monerod is None:
            raise RuntimeError("The private chain is not running.")
        return self._monerod

    @property
    def miner(self) -> Person:
        """The person all blocks pay to."""
        if self._miner is None:
            raise RuntimeError("The private chain is not running.")
        return self._miner

    async def __aenter__(self) -> PrivateChain:
        start = partial(
            start_monerod_regtest,
            self.programs,
            self.folder / "daemon",
            keep_chain=self._keep_chain,
            port=lasting_port(),
        )
        try:
            self._on_progress("starting a private chain")
            self._monerod = await self._running("monerod", start)
            self._daemon = DaemonClient(self._monerod.url)
            self._open.push_async_callback(self._daemon.aclose)
            self._miner = await self.person("miner")
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def _running(self, name: str, start: Start) -> ChildProcess:
        """Started, and ended with the chain or by the supervisor."""
        if self._supervisor is not None:
            return await self._supervisor.keep(name, start)
        return await self._open.enter_async_context(await start())

    async def wallet_rpc(
        self,
        name: str,
        *,
        called: str | None = None,
        wallet_dir: Path | None = None,
        port: int | None = None,
        credentials: Credentials | None = None,
    ) -> tuple[ChildProcess, WalletRpcClient]:
        """A further wallet-rpc process on this chain with nothing open, and a client of it. `name` is its folder's,
        `called` what people are told.
        """
        process = await self._wallet_process(name, called or name, wallet_dir, port, credentials)
        client = WalletRpcClient(process.url, credentials=credentials)
        self._open.push_async_callback(client.aclose)
        return process, client

    async def _wallet_process(
        self, name: str, called: str, wallet_dir: Path | None, port: int | None, credentials: Credentials | None
    ) -> ChildProcess:
        start = partial(
            start_wallet_rpc,
            self.programs,
            self.folder / name,
            network=Network.REGTEST,
            daemon_url=self.monerod.url,
            name=name,
            wallet_dir=wallet_dir,
            port=lasting_port() if port is None else port,
            credentials=credentials,
        )
        return await self._running(called, start)

    async def person(self, name: str) -> Person:
        """Somebody new with an empty wallet; on a kept chain, the one of that name from before."""
        process = await self._wallet_process(f"person-{name}", f"the {name}'s wallet", None, None, None)
        wallet = PlainWallet(process.url)
        self._open.push_async_callback(wallet.aclose)
        return await Person.arrives(name, wallet, process, self.daemon)

    async def mine(self, blocks: int) -> None:
        """Mine to the miner, about 0.1 s a block. The first block takes in what waits in the pool."""
        await until_relayed(self.daemon)
        told = time.monotonic()
        mined = 0
        while mined < blocks:
            some = min(_BLOCKS_A_CALL, blocks - mined)
            await self.daemon.generate_blocks(some, self.miner.address)
            mined += some
            if time.monotonic() - told >= 1.0:
                told = time.monotonic()
                self._on_progress(f"mining: {mined} of {blocks} blocks")

    async def mine_until_spendable(self) -> None:
        """Mine until the miner's first coins are unlocked and a transfer finds enough others to hide among."""
        height = (await self.daemon.get_info()).height
        await self.mine(max(0, SPENDABLE_CHAIN_BLOCKS - height))

    async def reorganise(self, depth_blocks: int, *, drop_pool: bool = False) -> None:
        """Take the last blocks off and mine one more than that, as a longer fork would.

        Their transactions go back to the pool and are mined again, unless `drop_pool` forgets them.
        """
        await self.daemon.pop_blocks(depth_blocks)
        if drop_pool:
            await self.daemon.flush_txpool()
        await self.mine(depth_blocks + 1)
