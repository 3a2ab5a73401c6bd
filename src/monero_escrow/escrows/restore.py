"""Put a backup in the place of a database that is lost: checked first, then whole, and marked as what it is.

A copy does not know what the original did after it was made. So everything that the original may have handed out since
is set aside here, what lies in the second place is brought back, and the service asks the chain before it signs
anything (`ask_chain.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from monero_escrow.config import Settings
from monero_escrow.core.address import Network
from monero_escrow.core.errors import EscrowError, InvariantError
from monero_escrow.escrows.context import SERVICE
from monero_escrow.escrows.keep_elsewhere import bring_back
from monero_escrow.store import facts
from monero_escrow.store.backup import Contents, check_backup
from monero_escrow.store.durable_file import give_name, unfinished
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.progress import Told, say_nothing
from monero_escrow.store.sealing import derive_key
from monero_escrow.store.second_place import KeptTrio, second_place
from monero_escrow.store.sqlcipher import DatabaseUnusableError
from monero_escrow.store.transaction import Transaction

_QUARANTINE = "from a restored backup: what the original did with it nobody knows"


class DatabaseExistsError(EscrowError):
    """A database, or what is left of one, is in the way. It was left as it was."""

    code = "database_exists"
    what_to_do = (
        "If it is lost for good, move it and its -wal and -shm files somewhere else, together, and keep them: they may "
        "still hold keys. Then restore again."
    )


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: what was in the copy, how many trios were set aside, how many escrows came back."""

    contents: Contents
    quarantined: int
    recovered: int


async def restore(settings: Settings, file: Path, now: float, tell: Told = say_nothing) -> Restored:
    """Restore the database from a backup, by whoever holds the data folder's lock.

    Raises DatabaseExistsError, NotABackupError, WrongDatabaseKeyError, BackupDamagedError, OtherDatabaseError,
    SchemaTooNewError, DatabaseUnusableError, or what is wrong with the second place; there is no database then.
    """
    database, key = settings.database_path, derive_key(settings.master_key(), "database")
    for in_the_way in _files_of(database):
        if in_the_way.exists():
            raise DatabaseExistsError(f"{in_the_way} is there already.")
    place = second_place(settings)
    kept = [] if place is None else list(place.all())
    try:
        with unfinished(database) as copy:
            tell("reading", 0.0)
            shutil.copyfile(file, copy)
            contents = check_backup(copy, key, tell)
            tell("restoring", 0.0)
            quarantined, recovered = await _mark(settings, copy, contents, kept, now)
            give_name(copy, database)
    except FileExistsError:
        raise DatabaseExistsError(f"{database} is there already.") from None
    except OSError as error:
        raise _unusable(str(error.strerror)) from None
    except DBAPIError as error:
        raise _unusable(str(error.orig)) from None
    return Restored(contents, quarantined, recovered)


def _unusable(why: str) -> DatabaseUnusableError:
    return DatabaseUnusableError(
        f"The backup could not be restored: {why}.",
        what_to_do="Check that the file can be read, and that DATA_DIR has room for it and may be written.",
    )


def _files_of(database: Path) -> Iterator[Path]:
    """The database and its logs: an old log beside a restored file would be taken for its own."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        yield database.with_name(database.name + suffix)


async def _mark(
    settings: Settings, copy: Path, contents: Contents, kept: list[KeptTrio], now: float
) -> tuple[int, int]:
    """Bring the copy up to date, set aside what it cannot know of, and have it say that it is restored."""
    network = settings.monero_network
    store = open_sqlcipher(copy, settings.master_key(), network, restores=True)
    try:
        done = await store.write(lambda tx: _mark_rows(tx, contents, kept, network, now))
    finally:
        store.close()
    if any(log.exists() for log in _files_of(copy) if log != copy):
        raise InvariantError("The restored copy was closed, and left a log behind.")
    return done


def _mark_rows(
    tx: Transaction, contents: Contents, kept: list[KeptTrio], network: Network, now: float
) -> tuple[int, int]:
    for name in (facts.COPIED_AT, facts.MOVED_TO):
        facts.drop_fact(tx.connection, name)
    facts.put_fact(tx.connection, facts.RESTORED_AT, now)
    facts.put_fact(tx.connection, facts.RESTORED_COPIED_AT, contents.copied_at)
    quarantined = tx.trios.quarantine_unclaimed(_QUARANTINE)
    recovered = bring_back(tx, kept, network, now)
    detail = {"copied_at": contents.copied_at, "quarantined": quarantined, "recovered": recovered}
    tx.audit.add(SERVICE, "restored", now, detail=detail)
    tx.outbox.leap("service.restored", {"copied_at": contents.copied_at}, now)
    return quarantined, recovered
