"""Restoring: what is refused and left as it was, what a restored database says of itself, and what it sets aside."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select, text

from monero_escrow.cli.backup import restore as restore_command
from monero_escrow.config import Settings
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.restore import DatabaseExistsError
from monero_escrow.service import AlreadyRunningError, only_one, open_store
from monero_escrow.store import facts, schema
from monero_escrow.store.backup import BackupDamagedError, NotABackupError
from monero_escrow.store.migrate import SchemaTooNewError
from monero_escrow.store.opening import OtherDatabaseError, UnrestoredBackupError
from monero_escrow.store.records import TrioState
from monero_escrow.store.sqlcipher import DatabaseUnusableError, WrongDatabaseKeyError
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.restoring import (
    COPIED_AT,
    NOW,
    add_trio,
    back_up,
    refusal,
    reopened,
    restored,
    second_machine,
    settings_of,
)
from unit.rows import MASTER_KEY, address, escrow


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of the machine that is restored to."""
    return second_machine(tmp_path)


# Refused, and everything as it was


async def test_an_existing_database_is_never_replaced(tmp_path: Path, store: SqlStore, settings: Settings) -> None:
    file = back_up(tmp_path)
    settings.data_dir.mkdir()
    settings.database_path.write_bytes(b"a database")

    assert isinstance(await refusal(settings, file), DatabaseExistsError)


@pytest.mark.parametrize("log", ["-wal", "-shm", "-journal"])
async def test_a_log_that_a_lost_database_left_behind_is_not_applied_to_a_restored_one(
    tmp_path: Path, store: SqlStore, settings: Settings, log: str
) -> None:
    file = back_up(tmp_path)
    settings.data_dir.mkdir()
    (settings.data_dir / f"escrow.db{log}").write_bytes(b"a log")

    assert isinstance(await refusal(settings, file), DatabaseExistsError)


def test_nothing_is_restored_under_a_running_service(
    tmp_path: Path, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = back_up(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "new"))
    monkeypatch.setenv("DB_ENCRYPTION_KEY", MASTER_KEY.hex())

    with only_one(tmp_path / "new"), pytest.raises(AlreadyRunningError):
        restore_command(file)

    assert {path.name for path in (tmp_path / "new").iterdir()} == {"service.lock"}


async def test_another_key_is_refused(tmp_path: Path, store: SqlStore) -> None:
    file = back_up(tmp_path)
    other = settings_of(tmp_path / "new", db_encryption_key=bytes(32).hex())

    assert isinstance(await refusal(other, file), WrongDatabaseKeyError)


async def test_a_copy_of_another_network_is_refused(tmp_path: Path, store: SqlStore) -> None:
    file = back_up(tmp_path)
    other = settings_of(tmp_path / "new", monero_network="testnet")

    assert isinstance(await refusal(other, file), OtherDatabaseError)


async def test_a_copy_of_a_later_version_is_refused(tmp_path: Path, store: SqlStore, settings: Settings) -> None:
    await store.write(lambda tx: tx.connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    file = back_up(tmp_path)

    assert isinstance(await refusal(settings, file), SchemaTooNewError)


async def test_a_damaged_copy_is_refused(tmp_path: Path, store: SqlStore, settings: Settings) -> None:
    file = back_up(tmp_path)
    file.write_bytes(file.read_bytes()[:-4096])

    assert isinstance(await refusal(settings, file), BackupDamagedError)


async def test_a_mere_database_file_is_refused(tmp_path: Path, store: SqlStore, settings: Settings) -> None:
    store.close()

    assert isinstance(await refusal(settings, tmp_path / "escrow.db"), NotABackupError)


async def test_a_disk_that_takes_no_more_leaves_nothing_behind(
    tmp_path: Path, store: SqlStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = back_up(tmp_path)

    def full(_source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)

    error = await refusal(settings, file)

    assert isinstance(error, DatabaseUnusableError)
    assert "No space left on device" in error.message


async def test_a_missing_copy_is_told(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(DatabaseUnusableError, match="No such file"):
        await restored(settings, tmp_path / "nosuch")


# What a restored database says of itself


async def test_a_restored_database_holds_what_the_copy_held_and_says_what_it_is(
    tmp_path: Path, store: SqlStore, settings: Settings, request: pytest.FixtureRequest
) -> None:
    await store.write(lambda tx: tx.escrows.add(escrow()))
    done = await restored(settings, back_up(tmp_path))

    new = reopened(settings, request)
    known = await new.read(lambda tx: facts.read_facts(tx.connection))
    assert done.contents.escrows == 1
    assert (await new.read(lambda tx: tx.escrows.get("escrow"))).state is State.SETTING_UP
    assert (float(known[facts.RESTORED_AT]), float(known[facts.RESTORED_COPIED_AT])) == (NOW, COPIED_AT)
    assert facts.COPIED_AT not in known
    assert await new.read(lambda tx: facts.waits_for_check(tx.connection))
    assert settings.database_path.stat().st_mode & 0o777 == 0o600


async def test_a_restored_database_has_no_log_beside_it_and_the_copy_is_as_it_was(
    tmp_path: Path, store: SqlStore, settings: Settings
) -> None:
    file = back_up(tmp_path)
    before = file.read_bytes()

    await restored(settings, file)

    assert [path.name for path in settings.data_dir.iterdir()] == ["escrow.db"]
    assert file.read_bytes() == before


async def test_a_copy_of_a_restored_database_waits_for_the_chain_again_once_it_is_restored(
    tmp_path: Path, store: SqlStore, settings: Settings, request: pytest.FixtureRequest
) -> None:
    await store.write(lambda tx: facts.put_fact(tx.connection, facts.RESTORED_AT, 1.0))
    await store.write(lambda tx: facts.put_fact(tx.connection, facts.RESTORED_CHECKED_AT, 2.0))
    await restored(settings, back_up(tmp_path))

    assert await reopened(settings, request).read(lambda tx: facts.waits_for_check(tx.connection))


# Set aside


async def test_what_the_lost_database_may_have_handed_out_is_set_aside_and_everything_else_stays(
    tmp_path: Path, store: SqlStore, settings: Settings, request: pytest.FixtureRequest
) -> None:
    def fill(tx: Transaction) -> None:
        for name in ("setting up", "waiting", "cancelled"):
            tx.escrows.add(escrow(name))
        add_trio(tx, "stock", None, finished=True)
        add_trio(tx, "stock in the making", None, finished=False)
        add_trio(tx, "under way", "setting up", finished=False)
        add_trio(tx, "given up", "setting up", finished=False)
        tx.trios.abandon("given up", "it failed", 103.0)
        add_trio(tx, "in use", "waiting", finished=True)
        add_trio(tx, "too late", "cancelled", finished=True)
        add_trio(tx, "claimed", None, finished=True)
        for name, trio_id in (("waiting", "in use"), ("cancelled", None)):
            tx.escrows.change(name, expected=State.SETTING_UP, now=1.0, state=State.CANCELLED, trio_id=trio_id)
        tx.escrows.add(escrow("of stock"))
        tx.escrows.change("of stock", expected=State.SETTING_UP, now=1.0, trio_id="claimed")

    await store.write(fill)
    done = await restored(settings, back_up(tmp_path))

    new = reopened(settings, request)
    rows = await new.read(lambda tx: tx.connection.execute(select(schema.trios.c.id, schema.trios.c.state)).all())
    assert done.quarantined == 3
    assert {row.id: TrioState(row.state) for row in rows} == {
        "stock": TrioState.QUARANTINED,
        "stock in the making": TrioState.QUARANTINED,
        "under way": TrioState.QUARANTINED,
        "given up": TrioState.ABANDONED,
        "in use": TrioState.READY,
        "too late": TrioState.READY,
        "claimed": TrioState.READY,
    }


async def test_a_set_aside_address_is_still_known_as_ours(
    tmp_path: Path, store: SqlStore, settings: Settings, request: pytest.FixtureRequest
) -> None:
    await store.write(lambda tx: add_trio(tx, "stock", None, finished=True))
    await restored(settings, back_up(tmp_path))

    new = reopened(settings, request)
    assert await new.read(lambda tx: tx.escrows.is_deposit_address(address("stock")))
    assert await new.read(lambda tx: tx.trios.knows_wallet(address("stock")))


async def test_no_event_id_is_given_out_twice_and_each_shop_is_told(
    tmp_path: Path, store: SqlStore, settings: Settings, request: pytest.FixtureRequest
) -> None:
    def add(tx: Transaction) -> None:
        for escrow_id, shop_id in (("first", "shop"), ("second", "shop"), ("third", "other")):
            tx.escrows.add(escrow(escrow_id, shop_id=shop_id))
            tx.outbox.add(shop_id, escrow_id, "escrow.created", {}, 101.0)

    await store.write(add)
    file = back_up(tmp_path)
    for _ in range(50):  # of which the copy knows nothing
        await store.write(lambda tx: tx.outbox.add("shop", "first", "escrow.extend", {}, 102.0))
    last_known = (await store.read(lambda tx: tx.outbox.after("shop", 0, 100)))[-1].id
    await restored(settings, file)

    again = reopened(settings, request)
    await again.write(lambda tx: tx.outbox.add("shop", "second", "escrow.cancel", {}, 103.0))
    told = await again.read(lambda tx: tx.outbox.after("shop", last_known, 100))
    assert [event.type for event in told] == ["service.restored", "escrow.cancel"]
    assert told[0].data == {"copied_at": COPIED_AT}
    assert len(await again.read(lambda tx: tx.outbox.after("other", last_known, 100))) == 1


async def test_a_backup_is_not_taken_for_a_database_before_it_is_restored(
    tmp_path: Path, store: SqlStore, settings: Settings
) -> None:
    settings.data_dir.mkdir()
    settings.database_path.write_bytes(back_up(tmp_path).read_bytes())
    with pytest.raises(UnrestoredBackupError, match="This is a backup"):
        open_store(settings)
