"""The SQLCipher engine: one encrypted file, one writer at a time, nothing acknowledged that is not on disk.

Raw 32-byte key (no passphrase stretching), WAL, synchronous=FULL, foreign keys on; writers begin with BEGIN IMMEDIATE,
so that two never find out at commit that they cannot both be right.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlcipher3.dbapi2 as sqlcipher
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from monero_escrow.core.errors import EscrowError
from monero_escrow.store.database_time import SQLITE_FUNCTION

_WRITES = "monero_escrow_writes"  # execution option of a connection that will write
_BUSY_TIMEOUT_MS = 10_000


class WrongDatabaseKeyError(EscrowError):
    """The file is not a database under this key. It was left as it was."""

    code = "wrong_database_key"
    what_to_do = (
        "Set DB_ENCRYPTION_KEY (or DB_ENCRYPTION_KEY_FILE) to the key this database was made with. "
        "If the file is no database of this service, choose another DATA_DIR."
    )


class DatabaseUnusableError(EscrowError):
    """The database file or its folder cannot be used."""

    code = "database_unusable"
    what_to_do = "Check that DATA_DIR exists, has free space, and may be written by the service's user."


def sqlcipher_engine(path: Path, key: bytes, now: Callable[[], float] = time.time) -> Engine:
    """An engine on the encrypted file, made if it is not there. Opening proves the key before anything is written.

    `now` is the time that SQL sees. Raises WrongDatabaseKeyError or DatabaseUnusableError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise DatabaseUnusableError(f"The database file cannot be made: {error.strerror}.") from None
    _prove_key(path, key)

    def connect() -> Any:
        connection = sqlcipher.connect(str(path), check_same_thread=False, isolation_level=None, timeout=10)
        try:
            _unlock(connection, key)
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.create_function(SQLITE_FUNCTION, 0, now)
        except sqlcipher.DatabaseError as error:
            connection.close()
            raise DatabaseUnusableError(f"The database cannot be opened: {error}.") from None
        return connection

    engine = create_engine(
        "sqlite://",
        module=sqlcipher,
        creator=connect,
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=4,
        hide_parameters=True,  # an error's text would carry addresses and sealed secrets
    )

    @event.listens_for(engine, "begin")
    def say_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    with engine.connect():
        return engine


@contextmanager
def begin(engine: Engine, *, writes: bool) -> Iterator[Connection]:
    """A transaction that commits when its block ends, and is undone when it raises."""
    with engine.connect().execution_options(**{_WRITES: writes}) as connection, connection.begin():
        yield connection


def _unlock(connection: Any, key: bytes) -> None:
    """Give the key and read with it; sqlcipher.DatabaseError ("not a database") under a wrong one."""
    connection.execute("PRAGMA cipher_log_level = NONE")  # else a wrong key is also told to standard error
    connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _prove_key(path: Path, key: bytes) -> None:
    """Raise WrongDatabaseKeyError under a wrong key, with the file and its log as they were.

    Read-only: a connection that may write carries a log that a crash left behind into the file when it is closed, also
    when it could read none of it. Whatever else is wrong, the first real connection says.
    """
    connection = sqlcipher.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10)
    try:
        _unlock(connection, key)
    except sqlcipher.DatabaseError as error:
        if "not a database" in str(error):
            raise WrongDatabaseKeyError(f"{path.name} cannot be read with this key.") from None
    finally:
        connection.close()
