"""Another list of processes without a restart: new ones join, removed ones drain, and a bad list changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest
import pytest_asyncio

from monero_escrow.config import load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.roles import ROLES, TRIO, Role, role_of_slot
from monero_escrow.fleet.inspection import Ownership, inspect
from monero_escrow.fleet.reload import ReloadRefusedError, url_changes
from monero_escrow.fleet.slot import Slot
from monero_escrow.fleet.supervisor import FleetSupervisor, limits_of
from monero_escrow.fleet.upkeep import Upkeep
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.static_access import StaticAccess
from monero_escrow.store.node_table import SlotTakenError
from unit.fake_fleet import START_SECONDS, FakeFleet
from unit.reload_yard import FIRST_PORT, Yard, url
from unit.slots import (
    BUYER,
    Holder,
    VirtualClock,
    assert_books_balance,
    holding,
    make_slots,
    settle,
)


@pytest.fixture(autouse=True)
def processes_take_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fakes answer without ever yielding; a process at the other end of a socket does not."""

    async def inspect_in_a_moment(slot: Slot, network: Network, ownership: Ownership) -> None:
        await asyncio.sleep(0)
        await inspect(slot, network, ownership)

    monkeypatch.setattr("monero_escrow.fleet.fleet.inspect", inspect_in_a_moment)


@pytest_asyncio.fixture
async def yard(clock: VirtualClock, tmp_path: Path) -> AsyncIterator[Yard]:
    made = Yard(clock, tmp_path)
    await made.fleet.prepare()
    running = asyncio.create_task(made.fleet.run())
    await settle()
    yield made
    assert_books_balance(made.pool)
    running.cancel()
    await asyncio.wait([running])
    await made.fleet.aclose()


async def test_new_processes_are_looked_at_and_join(yard: Yard) -> None:
    yard.listed = [0, 1, 2, 3, 4, 5]
    done = await yard.fleet.reload()
    assert done.joined == tuple(f"{role}@127.0.0.1:{FIRST_PORT + 3 + i}" for i, role in enumerate(ROLES))
    assert (done.draining, done.sick) == ((), {})
    assert yard.there() == [0, 1, 2, 3, 4, 5]
    assert yard.is_free()
    assert all(slot.mark is not None for slot in yard.pool.slots), "they were inspected"


async def test_a_new_process_that_cannot_be_used_joins_sick_and_is_named(yard: Yard) -> None:
    yard.processes[4].kill()
    yard.listed = [0, 1, 2, 3, 4, 5]
    done = await yard.fleet.reload()
    assert list(done.sick) == [f"vendor@127.0.0.1:{FIRST_PORT + 4}"]
    assert yard.pool.stats().free == 5


async def test_the_other_nodes_are_told_of_a_process_before_it_joins_and_after_it_left(yard: Yard) -> None:
    told: list[list[int]] = []

    async def claim_urls(urls: Collection[str]) -> None:
        told.append(sorted(int(place.rpartition(":")[2]) - FIRST_PORT for place in urls))
        assert not {3, 4, 5} & set(yard.there()) or len(told) > 1

    yard.fleet.claim_urls = claim_urls
    (holder,) = await holding(yard.pool, BUYER)
    yard.listed = [3, 4, 5]
    await yard.fleet.reload()
    await settle()
    assert told[0] == [0, 1, 2, 3, 4, 5]
    assert told[-1] == [0, 3, 4, 5], "what drains is in use until it has left"
    await holder.give_back()
    await settle()
    assert told[-1] == [3, 4, 5]


async def test_a_process_of_another_node_is_refused_and_nothing_changes(yard: Yard) -> None:
    async def claim_urls(_urls: Collection[str]) -> None:
        raise SlotTakenError(f"{url(4)} serves the node b already.")

    yard.fleet.claim_urls = claim_urls
    yard.listed = [0, 1, 2, 3, 4, 5]
    with pytest.raises(ReloadRefusedError, match="serves the node b already"):
        await yard.fleet.reload()
    assert yard.there() == [0, 1, 2]


async def test_removed_processes_drain_and_no_lease_is_broken(yard: Yard) -> None:
    yard.listed = [0, 1, 2, 3, 4, 5]
    await yard.fleet.reload()
    holders = await holding(yard.pool, BUYER, BUYER)

    yard.listed = [3, 4, 5]
    done = await yard.fleet.reload()

    assert done.draining == tuple(f"{role}@127.0.0.1:{FIRST_PORT + i}" for i, role in enumerate(ROLES))
    assert yard.there() == [0, 3, 4, 5], "the one that is leased stays until it is given back"
    for holder in holders:
        assert holder.holds
        await holder.give_back()
    await settle()
    assert yard.there() == [3, 4, 5]
    assert yard.is_free()


async def test_a_process_that_is_listed_again_while_it_drains_joins_when_it_has_left(yard: Yard) -> None:
    yard.listed = [0, 1, 2, 3, 4, 5]
    await yard.fleet.reload()
    holders = await holding(yard.pool, BUYER, BUYER)
    yard.listed = [3, 4, 5]
    await yard.fleet.reload()
    yard.listed = [3, 4, 5, 0, 1, 2]
    done = await yard.fleet.reload()
    assert list(done.sick) == [f"buyer@127.0.0.1:{FIRST_PORT}"]
    assert yard.there().count(0) == 1, "one process is never two slots"

    for holder in holders:
        await holder.give_back()
    await settle()

    assert sorted(yard.there()) == [0, 1, 2, 3, 4, 5]
    assert yard.is_free()


async def test_new_credentials_for_a_process_are_used_when_its_lease_is_over_and_nobody_is_turned_away(
    yard: Yard,
) -> None:
    (holder,) = await holding(yard.pool, BUYER)
    assert holder.lease is not None
    held = holder.lease.slot(Role.BUYER)
    yard.logins[0] = Credentials("escrow", "new")
    done = await yard.fleet.reload()
    assert done.joined == done.draining == (held.name,)
    (waiting,) = await holding(yard.pool, BUYER)
    assert holder.holds
    assert not waiting.task.done()
    await holder.give_back()
    await settle()
    assert waiting.lease is not None
    assert waiting.lease.slot(Role.BUYER) is not held
    assert waiting.lease.slot(Role.BUYER).access == StaticAccess(Credentials("escrow", "new"))
    await waiting.give_back()
    assert sorted(yard.there()) == [0, 1, 2]
    assert (await yard.fleet.reload()).joined == (), "they are known now"


@pytest.mark.parametrize("more", [[], [[3, 4, 5, 0, 1, 2]], [[3, 4, 5, 0, 1, 2]] * 2])
async def test_one_process_is_never_two_slots_however_often_is_reloaded_while_it_drains(
    yard: Yard, more: list[list[int]]
) -> None:
    holders = await drains_with_a_holder(yard)
    for listed in [[3, 4, 5, 0, 1, 2], *more]:
        yard.listed = listed
        await yard.fleet.reload()
    for holder in holders:
        await holder.give_back()
    await settle()
    assert sorted(yard.there()) == [0, 1, 2, 3, 4, 5]

    holders = await holding(yard.pool, BUYER, BUYER, BUYER)
    leased = [slot.rpc.url for lease in yard.pool.leases for slot in lease.slots.values()]
    assert len(leased) == len(set(leased)) == 2
    for holder in holders:
        await holder.give_back()


async def test_a_process_taken_off_again_while_it_waits_to_join_never_joins(yard: Yard) -> None:
    holders = await drains_with_a_holder(yard)
    for listed in ([3, 4, 5, 0, 1, 2], [3, 4, 5]):
        yard.listed = listed
        await yard.fleet.reload()
    for holder in holders:
        await holder.give_back()
    await settle()
    assert yard.there() == [3, 4, 5]


async def drains_with_a_holder(yard: Yard) -> list[Holder]:
    """Six slots are there, of which the first three drain, and one of these is held."""
    yard.listed = [0, 1, 2, 3, 4, 5]
    await yard.fleet.reload()
    holders = await holding(yard.pool, BUYER, BUYER)
    yard.listed = [3, 4, 5]
    await yard.fleet.reload()
    return holders


async def test_going_over_from_own_processes_to_listed_ones_turns_nobody_away(
    clock: VirtualClock, tmp_path: Path
) -> None:
    yard = Yard(clock, tmp_path, listed="")
    own = FakeFleet(clock)
    yard.fleet.upkeep = Upkeep(own, yard.pool, clock)
    yard.fleet.supervisor = FleetSupervisor(
        yard.pool, yard.fleet.upkeep, own.memory_bytes, clock, limits_of(yard.fleet.settings)
    )
    yard.fleet._size_own()
    running = asyncio.create_task(yard.fleet.run())
    await clock.advance(2 * START_SECONDS)
    first, waits = await holding(yard.pool, TRIO, TRIO)

    yard.listed = [0, 1, 2]
    await yard.fleet.reload()
    await settle()

    assert first.holds
    assert waits.holds
    for holder in (first, waits):
        await holder.give_back()
    await settle()
    assert yard.there() == [0, 1, 2]
    running.cancel()
    await asyncio.wait([running])
    await yard.fleet.aclose()


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        (f"{url(0)},{url(1)},{url(1)}", "is listed twice"),
        ("http://127.0.0.1", "is not of the form"),
        (f"{url(0)},{url(1)}", "needs three processes"),
        (f"{url(1)},{url(2)},{url(3)}", "would come to serve buyers"),
        (f"{url(0)},{url(2)},{url(1)}", "would come to serve"),
    ],
)
async def test_a_list_that_cannot_be_used_changes_nothing_and_says_why(yard: Yard, listed: str, reason: str) -> None:
    slots, yard.listed = yard.pool.slots, listed
    with pytest.raises(ReloadRefusedError, match=reason) as refused:
        await yard.fleet.reload()
    assert "Nothing was changed" in refused.value.what_to_do
    assert yard.pool.slots == slots
    assert yard.is_free()


async def test_sizes_that_cannot_be_change_nothing_and_say_why(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = yard.pool.slots
    for name, value in (("FLEET_MIN_TRIOS", "0"), ("FLEET_MAX_TRIOS", "100000"), ("MONERO_BIN_DIR", "/nowhere")):
        monkeypatch.setenv(name, value)
        if name == "MONERO_BIN_DIR":
            monkeypatch.setenv("FLEET_MIN_TRIOS", "1")
        with pytest.raises(ReloadRefusedError):
            await yard.fleet.reload()
        monkeypatch.delenv(name)
    assert yard.pool.slots == slots
    assert yard.fleet.local is None


class SettingsFile:
    """The file that MONERO_ESCROW_CONFIG names, with the settings that the yard began with."""

    def __init__(self, yard: Yard) -> None:
        self.path = yard.folder / "escrow.env"
        self.at_start = f"MONERO_RPC_URLS={url(0)},{url(1)},{url(2)}\nDATA_DIR={yard.folder}\n".encode()
        self.write(self.at_start)

    def write(self, content: bytes) -> None:
        self.path.write_bytes(content)

    def remove(self) -> None:
        self.path.unlink()


@pytest_asyncio.fixture
async def file(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> SettingsFile:
    made = SettingsFile(yard)
    monkeypatch.setenv("MONERO_ESCROW_CONFIG", str(made.path))
    monkeypatch.chdir(yard.folder)
    yard.fleet.read_settings = load_settings
    assert (await yard.fleet.reload()).draining == ()
    return made


async def test_a_file_that_is_just_being_written_or_is_gone_is_not_taken_for_a_wish(
    yard: Yard, file: SettingsFile
) -> None:
    slots = yard.pool.slots
    file.write(b"")  # an editor empties before it writes
    with pytest.raises(ReloadRefusedError, match="DATA_DIR") as refused:
        await yard.fleet.reload()
    assert "Nothing was changed" in refused.value.what_to_do
    file.remove()
    with pytest.raises(ReloadRefusedError, match="is not there"):
        await yard.fleet.reload()
    file.write(b"MONERO_RPC_URLS=\xff\n")
    with pytest.raises(ReloadRefusedError, match="cannot be read"):
        await yard.fleet.reload()
    assert yard.pool.slots == slots
    assert yard.fleet.local is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_ENCRYPTION_KEY", "33" * 32),
        ("DB_ENCRYPTION_KEY_FILE", "another.key"),
        ("DATA_DIR", "elsewhere"),
        ("MONERO_NETWORK", "testnet"),
    ],
)
async def test_settings_of_another_service_are_refused_by_name_and_without_their_values(
    yard: Yard, file: SettingsFile, name: str, value: str
) -> None:
    slots = yard.pool.slots
    file.write(file.at_start + f"{name}={value}\n".encode())
    with pytest.raises(ReloadRefusedError, match=name) as refused:
        await yard.fleet.reload()
    assert value not in str(refused.value)
    assert yard.pool.slots == slots


async def test_processes_of_an_earlier_run_are_ended_also_where_urls_are_listed_now(
    clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []

    async def end_orphans(folder: Path) -> int:
        looked.append(folder)
        return 0

    monkeypatch.setattr("monero_escrow.fleet.fleet.end_orphans", end_orphans)
    yard = Yard(clock, tmp_path)
    await yard.fleet.prepare()
    assert looked == [tmp_path / "fleet"]
    await yard.fleet.aclose()


async def test_the_same_list_again_changes_nothing(yard: Yard) -> None:
    slots = yard.pool.slots
    done = await yard.fleet.reload()
    assert (done.joined, done.draining) == ((), ())
    assert yard.pool.slots == slots


async def test_a_fleet_that_does_not_run_is_not_reloaded(yard: Yard, clock: VirtualClock, tmp_path: Path) -> None:
    idle = Yard(clock, tmp_path / "idle")
    with pytest.raises(ReloadRefusedError, match="starts or ends"):
        await idle.fleet.reload()


def test_places_may_change_as_long_as_the_roles_do_not() -> None:
    now = make_slots(6)
    moved = [*now[3:], *now[:3]]
    again = [Slot(index, role_of_slot(index), slot.rpc) for index, slot in enumerate(moved)]
    changes = url_changes(now, again)
    assert (changes.joining, changes.leaving) == ((), ())
