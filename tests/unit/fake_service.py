"""A whole service on the fake: real database, pool and conductor, a chain in memory, and people who order and pay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest.mock import patch

from monero_escrow import service
from monero_escrow.config import Settings, load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import Terms
from monero_escrow.core.roles import ROLES, role_of_slot
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.init_escrow import Order, init_escrow
from monero_escrow.escrows.views import EscrowView, escrow_view
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.fake.chain import Transaction as ChainTransaction
from monero_escrow.monero.fake.private_chain import FakePrivateChain
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.versions import MoneroVersion
from monero_escrow.monero.waiting import until
from unit.rows import XMR

CONFIRMATIONS = 10
_LIMIT_SECONDS = 30.0


def settings_of(folder: Path, processes: Sequence[FakeWalletRpc], **more: object) -> Settings:
    """Of a service on these processes, with short pauses."""
    settings = {
        "monero_network": "regtest",
        "monero_rpc_urls": ",".join(process.url for process in processes),
        "monero_daemon_url": "http://127.0.0.1:1",  # the fake is put in its place
        "db_encryption_key": "44" * 32,
        "data_dir": folder,
        "chain_poll_seconds": 0.02,
        "stock_target": 0,
    }
    return load_settings(**settings | more)


@dataclass
class Town:
    """The chain, and what runs on it."""

    chain: FakePrivateChain = field(
        default_factory=lambda: FakePrivateChain(Random(7), MoneroVersion.parse("0.18.5.3"), network=Network.REGTEST)
    )
    orders: int = 0

    def processes(self) -> list[FakeWalletRpc]:
        """Three fresh ones, with empty disks."""
        return [self.chain.wallet_rpc() for _ in ROLES]

    @asynccontextmanager
    async def service(self, settings: Settings, processes: Sequence[FakeWalletRpc]) -> AsyncIterator[Conductor]:
        """The service as `serve` runs it, but for its ports."""

        def slots_of(_settings: Settings, **_: object) -> list[Slot]:
            return [Slot(index, role_of_slot(index), process) for index, process in enumerate(processes)]

        with ExitStack() as stack:
            stack.enter_context(patch.object(service, "slots_of", slots_of))
            stack.enter_context(patch.object(service, "DaemonClient", lambda _url, **_: self.chain.daemon))
            async with service.running_service(settings) as conductor:
                yield conductor

    def address_of(self, name: str) -> str:
        """Somebody's address on this network, always the same for a name."""
        return WalletKeys.from_entropy(Random(name).randbytes(32), Network.REGTEST).address

    async def order(self, conductor: Conductor) -> str:
        """The id of a new escrow, which may not have its address yet."""
        self.orders += 1
        buyer, vendor = (self.address_of(f"{name} {self.orders}") for name in ("buyer", "vendor"))
        order = Order(f"order-{self.orders}", Terms(XMR, buyer, vendor))
        return (await init_escrow(conductor.ctx, "shop", order, "shop:test"))[0].id

    async def funded(self, conductor: Conductor) -> str:
        """An escrow whose deposit counts."""
        escrow_id = await self.order(conductor)
        address = (await reached(conductor, escrow_id, State.AWAITING_DEPOSIT)).escrow.deposit_address
        assert address is not None
        await self.chain.mine_until_spendable()
        await self.chain.miner.pay([(address, XMR)])
        await self.chain.mine(CONFIRMATIONS)
        await reached(conductor, escrow_id, State.FUNDED)
        return escrow_id

    def spenders(self, public_key: str) -> list[ChainTransaction]:
        """The mined transactions that spend an output."""
        mined = (tx for block in self.chain.chain.blocks_from(0) for tx in block.transactions)
        return [tx for tx in mined if public_key in tx.spends]


async def view(conductor: Conductor, escrow_id: str) -> EscrowView:
    return await conductor.ctx.store.read(lambda tx: escrow_view(tx, escrow_id))


async def reached(conductor: Conductor, escrow_id: str, state: State) -> EscrowView:
    """The escrow, once it is in this state."""

    async def there() -> bool:
        return (await view(conductor, escrow_id)).escrow.state is state

    await until(there, limit_seconds=_LIMIT_SECONDS)
    return await view(conductor, escrow_id)


async def payout_is(conductor: Conductor, escrow_id: str, *states: str) -> EscrowView:
    """The escrow, once its first payout is in one of these states."""

    async def there() -> bool:
        payouts = (await view(conductor, escrow_id)).payouts
        return bool(payouts) and payouts[0].state in states

    await until(there, limit_seconds=_LIMIT_SECONDS)
    return await view(conductor, escrow_id)
