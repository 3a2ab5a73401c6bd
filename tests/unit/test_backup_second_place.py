"""The second durable place: nobody sees an address before its keys lie there too, and nothing there can be read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from monero_escrow.config import ACKNOWLEDGEMENT, SettingsError, load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.key_exchange import KeyExchange, Round
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.escrows import keep_elsewhere as keeping
from monero_escrow.escrows.keep_elsewhere import NoSecondPlaceError, require_second_place
from monero_escrow.monero.waiting import until
from monero_escrow.service import serve
from monero_escrow.store.records import TrioRecord, TrioState
from monero_escrow.store.sealing import Sealer, derive_key
from monero_escrow.store.second_place import (
    KeptTrio,
    SecondFolder,
    SecondPlaceDamagedError,
    SecondPlaceUnavailableError,
    second_place,
    trouble_with,
)
from unit.fake_service import Town, reached, settings_of, view
from unit.rows import MASTER_KEY, NETWORK, address, escrow, hex64, message, participants

SEALER = Sealer(derive_key(MASTER_KEY, "sealing"))


def kept(trio_id: str = "trio", **changes: object) -> KeptTrio:
    """What is kept of an escrow whose trio has just passed the gate: the database has no address of it yet."""
    rounds = (Round.PREPARE, Round.MAKE, Round.EXCHANGE)
    trio = TrioRecord(
        id=trio_id,
        escrow_id="escrow",
        state=TrioState.MAKING,
        restore_height=7,
        address=None,
        participants={person.role: person for person in participants(trio_id)},
        exchange=KeyExchange({(made, role): message(role, int(made)) for made in rounds for role in ROLES}),
    )
    values = {"network": NETWORK, "now": 3.0} | changes
    return KeptTrio.of(escrow(), trio, address(trio_id), hex64("view key"), **values)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "second"
    made.mkdir()
    return made


@pytest.fixture
def place(folder: Path) -> SecondFolder:
    return SecondFolder(folder, SEALER)


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def take_away(folder: Path) -> None:
    folder.rmdir()


def bring(folder: Path) -> None:
    folder.mkdir()


# The folder


def test_what_was_kept_is_read_again_whole(place: SecondFolder) -> None:
    place.keep(kept("one"))
    place.keep(kept("two"))

    assert list(place.all()) == [kept("one"), kept("two")]


def test_the_trio_comes_back_as_one_that_has_its_address(place: SecondFolder) -> None:
    place.keep(kept())

    (back,) = place.all()
    assert (back.trio.state, back.trio.address) == (TrioState.READY, address("trio"))
    assert back.trio.exchange.addresses == dict.fromkeys(Role, address("trio"))


def test_keeping_the_same_again_changes_nothing(place: SecondFolder, folder: Path) -> None:
    place.keep(kept())
    before = (folder / "trio.sealed").read_bytes()

    place.keep(kept(now=4.0))

    assert (folder / "trio.sealed").read_bytes() == before


def test_something_else_never_replaces_what_was_kept(place: SecondFolder, folder: Path) -> None:
    place.keep(kept())
    before = (folder / "trio.sealed").read_bytes()

    with pytest.raises(SecondPlaceDamagedError):
        place.keep(kept(network="testnet"))

    assert (folder / "trio.sealed").read_bytes() == before


def test_a_file_is_its_owners_alone_and_nothing_in_it_can_be_read(place: SecondFolder, folder: Path) -> None:
    place.keep(kept())

    (file,) = folder.iterdir()
    found = file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    secrets = [person.password for person in participants("trio")] + [hex64("spend key of trio/buyer")]
    for secret in (*secrets, hex64("view key"), "order of escrow", "MultisigxV2", address("trio")):
        assert secret.encode() not in found


def test_a_folder_that_is_not_there_is_not_made_for_it_may_be_an_unmounted_disk(tmp_path: Path) -> None:
    with pytest.raises(SecondPlaceUnavailableError, match="No such file"):
        SecondFolder(tmp_path / "nosuch", SEALER).keep(kept())

    assert not (tmp_path / "nosuch").exists()


def test_a_full_disk_leaves_nothing_half(place: SecondFolder, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Path, data: bytes) -> int:
        with file.open("wb") as half:
            half.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)

    with pytest.raises(SecondPlaceUnavailableError, match="No space left"):
        place.keep(kept())

    assert list(folder.iterdir()) == []


def test_what_cannot_be_kept_tells_callers_nothing_of_the_machine() -> None:
    assert "/" not in SecondPlaceUnavailableError("BACKUP_URL is at /mnt/disk.").public_message


# What is said about where it lies


def test_a_folder_on_the_disk_of_the_database_is_told(tmp_path: Path, folder: Path) -> None:
    settings = load_settings(data_dir=tmp_path, backup_url=f"file://{folder}")

    assert "same file system" in (trouble_with(settings) or "")


def test_a_folder_on_another_disk_is_fine(tmp_path: Path) -> None:
    assert Path("/dev/shm").stat().st_dev != tmp_path.stat().st_dev, "this needs a second file system at /dev/shm"
    assert trouble_with(load_settings(data_dir=tmp_path, backup_url="file:///dev/shm")) is None


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, backup_url=f"file://{tmp_path}/nosuch")

    assert "cannot be used" in (trouble_with(settings) or "")


def test_without_backup_url_there_is_nothing_to_say(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)

    assert trouble_with(settings) is None
    assert second_place(settings) is None


@pytest.mark.parametrize(
    "url",
    ["postgresql://standby/escrow", "/mnt/disk", "file:relative", "file://", "file:///", "file://host/x", "s3://x"],
)
def test_another_kind_of_second_place_is_refused_by_name(url: str) -> None:
    with pytest.raises(SettingsError, match=r"BACKUP_URL: .*file:///PATH"):
        load_settings(backup_url=url)


def test_a_folder_with_a_space_in_its_name_can_be_named() -> None:
    assert load_settings(backup_url="file:///mnt/second%20disk").second_place_folder == Path("/mnt/second disk")


# Mainnet


def test_only_mainnet_needs_a_second_place() -> None:
    for network in Network:
        require_second_place(network, configured=True)
        if network is not Network.MAINNET:
            require_second_place(network, configured=False)
    with pytest.raises(NoSecondPlaceError, match="BACKUP_URL is not set"):
        require_second_place(Network.MAINNET, configured=False)


async def test_the_service_does_not_start_on_mainnet_without_one(tmp_path: Path) -> None:
    urls = ",".join(f"http://127.0.0.1:{port}" for port in (1, 2, 3))
    settings = load_settings(
        monero_network="mainnet",
        mainnet_acknowledgement=ACKNOWLEDGEMENT,
        monero_rpc_urls=urls,
        db_encryption_key="11" * 32,
        data_dir=tmp_path / "data",
    )

    with pytest.raises(SettingsError) as caught:
        await serve(settings)

    assert "BACKUP_URL=file:///" in caught.value.what_to_do
    assert names(tmp_path) == []


# A set-up


async def test_the_keys_of_every_address_lie_in_the_second_place(tmp_path: Path, folder: Path) -> None:
    town = Town()
    processes = town.processes()
    settings = settings_of(tmp_path / "data", processes, backup_url=f"file://{folder}")

    async with town.service(settings, processes) as conductor:
        escrow_id = await town.order(conductor)
        escrow = (await reached(conductor, escrow_id, State.AWAITING_DEPOSIT)).escrow
        trio = await conductor.ctx.store.read(lambda tx: tx.trios.get(escrow.finished_trio_id))
        view_key = await conductor.ctx.store.read(lambda tx: tx.trios.view_key(escrow.finished_trio_id))

    found = second_place(settings)
    assert found is not None
    (back,) = found.all()
    assert (back.escrow_id, back.trio, back.view_key, back.terms) == (escrow_id, trio, view_key, escrow.terms)


async def test_an_address_that_the_second_place_does_not_take_is_shown_to_nobody(tmp_path: Path, folder: Path) -> None:
    town = Town()
    processes = town.processes()
    settings = settings_of(tmp_path / "data", processes, backup_url=f"file://{folder}")
    take_away(folder)

    async with town.service(settings, processes) as conductor:
        escrow_id = await town.order(conductor)

        async def failed() -> bool:
            return (await view(conductor, escrow_id)).escrow.trouble is not None

        await until(failed, limit_seconds=10)
        refused = await view(conductor, escrow_id)
        bring(folder)
        accepted = await reached(conductor, escrow_id, State.AWAITING_DEPOSIT)

    assert refused.escrow.deposit_address is None
    assert refused.escrow.trouble == "The second durable place does not take the keys of a new address."
    assert accepted.escrow.deposit_address is not None
    assert names(folder) == [f"{accepted.escrow.trio_id}.sealed"]


async def test_a_second_place_that_hangs_ends_the_attempt_and_gives_the_slots_back(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = Town()
    processes = town.processes()
    settings = settings_of(tmp_path / "data", processes, backup_url=f"file://{folder}")
    monkeypatch.setattr(keeping, "_LIMIT_SECONDS", 0.05)

    async def hang(*_: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(asyncio, "to_thread", hang)
    async with town.service(settings, processes) as conductor:
        escrow_id = await town.order(conductor)

        async def failed() -> bool:
            return (await view(conductor, escrow_id)).escrow.trouble is not None

        await until(failed, limit_seconds=10)
        assert conductor.ctx.pool.stats().free == len(ROLES)
        assert (await view(conductor, escrow_id)).escrow.deposit_address is None
