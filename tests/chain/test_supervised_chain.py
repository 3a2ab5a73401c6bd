"""People on a private chain whose processes die: what they pay, they pay once, and no address is theirs twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio

from monero_escrow.monero.person import Person
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.processes import ChildProcess
from monero_escrow.monero.programs import find_programs
from monero_escrow.monero.supervision import Patience, Supervisor

pytestmark = [pytest.mark.chain, pytest.mark.newest_monero, pytest.mark.asyncio(loop_scope="module")]

XMR = 10**12
T = TypeVar("T")


@dataclass
class World:
    chain: PrivateChain
    payer: Person
    payee: Person
    restarted: list[str] = field(default_factory=list)

    async def received(self, subaddress: int) -> int:
        transfers = await self.payee.received()
        return sum(row.amount_piconero for row in transfers if row.subaddress_minor == subaddress)

    async def pay_and_mine(self, address: str, *amounts: int) -> list[str]:
        txids = [await self.payer.pay([(address, amount)]) for amount in amounts]
        await self.chain.mine(1)
        return txids


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """On the newest Monero there is: nothing here differs between versions."""
    restarted: list[str] = []
    supervisor = Supervisor(lambda child: restarted.append(child.name), Patience(most_deaths=50))
    folder: Path = tmp_path_factory.mktemp("supervised")
    try:
        async with PrivateChain(find_programs(), folder, supervisor=supervisor) as chain:
            await chain.mine_until_spendable()
            await chain.mine(10)
            yield World(chain, chain.miner, await chain.person("payee"), restarted)
    finally:
        await supervisor.aclose()


def dies_once(
    call: Callable[..., Awaitable[T]], process: ChildProcess, *, answered: bool
) -> Callable[..., Awaitable[T]]:
    """The call, whose process is killed the first time: before the request, or when it has been answered."""
    alive = True

    async def fateful(*arguments: object, **named: object) -> T:
        nonlocal alive
        if not alive:
            return await call(*arguments, **named)
        alive = False
        if answered:
            await call(*arguments, **named)
        await process.kill()
        return await call(*arguments, **named)

    return fateful


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
async def test_a_payment_is_made_once_though_the_wallet_dies_while_it_signs(
    world: World, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    address, subaddress = await world.payee.new_subaddress()
    wallet = world.payer.wallet
    monkeypatch.setattr(wallet, "sign_payment", dies_once(wallet.sign_payment, world.payer.process, answered=answered))
    await world.pay_and_mine(address, XMR)
    assert await world.received(subaddress) == XMR
    assert "the miner's wallet" in world.restarted


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
async def test_a_payment_is_made_once_though_the_daemon_dies_when_it_gets_it(
    world: World, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    address, subaddress = await world.payee.new_subaddress()
    daemon = world.chain.daemon
    deadly = dies_once(daemon.send_raw_transaction, world.chain.monerod, answered=answered)
    monkeypatch.setattr(daemon, "send_raw_transaction", deadly)
    await world.pay_and_mine(address, XMR)
    assert await world.received(subaddress) == XMR
    assert "monerod" in world.restarted


async def test_a_wallet_that_died_does_not_spend_what_waits_in_the_pool_again(world: World) -> None:
    address, subaddress = await world.payee.new_subaddress()
    amounts: Sequence[int] = (XMR, 2 * XMR, 3 * XMR)
    txids = []
    for amount in amounts:
        txids.append(await world.payer.pay([(address, amount)]))
        await world.payer.process.kill()
    await world.chain.mine(1)
    assert len(Counter(txids)) == len(amounts)
    assert await world.received(subaddress) == sum(amounts)


async def test_no_address_is_handed_out_twice_after_a_death(world: World) -> None:
    handed_out = []
    for _ in range(3):
        handed_out.append(await world.payee.new_subaddress())
        await world.payee.process.kill()
    assert len({address for address, _ in handed_out}) == len(handed_out)


async def test_the_chain_outlives_its_daemon(world: World) -> None:
    before = await world.chain.daemon.get_info()
    await world.chain.monerod.kill()
    address, _ = await world.payee.new_subaddress()
    await world.payer.pay([(address, XMR)])
    after = await world.chain.daemon.get_info()
    assert (after.height, after.top_block_hash) == (before.height, before.top_block_hash)
