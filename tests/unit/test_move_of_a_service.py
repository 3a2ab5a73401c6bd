"""A whole service moves from the file to a server in the middle of its work, and goes on there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from monero_escrow.config import Settings
from monero_escrow.core.address import Network
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout_states import UNDER_WAY
from monero_escrow.escrows import decide
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.service import running_service
from monero_escrow.store.migrate_store import move_store
from monero_escrow.store.opening import DatabaseMovedError, open_postgresql, open_sqlcipher
from unit.fake_service import CONFIRMATIONS, Town, payout_is, reached, settings_of, view


@dataclass(frozen=True)
class Move:
    """The settings of the service before and after."""

    before: Settings
    after: Settings

    def make(self) -> None:
        key = self.before.master_key()
        file = open_sqlcipher(self.before.database_path, key, Network.REGTEST, migrates=False)
        server = open_postgresql(str(self.url), key, Network.REGTEST)
        move_store(file, server, "db.example.com/escrow", 2_000.0, "operator:ann")
        file.close()
        server.close()

    @property
    def url(self) -> str:
        assert self.after.database_url is not None
        return self.after.database_url.get_secret_value()


def a_move(folder: Path, processes: list[FakeWalletRpc], url: str) -> Move:
    on_server = settings_of(folder, processes, database_url=url, node_name="first")
    return Move(settings_of(folder, processes), on_server)


async def decided(conductor: Conductor, escrow_id: str) -> None:
    release = await decide.release(conductor.ctx, escrow_id, "shop:test")
    await conductor.ctx.store.write(release)


async def test_a_payout_and_a_set_up_under_way_go_on_after_the_move(tmp_path: Path, database_url: str) -> None:
    town = Town()
    processes = town.processes()
    move = a_move(tmp_path, processes, database_url)
    async with town.service(move.before, processes) as conductor:
        paid_out = await town.funded(conductor)
        begun = await town.order(conductor)
        await decided(conductor, paid_out)
        (payout,) = (await view(conductor, paid_out)).payouts
        assert payout.state in UNDER_WAY
        anchor = payout.plan.anchor.public_key

    await asyncio.to_thread(move.make)

    async with town.service(move.after, processes) as conductor:
        await payout_is(conductor, paid_out, "broadcast")
        await town.chain.mine(CONFIRMATIONS)
        await reached(conductor, paid_out, State.SETTLED)
        await reached(conductor, begun, State.AWAITING_DEPOSIT)
        assert (await conductor.ctx.store.read(lambda tx: [node.name for node in tx.nodes.all()])) == ["first"]
    assert len(town.spenders(anchor)) == 1, "paid once"


async def test_the_service_does_not_start_on_the_file_any_more(tmp_path: Path, database_url: str) -> None:
    move = a_move(tmp_path, Town().processes(), database_url)
    open_sqlcipher(move.before.database_path, move.before.master_key(), Network.REGTEST).close()
    await asyncio.to_thread(move.make)

    with pytest.raises(DatabaseMovedError, match=r"db\.example\.com/escrow"):
        async with running_service(move.before):
            pytest.fail("it started")
