"""Files of wallets that nobody needs are removed; what anybody may still need stays, and what is missed comes back."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import update

from monero_escrow.config import load_settings
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.hosted import names_of
from monero_escrow.escrows.tidy import tidy_up
from monero_escrow.escrows.watch_deposits import watch_deposits
from monero_escrow.fleet.local import wallets_folder
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.ports import WalletRpc
from monero_escrow.store.records import TrioState
from monero_escrow.store.schema import escrows, participants, trios
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from monero_escrow.store.trio_table import Maker
from unit.fake_service import Town, settings_of
from unit.restoring import add_trio
from unit.rows import escrow
from unit.slots import WAIT_SECONDS, IdleRpc, VirtualClock

_DAY_SECONDS = 86_400.0
_LONG_AGO = -60 * _DAY_SECONDS
BESIDE = ("", ".keys", ".address.txt")


@pytest.fixture
def folders(tmp_path: Path) -> dict[Role, Path]:
    """A wallet folder a class, as managed processes have them."""
    made = {role: tmp_path / "wallets" / role for role in ROLES}
    for folder in made.values():
        folder.mkdir(parents=True)
    return made


@pytest.fixture
def tidy(ctx: Context, clock: VirtualClock, folders: dict[Role, Path]) -> Context:
    """A service whose slots' folders this machine sees."""
    slots = [
        Slot(index, role, cast("WalletRpc", IdleRpc(index)), managed=True, wallet_dir=folders[role])
        for index, role in enumerate(ROLES)
    ]
    return replace(ctx, pool=SlotPool(slots, clock, quarantine_seconds=1))


def filename(trio_id: str, role: Role) -> str:
    return f"{role}-{trio_id.encode().hex():0>16}"


async def add(
    store: SqlStore, folders: dict[Role, Path], trio_id: str, state: State = State.SETTLED, **values: object
) -> None:
    """An escrow of the same name that was closed long ago, with the trio's files in their folders."""
    row = {"state": state, "due_at": None, "updated_at": _LONG_AGO, "trio_id": trio_id} | values

    def rows(tx: Transaction) -> None:
        tx.escrows.add(escrow(trio_id))
        add_trio(tx, trio_id, trio_id, finished=True)
        tx.connection.execute(update(escrows).where(escrows.c.id == trio_id).values(**row))
        _name_files(tx, trio_id)

    await store.write(rows)
    put_files(folders, trio_id)


def _name_files(tx: Transaction, trio_id: str) -> None:
    for role in ROLES:
        its = (participants.c.trio_id == trio_id, participants.c.role == role)
        tx.connection.execute(update(participants).where(*its).values(filename=filename(trio_id, role)))


def put_files(folders: dict[Role, Path], trio_id: str) -> None:
    for role, folder in folders.items():
        for name in (filename(trio_id, role), f"{filename(trio_id, role)}-1"):
            for beside in BESIDE:
                (folder / f"{name}{beside}").write_text("a wallet")


def left(folders: dict[Role, Path]) -> list[str]:
    return sorted(file.name for folder in folders.values() for file in folder.iterdir())


async def test_the_files_of_an_escrow_settled_long_ago_are_removed_once(
    tidy: Context, store: SqlStore, folders: dict[Role, Path]
) -> None:
    await add(store, folders, "old")
    stranger = folders[Role.BUYER] / "somebody-else's"
    stranger.write_text("a wallet")

    assert await tidy_up(tidy) == 1
    assert left(folders) == [stranger.name]
    assert await tidy_up(tidy) == 0


async def test_a_file_that_comes_back_is_removed_again_later(
    tidy: Context, store: SqlStore, folders: dict[Role, Path]
) -> None:
    await add(store, folders, "old")
    await tidy_up(tidy)
    await store.write(lambda tx: tx.trios.about_to_open("old", [Role.BUYER], 1.0))
    put_files(folders, "old")

    assert await tidy_up(tidy) == 1
    assert left(folders) == []


@pytest.mark.parametrize(
    "values",
    [
        {"state": State.FUNDED},
        {"due_at": 5_000.0},
        {"due_height": 100},
        {"rescan_from": 100},
        {"updated_at": 900.0},
    ],
    ids=["open", "due by the clock", "due by the chain", "to be scanned again", "closed a moment ago"],
)
async def test_the_files_of_an_escrow_that_is_not_over_stay(
    tidy: Context, store: SqlStore, folders: dict[Role, Path], values: dict[str, object]
) -> None:
    await add(store, folders, "needed", **values)  # type: ignore[arg-type]

    before = left(folders)
    assert await tidy_up(tidy) == 0
    assert left(folders) == before != []


async def test_nothing_is_removed_while_somebody_works_on_the_escrow(
    tidy: Context, store: SqlStore, folders: dict[Role, Path]
) -> None:
    await add(store, folders, "old")
    async with tidy.pool.lease(frozenset({Role.VENDOR}), "deposits of old", wait_seconds=WAIT_SECONDS):
        assert await tidy_up(tidy) == 0
    assert await tidy_up(tidy) == 1


async def test_the_files_of_abandoned_set_ups_are_removed_a_day_later_and_stock_stays(
    tidy: Context, store: SqlStore, folders: dict[Role, Path]
) -> None:
    def rows(tx: Transaction) -> None:
        for name, finished in (("given up", False), ("just now", False), ("in stock", True), ("making", False)):
            add_trio(tx, name, None, finished=finished)
            _name_files(tx, name)
        tx.trios.abandon("given up", "why not", tidy.clock.now() - 2 * _DAY_SECONDS)
        tx.trios.abandon("just now", "why not", tidy.clock.now() - 60)

    await store.write(rows)
    for name in ("given up", "just now", "in stock", "making"):
        put_files(folders, name)

    assert await tidy_up(tidy) == 1
    names = ("given up", "just now", "in stock", "making")
    assert [name for name in names if filename(name, Role.BUYER) not in left(folders)] == ["given up"]


async def test_a_name_that_is_not_of_our_making_is_never_a_path(
    tidy: Context, store: SqlStore, folders: dict[Role, Path], tmp_path: Path
) -> None:
    await add(store, folders, "old")
    precious = tmp_path / "precious"
    precious.write_text("nothing of ours")
    odd = update(participants).where(participants.c.role == Role.BUYER).values(filename="../../precious")
    await store.write(lambda tx: tx.connection.execute(odd))

    await tidy_up(tidy)

    assert precious.exists()


async def test_what_cannot_be_removed_is_left_for_the_next_look(
    tidy: Context, store: SqlStore, folders: dict[Role, Path]
) -> None:
    await add(store, folders, "old")
    odd = folders[Role.ARBITER] / f"{filename('old', Role.ARBITER)}-2"
    odd.mkdir()
    assert await tidy_up(tidy) == 0
    odd.rmdir()
    assert await tidy_up(tidy) == 1


async def test_without_a_folder_that_this_machine_sees_nothing_is_done(
    ctx: Context, store: SqlStore, folders: dict[Role, Path]
) -> None:
    await add(store, folders, "old")

    assert await tidy_up(ctx) == 0


async def test_the_folder_of_the_settings_is_that_of_processes_that_are_not_ours(
    tidy: Context, store: SqlStore, folders: dict[Role, Path], tmp_path: Path
) -> None:
    await add(store, folders, "old")
    shared = tmp_path / "shared"
    shared.mkdir()
    put_files(dict.fromkeys(ROLES, shared), "old")
    static = [Slot(index, role, cast("WalletRpc", IdleRpc(index))) for index, role in enumerate(ROLES)]
    settings = load_settings(data_dir=tmp_path, wallet_dir=shared)
    pool = SlotPool(static, tidy.clock, quarantine_seconds=1)

    assert await tidy_up(replace(tidy, pool=pool, settings=settings)) == 1
    assert list(os.listdir(shared)) == []
    assert left(folders) != []


async def test_a_trio_waits_while_a_class_has_no_folder_to_look_into(
    tidy: Context, store: SqlStore, folders: dict[Role, Path]
) -> None:
    """Its only process has just died: what lies there is not seen, and would be taken for removed for ever."""
    await add(store, folders, "old")
    (died,) = [slot for slot in tidy.pool.slots if slot.role is Role.BUYER]
    tidy.pool.drain(died)
    assert await tidy_up(tidy) == 0
    assert len(left(folders)) == len(ROLES) * 2 * len(BESIDE)

    again = Slot(9, Role.BUYER, cast("WalletRpc", IdleRpc(9)), managed=True, wallet_dir=folders[Role.BUYER])
    tidy.pool.add(again)
    assert await tidy_up(tidy) == 1
    assert left(folders) == []


async def test_the_folders_of_our_own_processes_are_looked_into_also_when_none_runs(
    ctx: Context, store: SqlStore
) -> None:
    own = {role: wallets_folder(ctx.settings.fleet_folder, role) for role in ROLES}
    for folder in own.values():
        folder.mkdir(parents=True)
    await add(store, own, "old")
    assert await tidy_up(ctx) == 1
    assert left(own) == []


async def test_a_look_at_an_escrow_whose_files_were_removed_makes_them_again(tmp_path: Path) -> None:
    town = Town()
    processes = town.processes()
    async with town.service(settings_of(tmp_path, processes), processes) as conductor:
        ctx = conductor.ctx
        escrow_id = await town.funded(conductor)
        found = await ctx.store.read(lambda tx: tx.escrows.get(escrow_id))
        trio = await ctx.store.read(lambda tx: tx.trios.get(found.finished_trio_id))
        for process, role in zip(processes, ROLES, strict=True):
            for name in names_of(trio.participants[role].filename):
                process.disk.keys_files.pop(name, None)
                process.disk.cache_files.pop(name, None)
        await watch_deposits(ctx, found)
        again = await ctx.store.read(lambda tx: tx.outputs.of(escrow_id))

    assert [output.amount_piconero for output in again] == [found.terms.amount_piconero]
    back = [keys.address for process in processes for keys in process.disk.keys_files.values()]
    assert back == [found.deposit_address], "one role looks, and its wallet is there again"


async def test_of_several_nodes_each_judges_only_what_is_at_home_with_it(
    tidy: Context, store: SqlStore, folders: dict[Role, Path]
) -> None:
    """The files of the others' wallets lie on their machines: not seen here, they would be taken for removed."""
    for trio_id, home in (("mine", "a"), ("theirs", "b"), ("nobody", None)):
        given_up = f"{trio_id} 2"
        await add(store, folders, trio_id, home=home)
        await add(store, folders, given_up, home=home)
        await store.write(lambda tx, given_up=given_up, home=home: _give_up(tx, given_up, home))  # type: ignore[misc]
    assert await tidy_up(replace(tidy, maker=lambda: Maker("run", "a"))) == 4
    of_b = {filename(trio_id, role) for trio_id in ("theirs", "theirs 2") for role in ROLES}
    assert {name for name in left(folders) if name in of_b} == of_b
    assert await tidy_up(replace(tidy, maker=lambda: Maker("run", "b"))) == 2
    assert left(folders) == []


def _give_up(tx: Transaction, trio_id: str, home: str | None) -> None:
    values = {"state": TrioState.ABANDONED, "finished_at": _LONG_AGO, "home": home}
    tx.connection.execute(update(trios).where(trios.c.id == trio_id).values(**values))
