"""The service's own fleet of real processes under ten orders at once: it grows, nothing breaks, it shrinks again."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from monero_escrow.config import load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import Terms
from monero_escrow.core.roles import ROLES
from monero_escrow.core.usage import Usage
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.init_escrow import Order, init_escrow
from monero_escrow.escrows.views import EscrowView, escrow_view
from monero_escrow.fleet import supervisor
from monero_escrow.fleet.fleet import Fleet
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.waiting import until
from monero_escrow.service import running_service

pytestmark = [pytest.mark.chain, pytest.mark.newest_monero, pytest.mark.asyncio(loop_scope="session")]

ORDERS = 10
MOST_TRIOS = 3
QUIET_SECONDS = 5.0
WINDOW_SECONDS = 5.0
XMR = 10**12


async def order(conductor: Conductor, number: int) -> str:
    buyer, vendor = (WalletKeys.from_entropy(os.urandom(32), Network.TESTNET).address for _ in range(2))
    terms = Terms(XMR, buyer, vendor)
    return (await init_escrow(conductor.ctx, "shop", Order(f"order-{number}", terms), "shop:test"))[0].id


async def view(conductor: Conductor, escrow_id: str) -> EscrowView:
    return await conductor.ctx.store.read(lambda tx: escrow_view(tx, escrow_id))


def sizes(fleet: Fleet) -> list[int]:
    assert fleet.upkeep is not None
    return [len(fleet.upkeep.staying(role)) for role in ROLES]


async def test_ten_orders_at_once_make_it_larger_none_notices_and_it_is_small_again_after_a_quiet_time(
    programs: MoneroPrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline: a set-up needs no chain. The window of use is short, so that lasting use lasts seconds."""
    monkeypatch.setattr(supervisor, "Usage", partial(Usage, WINDOW_SECONDS))
    settings = load_settings(
        monero_network="testnet",
        monero_bin_dir=programs.folder,
        db_encryption_key=os.urandom(32).hex(),
        data_dir=tmp_path,
        fleet_min_trios=1,
        fleet_max_trios=MOST_TRIOS,
        fleet_quiet_seconds=QUIET_SECONDS,
        stock_target=0,
    )
    async with running_service(settings) as conductor:
        fleet = conductor.ctx.fleet
        assert fleet is not None
        assert fleet.local is not None
        assert fleet.supervisor is not None
        escrows = [await order(conductor, number) for number in range(ORDERS)]

        async def all_have_addresses() -> bool:
            views = [await view(conductor, escrow_id) for escrow_id in escrows]
            return all(view.escrow.state is State.AWAITING_DEPOSIT for view in views)

        await until(all_have_addresses, limit_seconds=400)
        views = [await view(conductor, escrow_id) for escrow_id in escrows]
        assert len({view.escrow.deposit_address for view in views}) == ORDERS
        assert {step["result"] for view in views for step in view.steps} == {"ok"}, "no lease was broken"
        assert {view.escrow.failures for view in views} == {0}
        steps = fleet.supervisor.steps
        assert max(sizes(fleet)) > 1
        assert max(sizes(fleet)) <= MOST_TRIOS
        assert any("wait, the first for" in step.decision.reason for step in steps)

        async def small_again() -> bool:
            return sizes(fleet) == [1, 1, 1] and len(fleet.local.memory_bytes()) == len(ROLES)  # type: ignore[union-attr]

        await until(small_again, limit_seconds=120)
        assert conductor.ctx.pool.stats().free == len(ROLES)
    assert not fleet.local.memory_bytes(), "every process has ended"
