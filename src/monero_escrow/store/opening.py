"""Open a database: proven to be ours, brought to this version's schema, and refused with a sentence if it is neither.

Whatever is wrong is found before anything is written.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, inspect, select

from monero_escrow.core.errors import EscrowError
from monero_escrow.store import facts, postgresql, schema, sqlcipher
from monero_escrow.store.group_commit import GroupCommit
from monero_escrow.store.migrate import migrate, one_at_a_time, require_current
from monero_escrow.store.own_commit import OwnCommit
from monero_escrow.store.sealing import Sealer, derive_key
from monero_escrow.store.store import Begin, SqlStore


class OtherDatabaseError(EscrowError):
    """The database belongs to another network or sealing key."""

    code = "other_database"
    what_to_do = (
        "Use one database (DATA_DIR or DATABASE_URL) a network, or set the settings back to what it was made with."
    )


class UnrestoredBackupError(EscrowError):
    """A backup lies where the database should be: it would not ask the chain what was paid since it was made."""

    code = "unrestored_backup"
    what_to_do = "Move it out of DATA_DIR, and bring it back with `monero-escrow restore FILE`."


class DatabaseMovedError(EscrowError):
    """The rows of this file live on a server now: two live copies could hand out one address twice."""

    code = "database_moved"
    what_to_do = (
        "Set DATABASE_URL to that server's database. To go back to the file for good, see docs/upgrading.md: it is "
        "restored like a backup, and the server's database must never be used again."
    )


class PostgresqlStore(SqlStore):
    """The store on a server: `history` says which, and whether it is still that one.

    `heartbeats` is the same database for whoever must never wait behind the others' writes.
    """

    def __init__(self, engine: Engine, sealer: Sealer, begin: Begin, history: postgresql.History) -> None:
        writer = OwnCommit(engine, sealer, writers=postgresql.WRITERS)
        super().__init__(engine, sealer, begin, writer, readers=postgresql.READERS)
        self.heartbeats = SqlStore(engine, sealer, begin, OwnCommit(engine, sealer, writers=1), readers=1)
        self.heartbeats.metrics = self.metrics
        self.history = history

    def close(self) -> None:
        """Let what is under way finish, then close every connection."""
        self.heartbeats.close()
        super().close()


def open_sqlcipher(
    path: Path, master_key: bytes, network: str, *, migrates: bool = True, restores: bool = False
) -> SqlStore:
    """The store in an encrypted file, made and migrated to this version's schema.

    With `migrates=False` nothing is made or migrated. The file's key and the sealing key are derived from the 32-byte
    master key. Raises WrongDatabaseKeyError, SchemaTooNewError, SchemaOutdatedError, OtherDatabaseError; the file is
    then as it was.
    """
    engine = sqlcipher.sqlcipher_engine(path, derive_key(master_key, "database"))
    sealer, begin = Sealer(derive_key(master_key, "sealing")), partial(sqlcipher.begin, engine)
    try:
        _make_ours(begin, _ours(network, sealer), migrates=migrates, restores=restores)
    except BaseException:
        engine.dispose()
        raise
    return SqlStore(engine, sealer, begin, GroupCommit(begin, sealer))


def open_postgresql(url: str, master_key: bytes, network: str, *, migrates: bool = True) -> PostgresqlStore:
    """The store on a PostgreSQL server, made and migrated to this version's schema.

    `url` is postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with libpq's options such as `?sslmode=verify-full`. Several
    may open it at once: one migrates. Raises DatabaseUnreachableError, DatabaseUnsuitableError, SchemaTooNewError,
    SchemaOutdatedError, OtherDatabaseError; the database is then as it was.
    """
    engine = postgresql.postgresql_engine(url)
    sealer, begin = Sealer(derive_key(master_key, "sealing")), partial(postgresql.begin, engine)
    try:
        with postgresql.told_clearly(url):
            postgresql.require_suitable(engine)
            _make_ours(begin, _ours(network, sealer), migrates=migrates, restores=False)
            history = postgresql.History(engine)
    except BaseException:
        engine.dispose()
        raise
    return PostgresqlStore(engine, sealer, begin, history)


def _ours(network: str, sealer: Sealer) -> dict[str, str]:
    """The facts a database of ours states."""
    return {"network": network, "sealing_key_id": sealer.key_id}


def _make_ours(begin: Begin, ours: dict[str, str], *, migrates: bool, restores: bool) -> None:
    """Refuse what is not ours; then migrate it, and have it state whose it is."""
    with begin(writes=False) as connection:
        _hold_to(connection, ours, restores=restores)
        if not migrates:
            require_current(connection)
    if migrates:
        migrate(begin)
        with begin(writes=True) as connection:
            one_at_a_time(connection)
            _hold_to(connection, ours, restores=restores)  # somebody else may have made it theirs meanwhile
            _keep_facts(connection, ours)


def _hold_to(connection: Connection, wanted: dict[str, str], *, restores: bool) -> None:
    """Refuse a database that was made for other things, and a backup that nobody is restoring."""
    if not inspect(connection).has_table(schema.facts.name):
        return
    known = facts.read_facts(connection)
    if facts.MOVED_TO in known and not restores:
        raise DatabaseMovedError(f"This database was moved to PostgreSQL at {known[facts.MOVED_TO]}.")
    if facts.COPIED_AT in known and not restores:
        raise UnrestoredBackupError("This is a backup, put in the place of a database. It was left as it was.")
    for name, value in wanted.items():
        if known.get(name, value) != value:
            raise OtherDatabaseError(f"This database was made for {name} {known[name]}, not {value}.")


def _keep_facts(connection: Connection, wanted: dict[str, str]) -> None:
    """Write on first use what the database belongs to."""
    known = set(connection.scalars(select(schema.facts.c.name)))
    for name, value in wanted.items():
        if name not in known:
            connection.execute(insert(schema.facts).values(name=name, value=value))
