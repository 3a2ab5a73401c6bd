"""Another list of processes without a restart: new ones join, removed ones drain, and a bad list changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from monero_escrow.config import Settings, load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.roles import ROLES, Role, role_of_slot
from monero_escrow.fleet.fleet import Fleet
from monero_escrow.fleet.reload import ReloadRefusedError, url_changes
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.versions import MoneroVersion
from unit.slots import BUYER, VirtualClock, assert_books_balance, holding, make_pool, make_slots, settle

_FIRST_PORT = 41_000
_VERSION = MoneroVersion.parse("0.18.5.3")


def url(number: int) -> str:
    return f"http://127.0.0.1:{_FIRST_PORT + number}"


class Nobody:
    """No wallet is ours."""

    async def knows_wallet(self, address: str) -> bool:
        return False

    async def recent_passwords(self, role: Role) -> Sequence[str]:
        return ()


class Yard:
    """A fleet of fake processes at numbered places; `listed` is what stands in the settings."""

    def __init__(self, clock: VirtualClock, folder: Path) -> None:
        self.folder = folder
        self.processes = [
            FakeWalletRpc(url(number), FakeDisk(), Random(number), network=Network.STAGENET, version=_VERSION)
            for number in range(12)
        ]
        self.listed: object = [0, 1, 2]
        settings = self.read()
        self.pool = make_pool(self.static_slots(settings), clock)
        self.fleet = Fleet(
            settings,
            self.pool,
            clock,
            Nobody(),
            self.static_slots,
            lambda _url: lambda _method, _seconds, _outcome: None,
        )
        self.fleet.read_settings = self.read

    def read(self) -> Settings:
        urls = ",".join(map(url, self.listed)) if isinstance(self.listed, list) else str(self.listed)
        return load_settings(monero_rpc_urls=urls, data_dir=self.folder)

    def static_slots(self, settings: Settings) -> list[Slot]:
        numbers = [int(place.rpartition(":")[2]) - _FIRST_PORT for place in settings.monero_rpc_urls]
        return [Slot(index, role_of_slot(index), self.processes[n]) for index, n in enumerate(numbers)]

    def there(self) -> list[int]:
        return [int(slot.rpc.url.rpartition(":")[2]) - _FIRST_PORT for slot in self.pool.slots]

    def is_free(self) -> bool:
        return self.pool.stats().free == self.pool.stats().total


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
    assert done.joined == tuple(f"{role}@127.0.0.1:{_FIRST_PORT + 3 + i}" for i, role in enumerate(ROLES))
    assert (done.draining, done.sick) == ((), {})
    assert yard.there() == [0, 1, 2, 3, 4, 5]
    assert yard.is_free()
    assert all(slot.mark is not None for slot in yard.pool.slots), "they were inspected"


async def test_a_new_process_that_cannot_be_used_joins_sick_and_is_named(yard: Yard) -> None:
    yard.processes[4].kill()
    yard.listed = [0, 1, 2, 3, 4, 5]
    done = await yard.fleet.reload()
    assert list(done.sick) == [f"vendor@127.0.0.1:{_FIRST_PORT + 4}"]
    assert yard.pool.stats().free == 5


async def test_removed_processes_drain_and_no_lease_is_broken(yard: Yard) -> None:
    yard.listed = [0, 1, 2, 3, 4, 5]
    await yard.fleet.reload()
    holders = await holding(yard.pool, BUYER, BUYER)

    yard.listed = [3, 4, 5]
    done = await yard.fleet.reload()

    assert done.draining == tuple(f"{role}@127.0.0.1:{_FIRST_PORT + i}" for i, role in enumerate(ROLES))
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
    assert list(done.sick) == [f"buyer@127.0.0.1:{_FIRST_PORT}"]
    assert yard.there().count(0) == 1, "one process is never two slots"

    for holder in holders:
        await holder.give_back()
    await settle()

    assert sorted(yard.there()) == [0, 1, 2, 3, 4, 5]
    assert yard.is_free()


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
