"""The commands `backup`, `restore` and `drill`: where files go, what is said, and what doctor says of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from monero_escrow.cli.backup import backup, drill, restore
from monero_escrow.cli.doctor import doctor
from monero_escrow.config import Settings, SettingsError
from monero_escrow.core.errors import InvalidInputError, NotFoundError
from monero_escrow.store.backup import BackupExistsError, BackupFailedError
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.store import SqlStore
from unit.rows import MASTER_KEY, NETWORK, escrow


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The settings of the service whose database is the store's, in the environment."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DB_ENCRYPTION_KEY", MASTER_KEY.hex())
    monkeypatch.setenv("MONERO_NETWORK", NETWORK)
    return monkeypatch


Set = pytest.MonkeyPatch
Said = pytest.CaptureFixture[str]


def test_a_backup_is_named_after_network_and_utc_time_in_a_folder_of_its_own(
    store: SqlStore, settings: Set, tmp_path: Path, capsys: Said
) -> None:
    backup()

    (file,) = (tmp_path / "backups").iterdir()
    assert re.fullmatch(r"monero-escrow-stagenet-\d{8}T\d{6}Z\.backup", file.name)
    assert (tmp_path / "backups").stat().st_mode & 0o777 == 0o700
    said = capsys.readouterr().out
    assert str(file) in said
    assert "The key is not in it" in said


def test_a_backup_goes_into_backup_dir_or_where_it_is_told(store: SqlStore, settings: Set, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    settings.setenv("BACKUP_DIR", str(tmp_path / "disk"))

    backup()
    backup(tmp_path / "this one")

    assert len(list((tmp_path / "disk").iterdir())) == 1
    assert (tmp_path / "this one").is_file()
    with pytest.raises(BackupExistsError):
        backup(tmp_path / "this one")


def test_a_backup_dir_that_is_not_there_is_not_made(store: SqlStore, settings: Set, tmp_path: Path) -> None:
    settings.setenv("BACKUP_DIR", str(tmp_path / "unmounted"))

    with pytest.raises(BackupFailedError):
        backup()

    assert not (tmp_path / "unmounted").exists()


def test_a_copy_has_the_audit_row_that_tells_of_it(store: SqlStore, settings: Set, tmp_path: Path) -> None:
    backup(tmp_path / "copy")

    copy = open_sqlcipher(tmp_path / "copy", MASTER_KEY, NETWORK, restores=True)
    query = "SELECT action FROM audit ORDER BY id DESC"
    assert copy.read_now(lambda tx: tx.connection.exec_driver_sql(query).scalar()) == "backup_begun"
    copy.close()


def test_without_a_database_nothing_is_copied_and_none_is_made(settings: Set, tmp_path: Path) -> None:
    for command in (backup, drill):
        with pytest.raises(SettingsError, match="There is no database"):
            command()

    assert list(tmp_path.iterdir()) == []


def test_a_restore_says_what_is_lost_and_what_opens_again(
    store: SqlStore, settings: Set, tmp_path: Path, capsys: Said
) -> None:
    backup(tmp_path / "copy")
    settings.setenv("DATA_DIR", str(tmp_path / "new"))
    restore(tmp_path / "copy")

    said = capsys.readouterr().out
    assert "BACKUP_URL is not set: an escrow that was made after the backup is not in it" in said
    assert "API keys that were revoked since then open again" in said
    assert "must never run again" in said


def test_a_restore_tells_a_script_how_much_it_found(
    store: SqlStore, settings: Set, tmp_path: Path, capsys: Said
) -> None:
    backup(tmp_path / "copy")
    capsys.readouterr()
    settings.setenv("DATA_DIR", str(tmp_path / "new"))
    restore(tmp_path / "copy", json_output=True)

    answer = json.loads(capsys.readouterr().out)
    assert (answer["network"], answer["escrows"], answer["quarantined"], answer["recovered"]) == (NETWORK, 0, 0, 0)


def test_doctor_tells_that_a_restored_database_has_not_asked_the_chain_yet(
    store: SqlStore, settings: Set, tmp_path: Path, capsys: Said
) -> None:
    backup(tmp_path / "copy")
    settings.setenv("DATA_DIR", str(tmp_path / "new"))
    restore(tmp_path / "copy")
    capsys.readouterr()
    doctor(json_output=True)

    (finding,) = (one for one in json.loads(capsys.readouterr().out) if one["what"] == "database")
    assert (finding["level"], finding["message"][:22]) == ("warning", "restored from a backup")


@pytest.mark.parametrize(("network", "level"), [("mainnet", "error"), ("stagenet", None)])
def test_doctor_tells_when_mainnet_has_no_second_place(
    settings: Set, tmp_path: Path, capsys: Said, network: str, level: str | None
) -> None:
    settings.setenv("DATA_DIR", str(tmp_path / "new"))
    settings.setenv("MONERO_NETWORK", network)
    doctor(json_output=True)

    found = [one["level"] for one in json.loads(capsys.readouterr().out) if one["what"] == "BACKUP_URL"]
    assert found == ([] if level is None else [level])


def test_a_drill_of_escrows_without_wallets_says_so(store: SqlStore, settings: Set) -> None:
    store.write_now(lambda tx: tx.escrows.add(escrow()))

    with pytest.raises(InvalidInputError, match="No escrow has an address"):
        drill()
    with pytest.raises(InvalidInputError, match="has no address"):
        drill("escrow")
    with pytest.raises(NotFoundError):
        drill("nosuch")
