"""A backup: consistent while the service writes, whole or not there at all, and of no use without the key."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlcipher3.dbapi2 as sqlcipher
from sqlalchemy import insert, text

from monero_escrow.core.errors import EscrowError
from monero_escrow.store import facts, schema
from monero_escrow.store.backup import (
    BackupDamagedError,
    BackupExistsError,
    NotABackupError,
    check_backup,
    make_backup,
)
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.sealing import derive_key
from monero_escrow.store.sqlcipher import WrongDatabaseKeyError
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.rows import MASTER_KEY, NETWORK, add_funded, decide, escrow, participants, plan

KEY = derive_key(MASTER_KEY, "database")
NOW = 1_000.5


def fill(tx: Transaction) -> None:
    """An escrow with a coin, a trio with its wallets' keys, and a payout."""
    add_funded(tx)
    tx.trios.add("trio", "escrow", 7, 101.0)
    tx.trios.add_hosted(participants("trio"), 101.0)
    decide(tx, "payout", "escrow", plan("coin of escrow"))


def add_many(tx: Transaction, count: int = 4_000) -> None:
    """Some megabytes of history, so that a copy takes a moment."""
    row = {"at": NOW, "actor": "service", "action": "noted", "detail": {"text": "x" * 900}}
    tx.connection.execute(insert(schema.audit), [row] * count)


@pytest.fixture
def database(tmp_path: Path, store: SqlStore) -> Path:
    """The store's file; the store is open, as it is in a running service."""
    return tmp_path / "escrow.db"


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if not file.name.startswith("escrow.db")}


# What is in it


async def test_a_copy_has_what_was_committed_and_says_when_it_was_made(database: Path, store: SqlStore) -> None:
    await store.write(fill)
    copy = database.with_name("copy")

    contents = make_backup(database, copy, KEY, NOW)
    await store.write(lambda tx: tx.escrows.add(escrow("later")))

    assert (contents.escrows, contents.trios, contents.payouts) == (1, 1, 1)
    assert (contents.copied_at, contents.network, contents.newest_escrow_at) == (NOW, NETWORK, 100.0)
    assert contents.size_bytes == copy.stat().st_size
    assert check_backup(copy, KEY) == contents


async def test_only_the_copy_says_that_it_is_one(database: Path, store: SqlStore) -> None:
    make_backup(database, database.with_name("copy"), KEY, NOW)

    assert facts.COPIED_AT not in await store.read(lambda tx: facts.read_facts(tx.connection))


async def test_a_copy_is_readable_by_its_owner_alone_and_nothing_else_is_left(database: Path) -> None:
    make_backup(database, database.with_name("copy"), KEY, NOW)

    assert database.with_name("copy").stat().st_mode & 0o777 == 0o600
    assert names(database.parent) == {"copy"}


async def test_nothing_in_a_copy_can_be_read_without_the_key(database: Path, store: SqlStore) -> None:
    await store.write(fill)
    copy = database.with_name("copy")
    make_backup(database, copy, KEY, NOW)

    found = copy.read_bytes()

    for secret in (b"SQLite format", b"shop", b"order of", participants("trio")[0].password.encode(), KEY, MASTER_KEY):
        assert secret not in found


# While the service runs


async def test_every_copy_made_while_a_writer_writes_is_consistent(database: Path, store: SqlStore) -> None:
    await store.write(lambda tx: add_many(tx, 1_000))
    ended, written = threading.Event(), 0

    def write() -> None:
        """Pairs of rows, each pair in one transaction."""
        nonlocal written
        writer = open_sqlcipher(database, MASTER_KEY, NETWORK)
        while not ended.is_set():
            name = f"escrow-{written}"

            def pair(tx: Transaction, name: str = name) -> None:
                tx.escrows.add(escrow(name))
                tx.trios.add(name, name, 7, NOW)

            writer.write_now(pair)
            written += 1
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        copies = [make_backup(database, database.with_name(f"copy-{number}"), KEY, NOW) for number in range(12)]
    finally:
        ended.set()
        thread.join()

    counts = [copy.escrows for copy in copies]
    assert all(copy.escrows == copy.trios for copy in copies)
    assert counts == sorted(counts)
    assert len(set(counts)) > 6, "the writer stood still while it was copied"
    assert written >= counts[-1]


async def test_a_writer_is_not_waited_for_and_does_not_wait(database: Path, store: SqlStore) -> None:
    await store.write(fill)
    with store._engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")  # of SQLAlchemy's own reading transaction
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.execute(text("DELETE FROM payouts WHERE id = 'nosuch'"))
        contents = make_backup(database, database.with_name("copy"), KEY, NOW)
        connection.exec_driver_sql("ROLLBACK")
        connection.rollback()

    assert contents.escrows == 1


# Whole or not at all


async def test_a_copy_never_replaces_a_file(database: Path) -> None:
    copy = database.with_name("copy")
    copy.write_text("something else")

    with pytest.raises(BackupExistsError):
        make_backup(database, copy, KEY, NOW)

    assert copy.read_text() == "something else"


async def test_a_file_that_turns_up_while_the_copy_is_made_is_not_replaced(database: Path) -> None:
    copy = database.with_name("copy")

    def somebody_else(what: str, _done: float) -> None:
        if what == "checking":
            copy.write_text("something else")

    with pytest.raises(BackupExistsError):
        make_backup(database, copy, KEY, NOW, somebody_else)

    assert copy.read_text() == "something else"
    assert names(database.parent) == {"copy"}


_BACKUP = (
    "import sys; from pathlib import Path; from monero_escrow.store.backup import make_backup; "
    "make_backup(Path(sys.argv[1]), Path(sys.argv[2]), bytes.fromhex(sys.argv[3]), 1.0)"
)


def start_backup(database: Path, copy: Path, *, most_bytes: int | None = None) -> subprocess.Popen[str]:
    """`make_backup` in a process of its own, which may write no file longer than this."""
    arguments = [sys.executable, "-c", _BACKUP, str(database), str(copy), KEY.hex()]

    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    return subprocess.Popen(arguments, text=True, stderr=subprocess.PIPE, preexec_fn=limit)  # noqa: PLW1509


async def test_a_disk_that_takes_no_more_ends_in_an_error_and_leaves_nothing(database: Path, store: SqlStore) -> None:
    await store.write(add_many)

    process = start_backup(database, database.with_name("copy"), most_bytes=300_000)
    _, said = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "BackupFailedError: The backup could not be made: disk I/O error." in said
    assert names(database.parent) == set()


async def test_a_backup_killed_in_the_middle_leaves_no_copy_and_the_next_one_clears_up(
    database: Path, store: SqlStore
) -> None:
    await store.write(lambda tx: add_many(tx, 20_000))
    copy = database.with_name("copy")

    process = start_backup(database, copy)
    deadline = time.monotonic() + 30
    while not any(file.stat().st_size > 10_000 for file in database.parent.glob(".copy.*")):
        assert process.poll() is None, "it was over before it could be killed"
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert not copy.exists()
    assert all(name.startswith(".copy.") for name in names(database.parent))
    make_backup(database, copy, KEY, NOW)
    assert names(database.parent) == {"copy"}


async def test_two_backups_at_once_do_not_clear_each_other_away(database: Path) -> None:
    inner = database.with_name("inner")

    def another(what: str, done: float) -> None:
        if (what, done) == ("checking", 0.0) and not inner.exists():
            make_backup(database, inner, KEY, NOW)

    make_backup(database, database.with_name("outer"), KEY, NOW, another)

    assert names(database.parent) == {"inner", "outer"}


# What is no backup, or no longer one


@pytest.fixture
def copy(database: Path) -> Path:
    made = database.with_name("copy")
    make_backup(database, made, KEY, NOW)
    return made


def refusal(file: Path, key: bytes = KEY) -> EscrowError:
    before = file.read_bytes()
    with pytest.raises(EscrowError) as caught:
        check_backup(file, key)
    assert file.read_bytes() == before
    assert names(file.parent) == {file.name}
    return caught.value


def test_another_key_is_told_from_damage(copy: Path) -> None:
    assert isinstance(refusal(copy, bytes(32)), WrongDatabaseKeyError)


@pytest.mark.parametrize("pages", [1, 2, 10])
def test_a_copy_that_was_cut_off_between_two_pages_is_refused(copy: Path, pages: int) -> None:
    copy.write_bytes(copy.read_bytes()[: pages * 4096])

    assert isinstance(refusal(copy), BackupDamagedError)


def test_a_copy_whose_last_bytes_are_missing_is_refused(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes()[:-1])

    assert isinstance(refusal(copy), BackupDamagedError)


def test_one_flipped_bit_on_any_page_is_found(copy: Path) -> None:
    whole = copy.read_bytes()
    for page in range(1, len(whole) // 4096):
        flipped = bytearray(whole)
        flipped[page * 4096 + 2_000] ^= 1
        copy.write_bytes(flipped)
        assert isinstance(refusal(copy), BackupDamagedError), f"page {page}"


def test_an_empty_file_is_no_backup(copy: Path) -> None:
    copy.write_bytes(b"")

    assert isinstance(refusal(copy), NotABackupError)


def test_a_database_file_that_was_merely_copied_is_no_backup(copy: Path, database: Path, store: SqlStore) -> None:
    store.close()
    copy.write_bytes(database.read_bytes())

    assert isinstance(refusal(copy), NotABackupError)


def test_a_file_of_something_else_under_the_right_key_is_no_backup(copy: Path) -> None:
    copy.unlink()
    connection = sqlcipher.connect(str(copy), isolation_level=None)
    connection.execute(f"PRAGMA key = \"x'{KEY.hex()}'\"")
    connection.execute("CREATE TABLE other (name TEXT)")
    connection.close()

    assert isinstance(refusal(copy), NotABackupError)
