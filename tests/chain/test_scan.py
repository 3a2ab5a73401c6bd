"""The scan beside real wallets on a real chain: what it sights is what they find, whoever made the transactions."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from nacl import bindings

from chain.conftest import CONFIRMATIONS, XMR, Shop
from chain.twins import FirstOutput, mine_twin
from monero_escrow.clock import SystemClock
from monero_escrow.config import load_settings
from monero_escrow.core.address import Network, parse_address
from monero_escrow.core.curve import IDENTITY_POINT, public_key, scalar_reduce
from monero_escrow.core.derivation import (
    output_key,
    output_scalar,
    shared_point,
    view_tag,
    without_small_order,
)
from monero_escrow.core.life_cycle import State
from monero_escrow.core.scan import Watcher, scan
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.scan_chain import ChainScan
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.monero.private_chain import Person, PrivateChain
from monero_escrow.monero.waiting import until
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.rows import escrow

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

NO_POINT = bytes([2]) + bytes(31)
ORDER_TWO = (2**255 - 20).to_bytes(32, "little")
LATER = 4_000_000_000.0

Sighting = tuple[str, int | None, str]
"""Transaction, amount in piconero and one-time key."""


@dataclass(frozen=True)
class Watched:
    """A person whose view key is known, as an escrow's is."""

    person: Person
    watcher: Watcher

    async def found(self) -> list[Sighting]:
        """Every output at the primary address, spent or not, as the person's own wallet has it."""
        await self.person.wallet.refresh()
        outputs = await self.person.wallet.incoming_transfers()
        return sorted((row.txid, row.amount_piconero, row.public_key) for row in outputs if row.subaddress_minor == 0)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(chain: PrivateChain) -> list[Watched]:
    """Three whose wallets look from the first block on."""
    found = []
    for name in ("ann", "bob", "cat"):
        person = await chain.person(name)
        view_key = bytes.fromhex(await person.wallet.query_key("view_key"))
        spend_key = parse_address(person.address, Network.REGTEST).public_spend_key
        found.append(Watched(person, Watcher(name, view_key, spend_key)))
    return found


async def sightings(chain: PrivateChain, watchers: Sequence[Watcher], first: int = 0) -> dict[str, list[Sighting]]:
    """What the scan finds from this block on, for each watcher."""
    found: dict[str, list[Sighting]] = {watcher.escrow_id: [] for watcher in watchers}
    for height in range(first, (await chain.daemon.get_info()).height):
        parts = await chain.daemon.get_public_parts((await chain.daemon.get_block(height)).txids)
        for hint in scan(parts.values(), watchers):
            key = parts[hint.txid].outputs[hint.output_index].key.hex()
            found[hint.escrow_id].append((hint.txid, hint.amount_piconero, key))
    return {name: sorted(seen) for name, seen in found.items()}


async def churn(person: Person) -> None:
    """All a person has, to itself: an output of nothing goes along, to nobody."""
    await person.wallet.refresh()
    sweep = {"address": person.address, "account_index": 0, "priority": 1, "do_not_relay": False}
    await person.wallet._call("sweep_all", sweep)


async def test_every_sighting_on_a_churned_chain_is_a_real_wallets_and_the_other_way_round(
    chain: PrivateChain, people: list[Watched]
) -> None:
    ann, bob, cat = (one.person for one in people)
    bobs, cats = (await bob.new_subaddress())[0], (await cat.new_subaddress())[0]
    await chain.miner.pay([(ann.address, XMR)])
    await chain.miner.pay([(ann.address, XMR), (ann.address, XMR), (bob.address, 2 * XMR)])
    await chain.miner.pay([(bobs, XMR), (ann.address, XMR), (cat.address, 3), (cats, XMR)])
    await chain.miner.pay([(ann.address, 7)] * 15)
    await chain.mine(1)
    await chain.daemon.generate_blocks(2, cat.address)
    await chain.mine(CONFIRMATIONS)
    await churn(ann)
    await chain.mine(1)
    await bob.pay([(cats, XMR // 10), (ann.address, XMR // 10)])
    await bob.pay([(cats, XMR // 10)])
    await chain.mine(CONFIRMATIONS)
    await churn(ann)
    await cat.pay([(bob.address, XMR // 20)])
    await chain.mine(CONFIRMATIONS)

    seen = await sightings(chain, [one.watcher for one in people])
    for one in people:
        assert seen[one.watcher.escrow_id] == await one.found()
    assert [len(seen[name]) >= least for name, least in (("ann", 20), ("bob", 3), ("cat", 3))] == [True] * 3


@pytest.mark.parametrize(("kind", "number"), [("no point", 0), ("identity", 1), ("part of small order", 2)])
async def test_a_reward_with_a_key_as_nobody_makes_it_is_sighted_as_the_wallet_finds_it(
    chain: PrivateChain, people: list[Watched], kind: str, number: int
) -> None:
    """A miner writes what it likes into a block's reward, and pays it to an address all the same."""
    watcher = people[number].watcher
    secret = scalar_reduce(os.urandom(32))
    key = {
        "no point": NO_POINT,
        "identity": IDENTITY_POINT,
        "part of small order": bindings.crypto_core_ed25519_add(public_key(secret), ORDER_TWO),
    }[kind]
    shared = shared_point(watcher.private_view_key, without_small_order(key))
    one_time_key = output_key(output_scalar(shared, 0), watcher.public_spend_key)
    first = (await chain.daemon.get_info()).height
    await mine_twin(chain, FirstOutput(one_time_key + bytes([view_tag(shared, 0)]), key, 0, 0))

    (sighted,) = (await sightings(chain, [watcher], first))[watcher.escrow_id]
    assert sighted[2] == one_time_key.hex()
    assert sighted in await people[number].found()


# --- the story, beside a real daemon and without wallets ---


@dataclass
class Books:
    """Escrows at the people's addresses, and the scan that watches them."""

    ctx: Context
    chain: PrivateChain
    scan: ChainScan

    async def woken(self) -> set[str]:
        """Whom the scan wakes when it has done all there is to do."""
        while await self.scan.step(self.chain.daemon):
            pass
        return await self.ctx.store.write(self._put_off)

    @staticmethod
    def _put_off(tx: Transaction) -> set[str]:
        due = set(tx.escrows.due(LATER - 1, 100, frozenset()))
        for name in due:
            tx.escrows.looked_at(tx.escrows.get(name), LATER)
        return due

    def restart(self) -> None:
        self.scan = ChainScan(self.ctx, lambda: None)


@pytest_asyncio.fixture(loop_scope="session")
async def books(chain: PrivateChain, people: list[Watched], tmp_path: Path) -> AsyncIterator[Books]:
    store = open_sqlcipher(tmp_path / "escrow.db", os.urandom(32), Network.REGTEST)
    settings = load_settings(monero_network="regtest", data_dir=tmp_path)
    clock = SystemClock()
    ctx = Context(settings, store, SlotPool([], clock, quarantine_seconds=1), chain.daemon, clock)
    for one in people:
        await _add(store, one)
    found = Books(ctx, chain, ChainScan(ctx, lambda: None))
    assert await found.woken() == {"ann", "bob", "cat"}
    await chain.mine(5)
    assert await found.woken() == set()
    yield found
    store.close()


async def _add(store: SqlStore, one: Watched) -> None:
    name, address, view_key = one.watcher.escrow_id, one.person.address, one.watcher.private_view_key.hex()

    def add(tx: Transaction) -> None:
        tx.escrows.add(escrow(name, due_at=LATER))
        tx.trios.add(f"trio {name}", name, 0, 0.0)
        tx.trios.finish(f"trio {name}", address, view_key, Network.REGTEST, 0.0)
        new = {"state": State.AWAITING_DEPOSIT, "trio_id": f"trio {name}", "deposit_address": address}
        tx.escrows.change(name, expected=State.SETTING_UP, now=0.0, **new)

    await store.write(add)


async def test_pool_and_blocks_wake_whom_they_pay_over_a_restart_and_a_reorganisation(
    books: Books, people: list[Watched]
) -> None:
    chain, (ann, bob, _) = books.chain, (one.person for one in people)
    await chain.miner.pay([(ann.address, XMR)])
    assert await books.woken() == {"ann"}
    assert await books.woken() == set()
    await chain.mine(1)
    assert await books.woken() == {"ann"}

    await chain.miner.pay([(bob.address, XMR)])
    await chain.mine(3)
    books.restart()
    assert await books.woken() == {"bob"}

    await chain.reorganise(3)  # what was in them is mined again
    assert await books.woken() == {"bob"}
    await chain.mine(1)
    assert await books.woken() == set()


async def test_blocks_that_are_gone_for_a_moment_cost_no_sighting(books: Books, people: list[Watched]) -> None:
    chain, cat = books.chain, people[2].person
    await chain.miner.pay([(cat.address, XMR)])
    await chain.mine(2)
    assert await books.woken() == {"cat"}
    await chain.daemon.pop_blocks(2)
    assert await books.woken() == {"cat"}, "it is in the pool again"
    await chain.mine(3)
    assert await books.woken() == {"cat"}


async def test_a_deposit_is_seen_on_its_way_and_no_wallet_is_opened_for_blocks_that_bring_nothing(shop: Shop) -> None:
    escrow_id = await shop.order(XMR)
    await shop.pay(escrow_id, XMR)

    async def on_its_way() -> bool:
        return (await shop.view(escrow_id)).escrow.in_pool_piconero == XMR

    await until(on_its_way, limit_seconds=30)
    idle = await shop.order(XMR)
    opened: list[str] = []

    def noted(call: Callable[[str, str], Awaitable[None]]) -> Callable[[str, str], Awaitable[None]]:
        async def open_wallet(filename: str, password: str) -> None:
            opened.append(filename)
            await call(filename, password)

        return open_wallet

    with pytest.MonkeyPatch.context() as patch:
        for slot in shop.ctx.pool.slots:
            patch.setattr(slot.rpc, "open_wallet", noted(slot.rpc.open_wallet))
        await shop.chain.mine(CONFIRMATIONS)
        await shop.until(escrow_id, State.FUNDED)
    assert 1 <= len(opened) <= 3, "for its block, for its depth, and once if blocks came during a look"
    assert len(set(opened)) == 1, "and only for the escrow that something came to"
    assert (await shop.view(idle)).escrow.state is State.AWAITING_DEPOSIT
