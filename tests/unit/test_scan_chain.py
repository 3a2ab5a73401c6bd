"""The scan of blocks on a chain in memory: what wakes whom, and that restarts and replaced blocks hide nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from monero_escrow.core.errors import EscrowError
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows import scan_chain
from monero_escrow.escrows.context import DaemonUnavailableError
from monero_escrow.monero.errors import ProcessUnreachableError
from monero_escrow.store.scan_table import REMEMBERED_BLOCKS
from monero_escrow.store.store import DatabaseBusyError
from monero_escrow.store.transaction import Transaction
from unit.rows import output
from unit.scan_village import Village

T = TypeVar("T")


async def test_the_first_scan_begins_at_the_tip_and_every_wallet_looks_once(village: Village) -> None:
    await village.add("ann")
    await village.add("at rest", State.SETTLED, due_at=None)
    await village.pay("ann")
    await village.chain.mine(3)
    await village.until_done()
    assert await village.woken() == {"ann"}
    assert await village.height() == village.chain.chain.height


async def test_a_payment_wakes_its_escrow_and_no_other_in_the_pool_and_again_in_its_block(town: Village) -> None:
    await town.pay("bob")
    await town.until_done()
    assert await town.woken() == {"bob"}
    await town.until_done()
    assert await town.woken() == set()
    await town.chain.mine(1)
    await town.until_done()
    assert await town.woken() == {"bob"}
    await town.chain.mine(3)
    await town.until_done()
    assert await town.woken() == set()


async def test_the_hints_of_a_block_are_durable_with_its_height_or_not_at_all(
    town: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await town.height()
    await town.pay("bob")
    await town.chain.mine(1)
    write = town.ctx.store.write

    async def failing(_work: Callable[[Transaction], T]) -> T:
        raise DatabaseBusyError("busy")

    monkeypatch.setattr(town.ctx.store, "write", failing)
    with pytest.raises(DatabaseBusyError):
        await town.until_done()
    monkeypatch.setattr(town.ctx.store, "write", write)
    assert (await town.height(), await town.woken()) == (before, set())
    await town.until_done()
    assert (await town.height(), await town.woken()) == (before + 1, {"bob"})


async def test_a_restart_goes_on_where_the_scan_was(town: Village) -> None:
    await town.pay("ann")
    await town.chain.mine(7)
    town.restart()
    await town.until_done()
    assert await town.woken() == {"ann"}


async def test_many_blocks_that_came_meanwhile_are_caught_up_with_step_by_step(
    town: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_chain, "_MOST_BLOCKS_A_STEP", 4)
    for name in ("ann", "bob"):
        await town.pay(name)
        await town.chain.mine(9)
    heights = [await town.height()]
    while await town.scan.step(town.chain.daemon):
        heights.append(await town.height())
    assert heights == sorted(heights)
    assert len(set(heights)) >= 5
    assert await town.woken() == {"ann", "bob"}
    kept = await town.ctx.store.read(lambda tx: tx.scan.blocks())
    assert kept[0].hash == town.chain.chain.top.hash


async def test_what_was_scanned_in_the_pool_is_scanned_in_its_block_only_for_those_who_came_later(
    town: Village,
) -> None:
    txid = await town.pay("ann")
    await town.until_done()
    await town.add("dora")
    town.scanned.clear()
    await town.chain.mine(1)
    await town.until_done()
    assert {names for txids, names in town.scanned if txid in txids} == {frozenset({"dora"})}
    assert await town.woken() == {"ann"}


async def test_an_address_that_is_shown_while_transactions_are_fetched_is_among_the_watchers(
    town: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody saw it and paid, all between the daemon's answer and the scan."""
    daemon, get_pool_txids, get_block = town.chain.daemon, town.chain.daemon.get_pool_txids, town.chain.daemon.get_block

    async def in_pool() -> list[str]:
        await town.add("dora")
        await town.pay("dora")
        return await get_pool_txids()

    monkeypatch.setattr(daemon, "get_pool_txids", in_pool)
    await town.scan.step(daemon)
    monkeypatch.undo()
    assert await town.woken() == {"dora"}

    async def in_block(height: int) -> Any:
        await town.add("emma")
        await town.pay("emma")
        town.chain.chain.pop(1)
        await town.chain.mine(1)
        return await get_block(height)

    await town.chain.mine(1)
    monkeypatch.setattr(daemon, "get_block", in_block)
    await town.scan.step(daemon)
    assert "emma" in await town.woken()


async def test_blocks_that_were_replaced_are_scanned_anew_from_the_common_one(town: Village) -> None:
    await town.pay("ann")
    await town.chain.mine(4)
    await town.until_done()
    await town.ctx.store.write(lambda tx: tx.outputs.add(output("coin of bob", "bob", final_at=None)))
    await town.woken()
    await town.chain.reorganise(3)
    await town.until_done()
    assert await town.woken() == {"bob"}, "whatever is not final is looked at, and what was not touched is not"
    blocks = await town.ctx.store.read(lambda tx: tx.scan.blocks())
    assert [block.hash for block in blocks[:5]] == [
        town.chain.chain.block(town.chain.chain.height - depth).hash for depth in range(1, 6)
    ]
    await town.chain.reorganise(5)
    await town.until_done()
    assert await town.woken() == {"ann", "bob"}


async def test_blocks_that_came_one_at_a_time_are_remembered_as_well(town: Village) -> None:
    for _ in range(6):
        await town.chain.mine(1)
        await town.until_done()
    await town.chain.reorganise(5)
    await town.until_done()
    assert await town.woken() == set(), "nothing stood on them"
    assert await town.height() == town.chain.chain.height


async def test_a_chain_that_is_shorter_for_a_while_is_followed_back_and_on(town: Village) -> None:
    await town.chain.mine(6)
    await town.until_done()
    town.chain.chain.pop(4)
    await town.until_done()
    assert await town.height() == town.chain.chain.height
    await town.pay("cat")
    await town.chain.mine(6)
    await town.until_done()
    assert (await town.height(), await town.woken()) == (town.chain.chain.height, {"cat"})


async def test_after_blocks_were_replaced_deeper_than_is_remembered_the_wallets_look(town: Village) -> None:
    await town.chain.mine(REMEMBERED_BLOCKS + 20)
    await town.until_done()
    assert len(await town.ctx.store.read(lambda tx: tx.scan.blocks())) == REMEMBERED_BLOCKS
    await town.woken()
    await town.chain.reorganise(REMEMBERED_BLOCKS + 5)
    await town.until_done()
    assert await town.woken() == {"ann", "bob", "cat"}
    assert await town.height() == town.chain.chain.height


async def test_blocks_that_are_replaced_while_they_are_fetched_are_taken_as_far_as_they_follow_one_another(
    town: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.chain.mine(4)
    daemon, get_block = town.chain.daemon, town.chain.daemon.get_block
    asked: list[int] = []

    async def replaced_amid(height: int) -> Any:
        asked.append(height)
        if len(asked) == 3:
            await town.chain.reorganise(3)
        return await get_block(height)

    monkeypatch.setattr(daemon, "get_block", replaced_amid)
    with suppress(DaemonUnavailableError):  # it does not give the transactions of blocks that are gone
        await town.until_done()
    await town.until_done()
    blocks = await town.ctx.store.read(lambda tx: tx.scan.blocks())
    assert [block.hash for block in blocks[:4]] == [
        town.chain.chain.block(town.chain.chain.height - depth).hash for depth in range(1, 5)
    ]


async def test_while_the_daemon_is_away_or_behind_the_scan_waits_and_then_goes_on(town: Village) -> None:
    before = await town.height()
    await town.pay("ann")
    await town.chain.mine(2)
    town.chain.daemon.reachable = False
    with pytest.raises(ProcessUnreachableError):
        await town.until_done()
    town.chain.daemon.reachable, town.chain.daemon.synchronized = True, False
    with pytest.raises(DaemonUnavailableError):
        await town.until_done()
    assert await town.height() == before
    town.chain.daemon.synchronized = True
    await town.until_done()
    assert await town.woken() == {"ann"}


async def test_a_scan_that_fails_is_tried_again_and_a_fault_of_ours_ends_it(
    town: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[Exception] = [EscrowError("once"), EscrowError("twice"), ZeroDivisionError()]
    slept: list[float] = []

    async def step(_daemon: object) -> bool:
        raise ends.pop(0)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(town.scan, "step", step)
    monkeypatch.setattr(town.ctx.clock, "sleep", sleep)
    with pytest.raises(ZeroDivisionError):
        await town.scan.run(town.chain.daemon)
    assert slept == [town.ctx.settings.chain_poll_seconds] * 2


async def test_a_scan_is_left_after_a_few_looks_without_a_daemon_where_others_may_have_one(
    town: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    async def fails(_daemon: object) -> bool:
        looks.append(1)
        raise DaemonUnavailableError("It is away.")

    async def at_once(_seconds: float) -> None:
        return

    monkeypatch.setattr(town.scan, "step", fails)
    monkeypatch.setattr(town.ctx.clock, "sleep", at_once)
    await town.scan.run(town.chain.daemon, patience=3)

    assert len(looks) == 3
