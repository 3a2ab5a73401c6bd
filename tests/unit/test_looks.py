"""Looks by real services on fake programs: not too many, and none in vain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from monero_escrow.core.life_cycle import State
from monero_escrow.escrows import decide
from monero_escrow.escrows.held import hold
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.waiting import until
from monero_escrow.store.transaction import Transaction
from unit.fake_service import Town, reached, settings_of, view
from unit.rows import XMR


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The wallets that any process opens, by file."""
    names: list[str] = []
    real = FakeWalletRpc.open_wallet

    async def open_wallet(self: FakeWalletRpc, filename: str, password: str) -> None:
        names.append(filename)
        await real(self, filename, password)

    with patch.object(FakeWalletRpc, "open_wallet", open_wallet):
        yield names


async def test_an_escrow_whose_payout_waits_for_a_person_is_not_looked_at_again_and_again(
    tmp_path: Path, opened: list[str]
) -> None:
    town = Town()
    processes = town.processes()
    async with town.service(settings_of(tmp_path, processes), processes) as conductor:
        escrow_id = await town.funded(conductor)
        refund = await decide.refund(conductor.ctx, escrow_id, "operator")

        def decide_and_hold(tx: Transaction) -> None:
            refund(tx)
            hold(tx, tx.payouts.of(escrow_id)[0].id, "For a person.", 1.0)

        opened.clear()
        await conductor.ctx.store.write(decide_and_hold)
        conductor.nudge(escrow_id)
        other = await town.order(conductor)  # in this time it would be looked at a hundred times
        await reached(conductor, other, State.AWAITING_DEPOSIT)
        escrow = (await view(conductor, escrow_id)).escrow
        assert escrow.state is State.PAYING_OUT
        assert len(opened) <= 5, "three of them are the other order's"


async def test_a_deposit_is_found_although_the_wallets_daemon_was_behind_for_a_moment(tmp_path: Path) -> None:
    town, behind, looks = Town(), False, 0
    real = FakeWalletRpc.refresh

    async def refresh(self: FakeWalletRpc, start_height: int = 0) -> int:
        nonlocal looks
        if not behind:
            return await real(self, start_height)
        looks += 1
        return 0

    async def looked_in_vain() -> bool:
        return looks > 0

    processes = town.processes()
    with patch.object(FakeWalletRpc, "refresh", refresh):
        async with town.service(settings_of(tmp_path, processes), processes) as conductor:
            await town.chain.mine_until_spendable()
            escrow_id = await town.order(conductor)
            address = (await reached(conductor, escrow_id, State.AWAITING_DEPOSIT)).escrow.deposit_address
            await town.chain.miner.pay([(address or "", XMR)])
            behind = True
            await town.chain.mine(1)
            await until(looked_in_vain, limit_seconds=10)
            behind = False
            await town.chain.mine(30)
            await reached(conductor, escrow_id, State.FUNDED)
