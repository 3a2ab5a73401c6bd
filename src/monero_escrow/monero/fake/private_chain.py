"""A whole private chain in memory: a daemon, wallet-rpc processes on demand, and persons with plain wallets.

The counterpart of `monero/private_chain.py`, with the same words for the same things. Everything that happens on it
follows from the `Random` it is given and the calls made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from monero_escrow.core.address import Network
from monero_escrow.monero.fake.alarms import NonceLedger
from monero_escrow.monero.fake.chain import FakeChain
from monero_escrow.monero.fake.daemon import FakeDaemon
from monero_escrow.monero.fake.faults import FaultPlan, no_faults
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.ports import WalletTransfer
from monero_escrow.monero.versions import MoneroVersion

SPENDABLE_CHAIN_BLOCKS: Final = 80
_FIRST_PORT: Final = 40_000


@dataclass(frozen=True, slots=True)
class FakePerson:
    """Somebody with a plain wallet. No fault plan reaches a person's wallet."""

    name: str
    address: str
    wallet: FakeWalletRpc

    async def pay(self, destinations: Sequence[tuple[str, int]], *, priority: int = 1) -> str:
        """Pay each (address, piconero) at once; answers the txid."""
        await self.wallet.refresh()
        return (await self.wallet.transfer_now(destinations, priority=priority))[0]

    async def balance_piconero(self) -> int:
        """Everything the wallet owns, locked coins included."""
        await self.wallet.refresh()
        return (await self.wallet.get_balance()).balance_piconero

    async def received(self) -> list[WalletTransfer]:
        """The incoming transactions that are mined."""
        await self.wallet.refresh()
        return await self.wallet.get_transfers()


class FakePrivateChain:
    """The chain and all that runs on it. `now` gives the blocks' times; `faults` is every process's plan."""

    def __init__(
        self,
        rng: Random,
        version: MoneroVersion,
        *,
        network: Network = Network.REGTEST,
        ledger: NonceLedger | None = None,
        faults: FaultPlan = no_faults,
        now: Callable[[], float] | None = None,
    ) -> None:
        self.chain = FakeChain(rng, network=network, now=now)
        self.ledger = ledger or NonceLedger()
        self.version = version
        self._rng = rng
        self._faults = faults
        self._ports = _FIRST_PORT
        self._miner: FakePerson | None = None
        self.daemon = FakeDaemon(self._next_url(), self.chain, version, faults=faults)

    @property
    def miner(self) -> FakePerson:
        """The person all blocks pay to; RuntimeError before the first `mine`."""
        if self._miner is None:
            raise RuntimeError("Nobody has mined on this chain yet.")
        return self._miner

    def wallet_rpc(self, *, disk: FakeDisk | None = None, faults: FaultPlan | None = None) -> FakeWalletRpc:
        """A further process with nothing open, on a disk of its own unless one is given."""
        return FakeWalletRpc(
            self._next_url(),
            FakeDisk() if disk is None else disk,
            self._rng,
            network=self.chain.network,
            version=self.version,
            chain=self.chain,
            ledger=self.ledger,
            faults=self._faults if faults is None else faults,
        )

    async def person(self, name: str) -> FakePerson:
        """Somebody new with an empty wallet."""
        wallet = self.wallet_rpc(faults=no_faults)
        await wallet.create_wallet(name, "")
        return FakePerson(name, await wallet.get_address(), wallet)

    async def mine(self, blocks: int, *, empty: bool = False) -> None:
        """Mine to the miner. The first block takes in what waits in the pool, unless all are to be `empty`."""
        if self._miner is None:
            self._miner = await self.person("miner")
        for _ in range(blocks):
            self.chain.mine(self._miner.address, empty=empty)

    async def mine_until_spendable(self) -> None:
        """Mine until the miner's first coins are unlocked."""
        await self.mine(max(0, SPENDABLE_CHAIN_BLOCKS - self.chain.height))

    async def reorganise(self, depth_blocks: int, *, drop_pool: bool = False) -> None:
        """Take the last blocks off and mine one more than that, as a longer fork would.

        Their transactions go back to the pool and are mined again, unless `drop_pool` forgets them.
        """
        self.chain.pop(depth_blocks)
        if drop_pool:
            self.chain.forget_pool()
        await self.mine(depth_blocks + 1)

    def _next_url(self) -> str:
        self._ports += 1
        return f"http://127.0.0.1:{self._ports}"
