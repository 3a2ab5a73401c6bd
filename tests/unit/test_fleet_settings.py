"""The fleet's sizes: what is refused before anything is started, and whether the service runs processes of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from monero_escrow.config import Settings, SettingsError, load_settings
from monero_escrow.fleet import memory
from monero_escrow.fleet.fleet import require_slots, suitable_programs
from monero_escrow.fleet.local import FleetFolderError, require_usable_folder
from monero_escrow.fleet.memory import SLOT_BYTES, fleet_memory_bytes
from monero_escrow.monero.programs import MoneroPrograms, ProgramsMissingError
from monero_escrow.monero.versions import MoneroVersion

URLS = "http://127.0.0.1:18082,http://127.0.0.1:18083,http://127.0.0.1:18084"
GIB = 1 << 30


def settings(**given: object) -> Settings:
    return load_settings(**given)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 4 GiB."""
    monkeypatch.setattr(memory, "machine_memory_bytes", lambda: 4 * GIB)


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ({}, True),
        ({"monero_rpc_urls": URLS}, False),
        ({"monero_rpc_urls": URLS, "fleet_min_trios": 1}, True),
        ({"monero_rpc_urls": URLS, "fleet_max_trios": 2}, True),
        ({"monero_rpc_urls": URLS, "fleet_quiet_seconds": 60}, False),
        ({"monero_rpc_urls": URLS, "fleet_max_trios": 0}, False),
    ],
)
def test_it_runs_its_own_processes_unless_others_are_listed_or_if_it_is_told_to(
    given: dict[str, object], own: bool
) -> None:
    assert settings(**given).runs_own_fleet is own
    require_slots(settings(**given))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"fleet_min_trios": 0}, "FLEET_MIN_TRIOS"),
        ({"fleet_min_trios": -1}, "FLEET_MIN_TRIOS"),
        ({"fleet_max_trios": -1}, "FLEET_MAX_TRIOS"),
        ({"fleet_min_trios": "many"}, "FLEET_MIN_TRIOS"),
        ({"fleet_min_trios": 3, "fleet_max_trios": 2}, "FLEET_MIN_TRIOS is 3, more than FLEET_MAX_TRIOS"),
        ({"fleet_min_trios": 1, "fleet_max_trios": 0}, "more than FLEET_MAX_TRIOS, which is 0"),
        ({"fleet_memory_max": "0"}, "FLEET_MEMORY_MAX"),
        ({"fleet_memory_max": "much"}, "FLEET_MEMORY_MAX"),
        ({"fleet_quiet_seconds": 0}, "FLEET_QUIET_SECONDS"),
    ],
)
def test_sizes_that_cannot_be_are_refused_by_name(given: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        settings(**given)


def test_without_any_process_it_says_how_to_get_some() -> None:
    with pytest.raises(SettingsError, match="FLEET_MAX_TRIOS is 0 and MONERO_RPC_URLS is not set") as refused:
        require_slots(settings(fleet_max_trios=0))
    assert "Leave FLEET_MAX_TRIOS out" in refused.value.what_to_do


@pytest.mark.parametrize(("given", "size"), [("2GiB", 2 * GIB), ("500MiB", 500 << 20), (str(GIB), GIB)])
def test_memory_is_given_in_bytes_or_as_people_write_it(given: str, size: int) -> None:
    assert fleet_memory_bytes(settings(fleet_memory_max=given)) == size


def test_unless_it_is_set_half_of_the_machines_memory_is_the_most() -> None:
    assert fleet_memory_bytes(settings()) == 2 * GIB


def test_more_memory_than_there_is_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"FLEET_MEMORY_MAX is 5\.0 GiB, more than the 4\.0 GiB"):
        require_slots(settings(fleet_memory_max="5GiB"))


@pytest.mark.parametrize("name", ["fleet_min_trios", "fleet_max_trios"])
def test_more_trios_than_memory_allows_are_refused_with_the_number_that_fits(name: str) -> None:
    fits = 2 * GIB // (3 * SLOT_BYTES)
    require_slots(settings(**{"fleet_max_trios": fits} | {name: fits}))
    with pytest.raises(SettingsError, match=name.upper()) as refused:
        require_slots(settings(**{"fleet_max_trios": fits + 1} | {name: fits + 1}))
    assert f"at most {fits}" in refused.value.what_to_do


def test_the_most_that_nobody_set_is_no_reason_to_refuse_a_small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_memory_bytes", lambda: 7 * SLOT_BYTES)
    require_slots(settings())


def test_programs_that_are_not_there_or_too_old_for_the_network_are_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProgramsMissingError, match="no monerod"):
        suitable_programs(settings(monero_bin_dir=tmp_path))
    older = MoneroPrograms(tmp_path, MoneroVersion.parse("0.18.4.0"))
    monkeypatch.setattr("monero_escrow.fleet.fleet.find_programs", lambda _folder: older)
    assert suitable_programs(settings()) is older
    with pytest.raises(ProgramsMissingError, match=r"older than 0\.18\.5\.1, the least on mainnet") as refused:
        suitable_programs(settings(monero_network="mainnet"))
    assert "scripts/get-monero" in refused.value.what_to_do


def test_a_folder_that_cannot_be_made_or_is_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FleetFolderError, match="cannot be written: Not a directory"):
        require_usable_folder(tmp_path / "file" / "fleet")

    require_usable_folder(tmp_path / "fleet")
    assert (tmp_path / "fleet" / "arbiter").stat().st_mode & 0o777 == 0o700
    full = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr("monero_escrow.fleet.local.shutil.disk_usage", lambda _path: full)
    with pytest.raises(FleetFolderError, match="is full: 1 MiB"):
        require_usable_folder(tmp_path / "fleet")
