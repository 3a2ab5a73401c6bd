"""A wallet's file is a cache: distrusted, it is rebuilt beside the old one; what took long to scan is kept in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import Role
from monero_escrow.escrows import hosted
from monero_escrow.escrows.hosted import HostedWallet
from unit.fake_service import Town, reached, settings_of

TIMES = 12
"""More than there are names for one wallet's files on a slot."""


async def test_a_wallet_can_be_distrusted_more_often_than_there_are_names_for_its_files(tmp_path: Path) -> None:
    town = Town()
    processes = town.processes()
    settings = settings_of(tmp_path, processes)
    async with town.service(settings, processes) as conductor:
        view = await reached(conductor, await town.order(conductor), State.AWAITING_DEPOSIT)
        ctx = conductor.ctx
        trio = await ctx.store.read(lambda tx: tx.trios.get(view.escrow.finished_trio_id))
        addresses = []
        for _ in range(TIMES):
            async with (
                ctx.pool.lease(frozenset({Role.BUYER}), "the test", wait_seconds=10) as lease,
                HostedWallet(lease, trio.participants[Role.BUYER], settings.monero_network) as wallet,
            ):
                await wallet.open(trio, from_files=False)
                addresses.append(await (await wallet.checked()).get_address())
    assert addresses == [trio.address] * TIMES
    assert len(processes[0].disk.keys_files) < TIMES


async def test_what_took_long_to_scan_is_scanned_once_even_if_the_process_is_killed_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted, "_WORTH_STORING_BLOCKS", 20)
    town = Town()
    processes = town.processes()
    settings = settings_of(tmp_path, processes)
    fetched = []
    async with town.service(settings, processes) as conductor:
        view = await reached(conductor, await town.order(conductor), State.AWAITING_DEPOSIT)
        ctx = conductor.ctx
        trio = await ctx.store.read(lambda tx: tx.trios.get(view.escrow.finished_trio_id))
        for blocks in (20, 5):
            await town.chain.mine(blocks)
            async with (
                ctx.pool.lease(frozenset({Role.BUYER}), "the test", wait_seconds=30) as lease,
                HostedWallet(lease, trio.participants[Role.BUYER], settings.monero_network) as wallet,
            ):
                await wallet.open(trio)
                fetched.append(await wallet.refresh(trio.restore_height))
                processes[0].kill()
                processes[0].start()
    assert fetched[0] >= 20
    assert fetched[1] == 5
