"""A machine is lost and its backup restored on another: nobody is paid twice, nobody's address is lost.

And the drill: wallets rebuilt from the database alone, by the real command on real processes, beside the service.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import update

from chain.conftest import CONFIRMATIONS, XMR, Shop, settings_for
from monero_escrow.clock import SystemClock
from monero_escrow.config import Settings
from monero_escrow.core.address import Network
from monero_escrow.core.key_exchange import KeyExchange, Round
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES, TRIO
from monero_escrow.escrows import decide
from monero_escrow.escrows.hosted import HostedWallet, new_participant, side_by_side
from monero_escrow.escrows.restore import Restored, restore
from monero_escrow.escrows.views import EscrowView
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.waiting import until
from monero_escrow.service import open_store, running_service
from monero_escrow.store import schema
from monero_escrow.store.backup import make_backup
from monero_escrow.store.sealing import derive_key

pytestmark = [
    pytest.mark.chain,
    pytest.mark.newest_monero,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(600),
]


@dataclass
class Loss:
    """What is left when the first machine is gone, and what had become of its two escrows."""

    chain: PrivateChain
    shop: Shop
    first: Settings
    file: Path
    paid: EscrowView
    newer: EscrowView
    drilled: list[dict[str, Any]]

    async def second_machine(self, name: str, folder: Path) -> tuple[Settings, Restored]:
        """Another machine, with processes that have never seen a wallet, and the backup restored there."""
        key, place = self.first.db_encryption_key, self.first.backup_url
        urls = [(await self.chain.wallet_rpc(f"{name}-{role}"))[0].url for role in ROLES]
        settings = settings_for(self.chain, folder, urls, backup_url=place).model_copy(
            update={"db_encryption_key": key}
        )
        return settings, await restore(settings, self.file, time.time())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def loss(chain: PrivateChain, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Loss]:
    """A backup is made; then one escrow is paid out, and another gets its address and its deposit; then all is lost."""
    folder = tmp_path_factory.mktemp("lost")
    place = tmp_path_factory.mktemp("second-place")
    urls = [(await chain.wallet_rpc(f"lost-{role}"))[0].url for role in ROLES]
    settings = settings_for(chain, folder, urls, backup_url=f"file://{place}")
    file = folder / "copy"
    async with running_service(settings) as conductor:
        shop = Shop(chain, conductor, await chain.person("receiver-of-backups"))
        old = await shop.funded()
        make_backup(settings.database_path, file, derive_key(settings.master_key(), "database"), time.time())
        await shop.decide(old, await decide.release(conductor.ctx, old, "shop:test"))
        new = await shop.order()
        await shop.pay(new, XMR)
        paid = await shop.until_settled(old)
        drilled = await drill(settings, old, new)
        newer = await shop.view(new)
    yield Loss(chain, shop, settings, file, paid, newer, drilled)


async def drill(settings: Settings, *escrow_ids: str, exits_with: int = 0) -> list[dict[str, Any]]:
    """What `monero-escrow drill --json` answers, run beside whatever else uses this database."""
    assert settings.db_encryption_key is not None
    environment: Mapping[str, str] = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "MONERO_BIN_DIR") if name in os.environ},
        "MONERO_NETWORK": "regtest",
        "DATA_DIR": str(settings.data_dir),
        "DB_ENCRYPTION_KEY": settings.db_encryption_key.get_secret_value(),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monero_escrow", "drill", "--json", *escrow_ids),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    answer, said = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == exits_with, said.decode()
    proofs: list[dict[str, Any]] = json.loads(answer)
    return proofs


async def test_a_payout_made_after_the_backup_is_not_made_again(loss: Loss, tmp_path: Path) -> None:
    settings, _ = await loss.second_machine("first-try", tmp_path)
    escrow_id, vendor = loss.paid.escrow.id, loss.paid.escrow.terms.vendor_payout_address
    received = await loss.shop.received_at(vendor)
    assert 0 < received < XMR
    async with running_service(settings) as conductor:
        shop = Shop(loss.chain, conductor, loss.shop.receiver, addresses=loss.shop.addresses)
        await shop.until(escrow_id, State.FUNDED)
        await shop.decide(escrow_id, await decide.release(conductor.ctx, escrow_id, "shop:test"))

        async def stopped() -> bool:
            return (await shop.view(escrow_id)).payouts[0].state in ("held", "signed", "broadcast", "settled")

        await until(stopped, limit_seconds=90)
        payout = (await shop.view(escrow_id)).payouts[0]
        await loss.chain.mine(CONFIRMATIONS)

    assert payout.state == "held"
    assert "spen" in (payout.trouble or "")
    assert payout.txid is None, "something was signed"
    assert await loss.shop.received_at(vendor) == received


async def test_an_escrow_newer_than_the_backup_comes_back_with_its_coins_and_is_paid_out(
    loss: Loss, tmp_path: Path
) -> None:
    settings, restored = await loss.second_machine("second-try", tmp_path)
    escrow_id, vendor = loss.newer.escrow.id, loss.newer.escrow.terms.vendor_payout_address
    assert restored.recovered == 1
    async with running_service(settings) as conductor:
        shop = Shop(loss.chain, conductor, loss.shop.receiver, addresses=loss.shop.addresses)
        back = await shop.until(escrow_id, State.FUNDED)
        assert back.escrow.deposit_address == loss.newer.escrow.deposit_address
        await shop.decide(escrow_id, await decide.release(conductor.ctx, escrow_id, "shop:test"))
        settled = await shop.until_settled(escrow_id)

    assert await loss.shop.received_at(vendor) == XMR - (settled.payouts[0].fee_piconero or 0)


async def test_a_drill_rebuilds_every_wallet_beside_the_running_service(loss: Loss) -> None:
    found = [(proof["escrow_id"], proof["role"], proof["trouble"]) for proof in loss.drilled]
    escrows = (loss.paid.escrow.id, loss.newer.escrow.id)

    assert {(escrow_id, role) for escrow_id, role, _ in found} == {(each, role) for each in escrows for role in ROLES}
    assert [trouble for _, _, trouble in found] == [None] * 6


async def test_a_drill_tells_when_the_database_does_not_give_the_address_again(loss: Loss, tmp_path: Path) -> None:
    settings, _ = await loss.second_machine("third-try", tmp_path)
    escrow_id = loss.paid.escrow.id
    store = open_store(settings)
    wrong = WalletKeys.from_entropy(os.urandom(32), Network.REGTEST).address
    change = update(schema.trios).where(schema.trios.c.escrow_id == escrow_id).values(address=wrong)
    await store.write(lambda tx: tx.connection.execute(change))
    store.close()

    proofs = await drill(settings, escrow_id, exits_with=1)

    assert all("another address" in proof["trouble"] for proof in proofs)
    assert len(proofs) == len(ROLES)


async def test_three_keys_alone_give_the_same_address_again(chain: PrivateChain, tmp_path: Path) -> None:
    """So a set-up that was under way in a copy is not lost: the copy has its keys, if not all of its messages."""
    people = {role: new_participant("trio", role, Network.REGTEST, os.urandom(64)) for role in ROLES}
    clients = {role: (await chain.wallet_rpc(f"keys-{role}"))[1] for role in ROLES}
    slots = [Slot(index, role, client) for index, (role, client) in enumerate(clients.items())]
    pool = SlotPool(slots, SystemClock(), quarantine_seconds=0)

    async def exchange(name: str) -> KeyExchange:
        said = KeyExchange()
        async with pool.lease(TRIO, "test", wait_seconds=5) as lease, AsyncExitStack() as stack:
            wallets = {
                role: await stack.enter_async_context(HostedWallet(lease, person, Network.REGTEST))
                for role, person in people.items()
            }
            await side_by_side(wallet.make(0, f"{name}-{role}") for role, wallet in wallets.items())
            for this in Round:
                calls = [call for role in ROLES if (call := said.next_call(role)) is not None]
                answers = await side_by_side(wallets[call.role].answer(call) for call in calls)
                for call, answer in zip(calls, answers, strict=True):
                    last = this is Round.FINISH
                    said = said.with_address(call.role, answer) if last else said.with_message(call.role, this, answer)
        return said

    first, second = await exchange("first"), await exchange("second")

    assert first.addresses == second.addresses
    assert not set(first.messages.values()) & set(second.messages.values())
