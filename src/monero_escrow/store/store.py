"""The one interface to the database: run a piece of work in a transaction.

A use case hands over a function that takes a `Transaction` and reads or writes its tables; everything it did commits
together or not at all. Reads and writes run in threads, writes one after another; what waits commits in a group. Which
engine is beneath, nobody sees.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import structlog
from sqlalchemy import Connection, Engine, insert, inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from monero_escrow.core.errors import EscrowError, UnavailableError
from monero_escrow.store import facts, schema
from monero_escrow.store.engine import WRITES, sqlcipher_engine
from monero_escrow.store.escrow_table import EscrowTable
from monero_escrow.store.group_commit import GroupCommit
from monero_escrow.store.key_table import KeyTable
from monero_escrow.store.migrate import migrate, require_current
from monero_escrow.store.payout_table import OutputTable, PayoutTable
from monero_escrow.store.scan_table import ScanTable
from monero_escrow.store.sealing import Sealer, derive_key
from monero_escrow.store.trail_tables import AuditTable, IdempotencyTable, Journal, Outbox
from monero_escrow.store.trio_table import TrioTable

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Transaction:
    """The tables, as they are within one transaction."""

    def __init__(self, connection: Connection, sealer: Sealer) -> None:
        self.connection = connection
        self._after_commit: list[Callable[[], None]] = []
        self.escrows = EscrowTable(connection)
        self.trios = TrioTable(connection, sealer)
        self.scan = ScanTable(connection, self.trios)
        self.outputs = OutputTable(connection)
        self.payouts = PayoutTable(connection, sealer)
        self.journal = Journal(connection)
        self.audit = AuditTable(connection)
        self.outbox = Outbox(connection)
        self.idempotency = IdempotencyTable(connection)
        self.keys = KeyTable(connection)

    def after_commit(self, tell: Callable[[], None]) -> None:
        """Call this once what was done here is durable: a log line must not tell of what never happened."""
        self._after_commit.append(tell)

    def committed(self) -> None:
        """It is durable. What goes wrong in the telling does not make it undone."""
        for tell in self._after_commit:
            try:
                tell()
            except Exception:
                log.exception("telling_failed")


class Store(Protocol):
    """What the use cases ask of a database."""

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction that changes nothing."""
        ...

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction that is durable when this returns, or never happened if it raises."""
        ...


class DatabaseBusyError(UnavailableError):
    """The database did not take the transaction in time: locked, full, or failing."""

    code = "database_unavailable"
    what_to_do = "Nothing was changed. Check the disk's free space, and that no other program holds the database."


class OtherDatabaseError(EscrowError):
    """The database belongs to another network or sealing key."""

    code = "other_database"
    what_to_do = "Use one DATA_DIR a network, or set the settings back to what this database was made with."


class UnrestoredBackupError(EscrowError):
    """A backup lies where the database should be: it would not ask the chain what was paid since it was made."""

    code = "unrestored_backup"
    what_to_do = "Move it out of DATA_DIR, and bring it back with `monero-escrow restore FILE`."


class SqlStore:
    """A `Store` on any engine SQLAlchemy speaks to; SQLCipher's single writer gets a thread of its own."""

    def __init__(self, engine: Engine, sealer: Sealer) -> None:
        self._engine = engine
        self._sealer = sealer
        self._writer = GroupCommit(self._begin, lambda connection: Transaction(connection, sealer), _unavailable)
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="store-read")

    async def read(self, work: Callable[[Transaction], T]) -> T:
        context = contextvars.copy_context()  # so that what is logged there carries the request's and escrow's id
        return await _to_its_end(self._readers.submit(context.run, self._transact, work, False))

    async def write(self, work: Callable[[Transaction], T]) -> T:
        return await _to_its_end(self._writer.submit(work))

    @contextmanager
    def _begin(self, *, writes: bool = True) -> Iterator[Connection]:
        """A transaction that commits when its block ends, and is undone when it raises."""
        with self._engine.connect().execution_options(**{WRITES: writes}) as connection, connection.begin():
            yield connection

    def _transact(self, work: Callable[[Transaction], T], writes: bool) -> T:
        """One piece of work by itself, at once and in this thread."""
        try:
            with self._begin(writes=writes) as connection:
                tx = Transaction(connection, self._sealer)
                result = work(tx)
        except IntegrityError:
            raise  # a constraint of the schema: a fault of ours, not of the database
        except DBAPIError as error:
            raise _unavailable(error) from None
        tx.committed()
        return result

    def close(self) -> None:
        """Let what is under way finish, then close every connection."""
        self._writer.close()
        self._readers.shutdown()
        self._engine.dispose()


async def _to_its_end(job: Future[T]) -> T:
    """Shielded: a cancelled caller must not leave it open whether a commit happened before what comes next."""
    answer = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        await asyncio.wait([answer])
        raise


def _unavailable(error: DBAPIError) -> DatabaseBusyError:
    return DatabaseBusyError(f"The database did not take the transaction: {error.orig}.")


def open_sqlcipher(
    path: Path, master_key: bytes, network: str, *, migrates: bool = True, restores: bool = False
) -> SqlStore:
    """The store in an encrypted file, made and migrated to this version's schema.

    With `migrates=False` nothing is made or migrated. The file's key and the sealing key are derived from the 32-byte
    master key. Raises WrongDatabaseKeyError, SchemaTooNewError, SchemaOutdatedError, OtherDatabaseError; the file is
    then as it was.
    """
    engine = sqlcipher_engine(path, derive_key(master_key, "database"))
    sealer = Sealer(derive_key(master_key, "sealing"))
    try:
        _hold_to(engine, {"network": network, "sealing_key_id": sealer.key_id}, restores=restores)
        if migrates:
            migrate(engine)
            _keep_facts(engine, {"network": network, "sealing_key_id": sealer.key_id})
        else:
            require_current(engine)
    except BaseException:
        engine.dispose()
        raise
    return SqlStore(engine, sealer)


def _hold_to(engine: Engine, wanted: dict[str, str], *, restores: bool) -> None:
    """Refuse a database that was made for other things, and a backup that nobody is restoring."""
    if not inspect(engine).has_table(schema.facts.name):
        return
    with engine.connect() as connection:
        known = facts.read_facts(connection)
    if facts.COPIED_AT in known and not restores:
        raise UnrestoredBackupError("This is a backup, put in the place of a database. It was left as it was.")
    for name, value in wanted.items():
        if known.get(name, value) != value:
            raise OtherDatabaseError(f"This database was made for {name} {known[name]}, not {value}.")


def _keep_facts(engine: Engine, wanted: dict[str, str]) -> None:
    """Write on first use what the database belongs to."""
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        known = set(connection.scalars(select(schema.facts.c.name)))
        for name, value in wanted.items():
            if name not in known:
                connection.execute(insert(schema.facts).values(name=name, value=value))
