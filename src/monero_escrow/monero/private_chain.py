"""A Monero chain of one's own: a regtest monerod, wallet-rpc processes on demand, and persons with plain wallets.

For the demo, the tests and the bench. Coins on it are worthless and its blocks are mined at will. Addresses carry
mainnet's prefixes. Leaving the context manager ends every process it started, whatever happened inside.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from monero_escrow.core.address import Network
from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.errors import WalletExistsError
from monero_escrow.monero.ports import WalletTransfer
from monero_escrow.monero.processes import ChildProcess, start_monerod_regtest, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.waiting import until
from monero_escrow.monero.wallet_rpc import WalletRpcClient

# Told what is being done, and how far it is, about once a second.
Progress = Callable[[str], None]

MINED_COINS_LOCK_BLOCKS: Final = 60
COINS_LOCK_BLOCKS: Final = 10
# A ring hides among 16 outputs, and those of the first blocks unlock after 60: 77 blocks are the least that is enough.
SPENDABLE_CHAIN_BLOCKS: Final = 80
_BLOCKS_A_CALL: Final = 10
_RELAY_LIMIT_SECONDS: Final = 60.0
_PERSON_PASSWORD: Final = "a person on a private chain"  # noqa: S105 - protects worthless coins


def _say_nothing(_what: str) -> None:
    return


async def until_relayed(daemon: DaemonClient) -> None:
    """Wait, milliseconds as a rule, until the next block will take in all that is in the pool."""

    async def all_passed_on() -> bool:
        return not await daemon.unrelayed_txids()

    await until(all_passed_on, limit_seconds=_RELAY_LIMIT_SECONDS, poll_seconds=0.01)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a plain wallet: a miner, a buyer who pays a deposit, a vendor who is paid."""

    name: str
    address: str
    wallet: WalletRpcClient
    process: ChildProcess
    daemon: DaemonClient

    async def pay(self, destinations: Sequence[tuple[str, int]], *, priority: int = 1) -> str:
        """Pay each (address, piconero) at once; answers the txid. Everyone sees it in the pool, where it awaits a
        block.
        """
        await self.wallet.refresh()
        txid, _fee_piconero = await self.wallet.transfer_now(destinations, priority=priority)
        await until_relayed(self.daemon)
        return txid

    async def balance_piconero(self) -> int:
        """Everything the wallet owns, locked coins included."""
        await self.wallet.refresh()
        return (await self.wallet.get_balance()).balance_piconero

    async def unlocked_piconero(self) -> int:
        """What the wallet could spend now."""
        await self.wallet.refresh()
        return (await self.wallet.get_balance()).unlocked_piconero

    async def received(self) -> list[WalletTransfer]:
        """The incoming transactions that are mined, as this person's own wallet reads them from the chain."""
        await self.wallet.refresh()
        return await self.wallet.get_transfers()


class PrivateChain:
    """The chain and all its processes. `keep_chain` lets the blocks in `folder` outlive them."""

    def __init__(
        self,
        programs: MoneroPrograms,
        folder: Path,
        *,
        keep_chain: bool = False,
        on_progress: Progress = _say_nothing,
    ) -> None:
        self.programs = programs
        self.folder = folder
        self._keep_chain = keep_chain
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
        try:
            self._on_progress("starting a private chain")
            self._monerod = await self._open.enter_async_context(
                await start_monerod_regtest(self.programs, self.folder / "daemon", keep_chain=self._keep_chain)
            )
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

    async def wallet_rpc(
        self,
        name: str,
        *,
        wallet_dir: Path | None = None,
        port: int | None = None,
        credentials: Credentials | None = None,
    ) -> tuple[ChildProcess, WalletRpcClient]:
        """A further wallet-rpc process on this chain with nothing open, and a client of it."""
        process = await self._open.enter_async_context(
            await start_wallet_rpc(
                self.programs,
                self.folder / name,
                network=Network.REGTEST,
                daemon_url=self.monerod.url,
                name=name,
                wallet_dir=wallet_dir,
                port=port,
                credentials=credentials,
            )
        )
        client = WalletRpcClient(process.url, credentials=credentials)
        self._open.push_async_callback(client.aclose)
        return process, client

    async def person(self, name: str) -> Person:
        """Somebody new with an empty wallet; on a kept chain, the one of that name from before."""
        process, wallet = await self.wallet_rpc(f"person-{name}")
        await wallet.auto_refresh(False)
        try:
            await wallet.create_wallet(name, _PERSON_PASSWORD)
        except WalletExistsError:
            await wallet.open_wallet(name, _PERSON_PASSWORD)
        return Person(name, await wallet.get_address(), wallet, process, self.daemon)

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
