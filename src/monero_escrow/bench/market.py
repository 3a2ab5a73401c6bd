"""A private chain with a buyer on it who pays escrows, and the service at work there: for what needs real coins."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from monero_escrow.bench.books import state_of
from monero_escrow.bench.run import Run
from monero_escrow.bench.stage import Fleet, Service, environment_in, fleet_on, start
from monero_escrow.core.address import Network
from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import PICONERO_PER_XMR
from monero_escrow.core.roles import TRIO
from monero_escrow.demo.people import Miner, Purse
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.supervision import Supervisor
from monero_escrow.store.store import SqlStore

CONFIRMATIONS: Final = 10
_DESTINATIONS_A_PAYMENT: Final = 10
_FUNDED_LIMIT_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Market:
    """The chain, the people, the service and its database."""

    run: Run
    chain: PrivateChain
    miner: Miner
    buyer: Purse
    fleet: Fleet
    service: Service
    store: SqlStore = field(repr=False)

    async def make_escrows(self, count: int) -> list[dict[str, Any]]:
        """Set up so many, one after another; each of 1 XMR and with an address."""
        made = []
        for number in range(count):
            self.run.teller.say("setting up escrows", number, count)
            made.append(await self.service.init_escrow())
        return made

    async def pay(self, escrows: Sequence[dict[str, Any]]) -> None:
        """The buyer pays their amounts, as few transactions as that takes."""
        for first in range(0, len(escrows), _DESTINATIONS_A_PAYMENT):
            some = escrows[first : first + _DESTINATIONS_A_PAYMENT]
            await self.buyer.owner.pay([(one["deposit_address"], PICONERO_PER_XMR) for one in some])

    async def make_funded(self, count: int) -> list[str]:
        """Ids of so many escrows whose deposits count."""
        escrows = await self.make_escrows(count)
        ids = [str(one["escrow_id"]) for one in escrows]
        self.run.teller.say("paying them, and mining")
        await self.pay(escrows)
        await self.miner.bury(CONFIRMATIONS)

        async def all_funded() -> bool:
            funded = [await state_of(self.store, one) is State.FUNDED for one in ids]
            self.run.teller.say("waiting for their deposits to count", sum(funded), count)
            return all(funded)

        await self.run.until(all_funded, "the deposits to count", limit_seconds=_FUNDED_LIMIT_SECONDS, poll_seconds=0.5)
        return ids

    async def release(self, escrow_id: str) -> None:
        """The shop decides that the vendor is paid."""
        (await self.service.shop.post(f"/api/escrows/{escrow_id}/release")).raise_for_status()


async def market(stack: AsyncExitStack, run: Run, *, trios: int, supervisor: Supervisor | None = None) -> Market:
    """Start it all. With a supervisor, processes that die are started again; `stack` must end it."""
    run.teller.say("starting a private chain")
    chain = await stack.enter_async_context(PrivateChain(run.programs, run.folder / "monero", supervisor=supervisor))
    buyer = await chain.person("buyer")
    miner = Miner(chain.daemon, chain.miner.address)
    await miner.first_coins(buyer.address, lambda mined, of: run.teller.say("mining the buyer's coins", mined, of))
    fleet = await fleet_on(chain, trios * len(TRIO))
    folder = run.folder / "service"
    environment = environment_in(
        folder,
        Network.REGTEST,
        monero_rpc_urls=fleet.urls,
        monero_daemon_url=chain.monerod.url,
        chain_poll_seconds=0.3,
        log_level="debug",
    )
    service = await start(stack, folder, environment)
    store = service.open_store()
    stack.callback(store.close)
    return Market(run, chain, miner, Purse(buyer), fleet, service, store)
