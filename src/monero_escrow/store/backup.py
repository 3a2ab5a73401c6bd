"""A backup: a consistent, encrypted copy of the database, made while the service runs, and checked before it counts.

`VACUUM INTO` copies what one read transaction sees. A writer goes on meanwhile and is not waited for; what it commits
later is not in the copy. Pages are encrypted anew under the same key, which is not in the copy. The copy says when it
was made: a database file that was copied by other means lacks that, may lack what stood in its log, and is no backup.

There are no wallet caches in a database, so there are none in a copy: nonces never come back from one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlcipher3.dbapi2 as sqlcipher

from monero_escrow.core.errors import EscrowError
from monero_escrow.store import facts
from monero_escrow.store.durable_file import give_name, unfinished
from monero_escrow.store.progress import Told, say_nothing
from monero_escrow.store.sqlcipher import WrongDatabaseKeyError

_TICK = 20_000  # steps of SQLite's machine between two words about the progress: some milliseconds
_MOST_TOLD = 3


class BackupFailedError(EscrowError):
    """No backup was made, and nothing of it was left behind."""

    code = "backup_failed"
    what_to_do = "Give it a folder that is there, may be written and has room for the whole database, and try again."


class BackupExistsError(EscrowError):
    """There is a file of that name already. It was left as it was."""

    code = "backup_exists"
    what_to_do = "Name another file: a backup never replaces anything."


class BackupDamagedError(EscrowError):
    """The copy is not what it was when it was made."""

    code = "backup_damaged"
    what_to_do = "Take another backup, and look at the disk this one lay on."


class NotABackupError(EscrowError):
    """The file was not made by `monero-escrow backup`."""

    code = "not_a_backup"
    what_to_do = (
        "Name a file that `monero-escrow backup` made. If all you have is a copied database file, put it, with its "
        "-wal file if there is one, into a new folder as escrow.db, run `monero-escrow backup` with DATA_DIR set to "
        "that folder, and restore what that makes."
    )


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a backup. Times are seconds since the epoch."""

    copied_at: float
    network: str
    escrows: int
    trios: int
    payouts: int
    newest_escrow_at: float | None
    size_bytes: int


def make_backup(database: Path, final: Path, key: bytes, now: float, tell: Told = say_nothing) -> Contents:
    """Copy the database under its 32-byte key to a new file of mode 0600, and check the copy.

    Raises BackupExistsError, BackupFailedError; then there is no file, and nothing half of one.
    """
    if final.exists():
        raise BackupExistsError(f"{final} is there already.")
    try:
        with unfinished(final) as copy:
            _copy(database, copy, key, tell)
            _mark(copy, key, now)
            contents = check_backup(copy, key, tell)
            give_name(copy, final)
    except FileExistsError:
        raise BackupExistsError(f"{final} is there already.") from None
    except OSError as error:
        raise BackupFailedError(f"The backup could not be written: {error.strerror}.") from None
    except sqlcipher.Error as error:
        if str(error) == "interrupted":
            raise KeyboardInterrupt from None
        raise BackupFailedError(f"The backup could not be made: {error}.") from None
    return contents


def _copy(database: Path, copy: Path, key: bytes, tell: Told) -> None:
    whole = max(1, database.stat().st_size)
    with _opened(database, key, "mode=rw") as connection:
        tell("copying", 0.0)
        connection.set_progress_handler(lambda: tell("copying", min(1.0, copy.stat().st_size / whole)), _TICK)
        connection.execute("VACUUM INTO ?", (str(copy),))


def _mark(copy: Path, key: bytes, now: float) -> None:
    """Say in the copy when it was made. If this is interrupted there is no copy, so it needs no journal."""
    with _opened(copy, key, "mode=rw") as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.executemany("DELETE FROM facts WHERE name = ?", [(name,) for name in facts.OF_COPIES])
        connection.execute("INSERT INTO facts (name, value) VALUES (?, ?)", (facts.COPIED_AT, str(now)))


def check_backup(file: Path, key: bytes, tell: Told = say_nothing) -> Contents:
    """Read the whole copy: every page authentic, every index and reference sound, and made by `make_backup`.

    The file is not touched. Raises NotABackupError, WrongDatabaseKeyError, BackupDamagedError, OSError.
    """
    size = file.stat().st_size
    if size == 0:
        raise NotABackupError("The file is empty.")
    with _opened(file, key, "mode=ro&immutable=1") as connection:
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            tell("checking", 0.0)
            connection.set_progress_handler(lambda: tell("checking", 0.5), _TICK)
            _require_sound(connection)
            return _contents(connection, size)
        except sqlcipher.DatabaseError as error:
            if "not a database" in str(error):
                raise WrongDatabaseKeyError(
                    "The backup cannot be read with this key.",
                    what_to_do="Set DB_ENCRYPTION_KEY (or DB_ENCRYPTION_KEY_FILE) to the key of the service that made "
                    "it. If it is that key, the file is damaged or no backup: take another one.",
                ) from None
            if str(error) == "interrupted":
                raise KeyboardInterrupt from None
            raise BackupDamagedError(f"The backup is damaged: {error}.") from None


def _require_sound(connection: Any) -> None:
    found = [row[0] for row in connection.execute("PRAGMA cipher_integrity_check")]
    found += [row[0] for row in connection.execute(f"PRAGMA integrity_check({_MOST_TOLD})") if row[0] != "ok"]
    found += [f"a row of {row[0]} refers to none of {row[2]}" for row in connection.execute("PRAGMA foreign_key_check")]
    if found:
        raise BackupDamagedError(f"The backup is damaged: {'; '.join(found[:_MOST_TOLD])}.")


def _contents(connection: Any, size_bytes: int) -> Contents:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    known = dict(connection.execute("SELECT name, value FROM facts").fetchall()) if "facts" in tables else {}
    if facts.COPIED_AT not in known:
        raise NotABackupError("The file does not say when it was copied: `monero-escrow backup` did not make it.")

    def count(table: str) -> int:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  names of ours

    return Contents(
        copied_at=float(known[facts.COPIED_AT]),
        network=known["network"],
        escrows=count("escrows"),
        trios=count("trios"),
        payouts=count("payouts"),
        newest_escrow_at=connection.execute("SELECT max(created_at) FROM escrows").fetchone()[0],
        size_bytes=size_bytes,
    )


@contextmanager
def _opened(file: Path, key: bytes, mode: str) -> Iterator[Any]:
    """A connection of its own, closed at the end."""
    connection = sqlcipher.connect(f"{file.absolute().as_uri()}?{mode}", uri=True, isolation_level=None, timeout=10)
    try:
        connection.execute("PRAGMA cipher_log_level = NONE")  # else what is wrong is also told to standard error
        connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        yield connection
    finally:
        connection.close()
