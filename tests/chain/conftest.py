"""A whole service on a private chain: real monerod, real wallet-rpc processes, real SQLCipher, blocks mined at will."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import update

from monero_escrow.config import Settings, load_settings
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import Terms
from monero_escrow.core.roles import ROLES
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.decide import Decision
from monero_escrow.escrows.init_escrow import Order, init_escrow
from monero_escrow.escrows.views import EscrowView, escrow_view
from monero_escrow.monero.private_chain import Person, PrivateChain
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.waiting import until
from monero_escrow.service import running_service
from monero_escrow.store.schema import escrows

XMR = 10**12
CONFIRMATIONS = 10
_LONGEST_WAIT_SECONDS = 90.0


@dataclass
class Shop:
    """A shop on the private chain: it orders, the miner pays, and two receivers read what they got from the chain."""

    chain: PrivateChain
    conductor: Conductor
    receiver: Person
    orders: int = 0
    addresses: dict[str, int] = field(default_factory=dict)

    @property
    def ctx(self) -> Context:
        return self.conductor.ctx

    async def new_address(self) -> str:
        """A fresh subaddress of the receiver, so that what it gets can be told apart."""
        address = await self.receiver.wallet.create_address()
        self.addresses[address] = len(self.addresses) + 1
        return address

    async def order(self, amount: int = XMR, *, deposit_window_seconds: float | None = None, **terms: object) -> str:
        """An escrow with its address ready."""
        escrow_id = await self.begin(amount, deposit_window_seconds=deposit_window_seconds, **terms)
        await self.conductor.wait_while(escrow_id, State.SETTING_UP, _LONGEST_WAIT_SECONDS)
        view = await self.view(escrow_id)
        assert view.escrow.state is State.AWAITING_DEPOSIT, view.escrow.trouble
        return escrow_id

    async def begin(self, amount: int = XMR, *, deposit_window_seconds: float | None = None, **terms: object) -> str:
        """An escrow whose set-up has begun."""
        self.orders += 1
        addresses = {
            "buyer_refund_address": await self.new_address(),
            "vendor_payout_address": await self.new_address(),
        }
        order = Order(f"order-{self.orders}", Terms(amount, **{**addresses, **terms}), deposit_window_seconds)  # type: ignore[arg-type]
        return (await init_escrow(self.ctx, "shop", order, "shop:test"))[0].id

    async def view(self, escrow_id: str) -> EscrowView:
        return await self.ctx.store.read(lambda tx: escrow_view(tx, escrow_id))

    async def pay(self, escrow_id: str, *amounts: int) -> str:
        """The buyer pays these amounts to the deposit address, in one transaction."""
        address = (await self.view(escrow_id)).escrow.deposit_address
        assert address is not None
        return await self.chain.miner.pay([(address, amount) for amount in amounts])

    async def look_at(self, escrow_id: str) -> None:
        """Let the service look at an escrow now, instead of at the next sweep."""
        due = update(escrows).where(escrows.c.id == escrow_id).values(due_at=0.0, wakes=escrows.c.wakes + 1)
        await self.ctx.store.write(lambda tx: tx.connection.execute(due))
        self.conductor.nudge(escrow_id)

    async def look_at_closed(self, escrow_id: str) -> None:
        """The same; coins that came late are found that way."""
        await self.look_at(escrow_id)

    async def decide(self, escrow_id: str, decision: Decision) -> None:
        await self.ctx.store.write(decision)
        self.conductor.nudge(escrow_id)

    async def until(self, escrow_id: str, state: State) -> EscrowView:
        """Wait until the escrow is in this state."""

        async def there() -> bool:
            return (await self.view(escrow_id)).escrow.state is state

        try:
            await until(there, limit_seconds=_LONGEST_WAIT_SECONDS)
        except TimeoutError:
            view = await self.view(escrow_id)
            pytest.fail(f"{view.escrow.state} instead of {state}: {view.waits_for}")
        return await self.view(escrow_id)

    async def until_settled(self, escrow_id: str, payouts: int = 1) -> EscrowView:
        """Mine as payouts are broadcast, until so many are settled."""

        async def broadcast() -> bool:
            view = await self.view(escrow_id)
            return len(view.payouts) >= payouts and all(
                payout.state in ("broadcast", "settled", "held") for payout in view.payouts
            )

        async def settled() -> bool:
            return all(payout.state == "settled" for payout in (await self.view(escrow_id)).payouts)

        try:
            await until(broadcast, limit_seconds=_LONGEST_WAIT_SECONDS)
            await self.chain.mine(CONFIRMATIONS)
            await until(settled, limit_seconds=_LONGEST_WAIT_SECONDS)
        except TimeoutError:
            view = await self.view(escrow_id)
            pytest.fail(f"not settled: {view.waits_for} {[payout.state for payout in view.payouts]}")
        return await self.view(escrow_id)

    async def funded(self, amount: int = XMR, *paid: int, **terms: object) -> str:
        """An escrow that is funded with these payments (by default the amount)."""
        escrow_id = await self.order(amount, **terms)  # type: ignore[arg-type]
        await self.pay(escrow_id, *(paid or (amount,)))
        await self.chain.mine(CONFIRMATIONS)
        await self.until(escrow_id, State.FUNDED)
        return escrow_id

    @contextmanager
    def before_the_first(self, method: str, act: Callable[[], Awaitable[object]]) -> Iterator[None]:
        """Let `act` happen in the middle of the work: when this method of any slot is called for the first time."""
        waiting = [act]

        def acting_first(call: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
            async def called(*arguments: object, **named: object) -> object:
                while waiting:
                    await waiting.pop()()
                return await call(*arguments, **named)

            return called

        with pytest.MonkeyPatch.context() as patch:
            for slot in self.ctx.pool.slots:
                patch.setattr(slot.rpc, method, acting_first(getattr(slot.rpc, method)))
            yield
        assert not waiting, f"no slot was asked to {method}"

    async def received_at(self, address: str) -> int:
        """What an address of the receiver got in mined transactions, in piconero, as its own wallet reads the chain."""
        transfers = await self.receiver.received()
        return sum(row.amount_piconero for row in transfers if row.subaddress_minor == self.addresses[address])


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chain(programs: MoneroPrograms, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivateChain]:
    async with PrivateChain(programs, tmp_path_factory.mktemp("chain")) as chain:
        await chain.mine_until_spendable()
        await chain.mine(20)  # several spendable outputs for the miner
        yield chain


def settings_for(chain: PrivateChain, folder: Path, urls: list[str], **more: object) -> Settings:
    """Settings of a service on the private chain, with short pauses."""
    return load_settings(
        monero_rpc_urls=tuple(urls),
        monero_network="regtest",
        monero_daemon_url=chain.monerod.url,
        db_encryption_key=os.urandom(32).hex(),
        data_dir=folder,
        **{"chain_poll_seconds": 0.2, "stock_target": 0, **more},
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shop(chain: PrivateChain, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    processes = [(await chain.wallet_rpc(f"slot-{index}-{role}"))[0] for index, role in enumerate(ROLES * 2)]
    settings = settings_for(chain, tmp_path_factory.mktemp("service"), [process.url for process in processes])
    receiver = await chain.person("receiver")
    async with running_service(settings) as conductor:
        yield Shop(chain, conductor, receiver)
