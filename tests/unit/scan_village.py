"""Escrows on a store, a chain in memory, and the scan between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from sqlalchemy import update

from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.life_cycle import State
from monero_escrow.core.scan import Hint, PublicTransaction, Watcher, scan
from monero_escrow.escrows import scan_chain
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.scan_chain import ChainScan
from monero_escrow.monero.fake.private_chain import FakePrivateChain
from monero_escrow.monero.versions import MoneroVersion
from monero_escrow.store import schema
from monero_escrow.store.transaction import Transaction
from unit.rows import XMR, escrow

LATER = 900_000.0
"""When nobody would look yet."""


def keys_of(name: str) -> WalletKeys:
    return WalletKeys.from_entropy(Random(name).randbytes(32), Network.STAGENET)


@dataclass
class Village:
    """Escrows on a store, a chain, and the scan between them. `scanned` says what was scanned for whom."""

    ctx: Context
    chain: FakePrivateChain
    scan: ChainScan
    scanned: list[tuple[frozenset[str], frozenset[str]]] = field(default_factory=list)

    async def add(self, name: str, state: State = State.AWAITING_DEPOSIT, due_at: float | None = LATER) -> str:
        """An escrow with an address, which it answers."""
        keys = keys_of(name)

        def work(tx: Transaction) -> None:
            tx.escrows.add(escrow(name, due_at=due_at))
            tx.trios.add(f"trio of {name}", name, 0, 100.0)
            tx.trios.finish(f"trio of {name}", keys.address, keys.private_view_key_hex, Network.STAGENET, 100.0)
            tx.escrows.change(
                name,
                expected=State.SETTING_UP,
                now=100.0,
                state=state,
                trio_id=f"trio of {name}",
                deposit_address=keys.address,
                deposit_deadline=LATER,
            )

        await self.ctx.store.write(work)
        return keys.address

    async def pay(self, name: str, piconero: int = XMR) -> str:
        return await self.chain.miner.pay([(keys_of(name).address, piconero)])

    async def until_done(self) -> None:
        """Scan until there is nothing more to do at once."""
        while await self.scan.step(self.chain.daemon):
            pass

    async def woken(self) -> set[str]:
        """Who is due now; they are put off again, as if somebody had looked."""
        now = self.ctx.clock.now()
        due = set(await self.ctx.store.read(lambda tx: tx.escrows.due(now, 100, frozenset())))
        await self.put_off(*due)
        return due

    async def put_off(self, *names: str) -> None:
        e = schema.escrows
        await self.ctx.store.write(
            lambda tx: tx.connection.execute(update(e).where(e.c.id.in_(names)).values(due_at=LATER))
        )

    async def due_at(self, name: str) -> float | None:
        return (await self.ctx.store.read(lambda tx: tx.escrows.get(name))).due_at

    async def height(self) -> int:
        """How many blocks the database says were scanned."""
        return await self.ctx.store.read(lambda tx: tx.scan.chain_height())

    def restart(self) -> None:
        self.scan = ChainScan(self.ctx, lambda: None)


@asynccontextmanager
async def a_village(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Village]:
    """Without escrows; the scan has not begun."""
    chain = FakePrivateChain(Random(3), MoneroVersion.parse("0.18.5.3"), network=Network.STAGENET)
    await chain.mine_until_spendable()
    await chain.mine(5)
    ctx = replace(ctx, daemon=chain.daemon)
    here = Village(ctx, chain, ChainScan(ctx, lambda: None))

    def watched_scan(transactions: Sequence[PublicTransaction], watchers: Sequence[Watcher]) -> list[Hint]:
        named = frozenset(one.txid for one in transactions)
        here.scanned.append((named, frozenset(watcher.escrow_id for watcher in watchers)))
        return scan(transactions, watchers)

    monkeypatch.setattr(scan_chain, "scan", watched_scan)
    yield here


async def grown(village: Village) -> Village:
    """With three escrows, and a scan that has begun."""
    for name in ("ann", "bob", "cat"):
        await village.add(name)
    await village.until_done()
    await village.chain.mine(10)
    await village.until_done()
    await village.put_off("ann", "bob", "cat")
    return village
