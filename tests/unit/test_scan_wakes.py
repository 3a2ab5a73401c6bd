"""What else the scan wakes for: the pool, heights, payouts; and whom it spares: dust, those at rest, other escrows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from sqlalchemy import update

from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.life_cycle import State
from monero_escrow.core.scan import PublicTransaction
from monero_escrow.escrows import scan_chain
from monero_escrow.escrows.context import DaemonUnavailableError
from monero_escrow.store import schema
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.engines import also_run_twice
from unit.rows import XMR, add_funded, decide, output, plan
from unit.scan_village import Village, keys_of
from unit.slots import VirtualClock

pytestmark = also_run_twice

DUST = 1_000_000_000


async def test_a_transaction_that_left_the_pool_and_is_in_no_block_is_looked_after(town: Village) -> None:
    await town.pay("ann")
    await town.until_done()
    assert await town.woken() == {"ann"}
    town.chain.chain.forget_pool()
    await town.until_done()
    assert await town.woken() == set(), "it may have been mined this very moment"
    await town.until_done()
    assert await town.woken() == {"ann"}
    await town.until_done()
    assert await town.woken() == set()


async def test_after_a_restart_whoever_had_something_in_the_pool_is_looked_at(town: Village) -> None:
    await town.ctx.store.write(lambda tx: tx.escrows.saw_in_pool("cat", XMR))
    town.restart()
    await town.until_done()
    assert await town.woken() == {"cat"}


async def test_a_crowded_pool_is_scanned_a_part_at_a_time_and_blocks_come_first(
    town: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_chain, "_MOST_POOL_TRANSACTIONS_A_STEP", 2)
    for name in ("ann", "bob", "cat"):
        await town.pay(name)
    assert await town.scan.step(town.chain.daemon), "there is more"
    assert await town.woken() == {"ann", "bob"}
    assert not await town.scan.step(town.chain.daemon)
    assert await town.woken() == {"cat"}


async def test_the_chains_growth_wakes_whoever_waits_for_a_height_once(town: Village) -> None:
    height = town.chain.chain.height
    await town.ctx.store.write(lambda tx: tx.escrows.look_at_height("bob", height + 3))
    await town.chain.mine(2)
    await town.until_done()
    assert await town.woken() == set()
    await town.chain.mine(1)
    await town.until_done()
    assert await town.woken() == {"bob"}
    await town.chain.mine(1)
    await town.until_done()
    assert await town.woken() == set()


async def test_each_block_wakes_whoever_has_a_payout_under_way(town: Village) -> None:
    def work(tx: Transaction) -> None:
        tx.outputs.add(output("coin", "cat", status=OutputStatus.COUNTED, final_at=1.0))
        decide(tx, "payout", "cat", plan("coin"))

    await town.ctx.store.write(work)
    await town.chain.mine(1)
    await town.until_done()
    assert await town.woken() == {"cat"}


async def test_dust_wakes_nobody_more_often_than_once_an_hour_and_nothing_at_all_never(
    town: Village, clock: VirtualClock
) -> None:
    dust = town.ctx.settings.dust_piconero
    await town.chain.mine(20)
    await town.pay("bob", dust)
    await town.until_done()
    assert await town.woken() == {"bob"}
    for _ in range(3):
        await town.pay("bob", dust)
        await town.until_done()
    first = clock.now()
    assert await town.woken() == set()
    assert await town.due_at("bob") == first + 3_600
    await town.pay("bob", dust + 1)
    await town.until_done()
    assert await town.woken() == {"bob"}, "coins that count are not kept waiting"


async def test_who_is_at_rest_is_not_watched_and_is_found_when_somebody_wants_it_scanned_again(town: Village) -> None:
    await town.add("old", State.SETTLED, due_at=None)
    first = town.chain.chain.height
    await town.pay("old")
    await town.chain.mine(8)
    await town.until_done()
    assert await town.woken() == set()
    now = town.ctx.clock.now()
    assert await town.ctx.store.write(lambda tx: tx.escrows.rescan("old", first, now)) == 1
    assert await town.woken() == {"old"}, "its wallet looks at once"
    await town.until_done()
    assert await town.woken() == {"old"}, "and the scan finds what came to it"
    assert await town.ctx.store.read(lambda tx: tx.scan.rescans()) == {}


async def test_a_rescan_of_all_reaches_those_at_rest_and_goes_on_after_a_restart(
    town: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_chain, "_MOST_BLOCKS_A_STEP", 3)
    await town.add("old", State.SETTLED, due_at=None)
    first = town.chain.chain.height
    await town.chain.mine(8)
    await town.until_done()
    now = town.ctx.clock.now()
    assert await town.ctx.store.write(lambda tx: tx.escrows.rescan(None, first, now)) == 4
    assert await town.woken() == {"ann", "bob", "cat", "old"}
    assert await town.scan.step(town.chain.daemon)
    assert set((await town.ctx.store.read(lambda tx: tx.scan.rescans())).values()) == {first + 3}
    town.restart()
    town.scanned.clear()
    await town.until_done()
    assert {names for _, names in town.scanned} == {frozenset({"ann", "bob", "cat", "old"})}
    assert await town.ctx.store.read(lambda tx: tx.scan.rescans()) == {}


async def test_a_view_key_that_cannot_be_opened_keeps_no_other_escrow_from_being_watched(town: Village) -> None:
    await town.add("broken")
    broken = update(schema.trios).where(schema.trios.c.id == "trio of broken").values(view_key_sealed=b"nonsense")
    await town.ctx.store.write(lambda tx: tx.connection.execute(broken))
    await town.pay("ann")
    await town.until_done()
    assert await town.woken() == {"ann"}


async def test_the_log_tells_of_hints_without_keys_and_whole_addresses(
    town: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Log:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *args, **more: told.append(f"{name} {args} {more}")

    monkeypatch.setattr(scan_chain, "log", Log())
    txid = await town.pay("ann")
    await town.chain.mine(1)
    await town.until_done()
    text = "\n".join(told)
    assert "deposit_hint" in text
    for secret in (keys_of("ann").private_view_key_hex, keys_of("ann").address, txid):
        assert secret not in text


async def test_funded_rows_of_before_this_version_have_no_height_and_are_looked_at_at_the_first_scan(
    store: SqlStore, village: Village
) -> None:
    await store.write(add_funded)  # as migrated: no address in this row, and so nobody can look
    await village.add("ann", State.FUNDED)
    await village.until_done()
    assert await village.woken() == {"ann", "escrow"}


async def test_dust_that_was_seen_in_the_pool_wakes_nobody_again_in_its_block(town: Village) -> None:
    await town.chain.mine(20)
    await town.pay("bob", DUST)
    await town.until_done()
    assert await town.woken() == {"bob"}
    for _ in range(3):
        await town.pay("bob", DUST)
        await town.until_done()
        await town.chain.mine(1)
        await town.until_done()
        assert await town.woken() == set(), "within the hour"


async def test_a_rescan_asked_for_while_another_goes_on_is_not_forgotten(
    town: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.chain.mine(10)
    await town.until_done()
    top, now = town.chain.chain.height, town.ctx.clock.now()
    await town.ctx.store.write(lambda tx: tx.escrows.rescan("ann", top - 3, now))
    daemon, get_public_parts = town.chain.daemon, town.chain.daemon.get_public_parts

    async def asked_again_amid(txids: Sequence[str]) -> Mapping[str, PublicTransaction]:
        monkeypatch.setattr(daemon, "get_public_parts", get_public_parts)
        await town.ctx.store.write(lambda tx: tx.escrows.rescan("ann", 1, now))
        return await get_public_parts(txids)

    monkeypatch.setattr(daemon, "get_public_parts", asked_again_amid)
    await town.scan.step(daemon)
    assert await town.ctx.store.read(lambda tx: tx.scan.rescans()) == {"ann": 1}


async def test_a_block_of_which_the_daemon_does_not_give_every_transaction_is_scanned_again(
    town: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.pay("ann")
    await town.chain.mine(1)
    daemon, get_public_parts = town.chain.daemon, town.chain.daemon.get_public_parts

    async def of_a_node_that_is_behind(_txids: Sequence[str]) -> Mapping[str, PublicTransaction]:
        monkeypatch.setattr(daemon, "get_public_parts", get_public_parts)
        return {}

    monkeypatch.setattr(daemon, "get_public_parts", of_a_node_that_is_behind)
    with pytest.raises(DaemonUnavailableError):
        await town.scan.step(daemon)
    await town.until_done()
    assert await town.woken() == {"ann"}
