"""The real database on its real file, inline instead of in threads, with a disk that fills up and breaks.

A full disk is SQLite's own: the file may have no more pages than it has. An I/O error is raised in the middle of the
engine's commit, before it happened or after it did; the service is told the same in both cases.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import sqlcipher3.dbapi2 as sqlcipher
from sqlalchemy import Engine

from monero_escrow.store.group_commit import GroupCommit
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.sealing import Sealer, derive_key
from monero_escrow.store.sqlcipher import begin, sqlcipher_engine
from monero_escrow.store.store import CommitUnknownError, DatabaseBusyError, SqlStore
from monero_escrow.store.transaction import Transaction
from run_twice import run_twice
from simulation.fate import Fate, ServiceDiedError, Trouble

T = TypeVar("T")

_MANY_PAGES = 0x3FFFFFFF
_NAMING_VARIABLES = ("name", "this_round")


class Witness(Protocol):
    """Looks at the database after every commit."""

    def committed(self, store: InlineStore) -> None: ...


class InlineStore(SqlStore):
    """The service can die before and after each commit; `witness` sees what each made durable.

    With `twice` each piece of work is run once for nothing before it is run for good: a server may ask for that too.
    """

    def __init__(
        self, engine: Engine, sealer: Sealer, fate: Fate, witness: Witness | None = None, *, twice: bool = False
    ) -> None:
        begins = partial(begin, engine)
        super().__init__(engine, sealer, begins, GroupCommit(begins, sealer))
        self._fate = fate
        self._witness = witness
        self._twice = twice
        self._step_names: dict[int, str] = {}
        self._commit = partial(type(engine.dialect).do_commit, engine.dialect)
        self._breaks = Trouble.NONE
        engine.dialect.do_commit = self._do_commit  # type: ignore[method-assign,assignment]

    @property
    def engine(self) -> Engine:
        """For whoever looks on."""
        return self._engine

    @property
    def sealer(self) -> Sealer:
        """For whoever looks on."""
        return self._sealer

    async def read(self, work: Callable[[Transaction], T]) -> T:
        await self._fate.awake()
        if self._fate.dead:
            raise ServiceDiedError
        with self._suffering(self._fate.of_transaction(writes=False)):
            return self.read_now(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        await self._fate.awake()
        name = self._name_of(work)
        self._fate.boundary("before a commit", name)
        trouble = self._fate.of_transaction(writes=True)
        try:
            with self._suffering(trouble):
                done = run_twice(work, self._sealer) if self._twice else work
                result = self.write_now(_on_full_disk(done) if trouble is Trouble.FULL else done)
        except (DatabaseBusyError, CommitUnknownError):
            if trouble in (Trouble.BROKEN_AFTER, Trouble.UNKNOWN_AFTER):
                self._look()
            raise
        if name.startswith(("journal.step", "signers.step")) and isinstance(result, int):
            self._step_names[result] = name.partition(": ")[2]
        self._look()
        self._fate.boundary("after a commit", name)
        await asyncio.sleep(0)  # where a cancellation strikes, as on the real one: after the commit
        return result

    def _look(self) -> None:
        if self._witness is not None:
            self._witness.committed(self)

    @contextmanager
    def _suffering(self, trouble: Trouble) -> Iterator[None]:
        """Raises DatabaseBusyError or CommitUnknownError, and counts a trouble that really struck."""
        if trouble is Trouble.BUSY:
            self._fate.struck[trouble.value] += 1
            raise DatabaseBusyError("The database did not take the transaction: database is locked.")
        self._breaks = trouble
        try:
            yield
        except DatabaseBusyError:
            if trouble is not Trouble.NONE:
                self._fate.struck[trouble.value] += 1
            if trouble in (Trouble.UNKNOWN_BEFORE, Trouble.UNKNOWN_AFTER):
                raise CommitUnknownError("The connection to the database broke in the middle of a commit.") from None
            raise
        finally:
            self._breaks = Trouble.NONE

    def _do_commit(self, connection: Any) -> None:
        if self._breaks in (Trouble.BROKEN_BEFORE, Trouble.UNKNOWN_BEFORE):
            raise sqlcipher.OperationalError("disk I/O error")
        self._commit(connection)
        if self._breaks in (Trouble.BROKEN_AFTER, Trouble.UNKNOWN_AFTER):
            raise sqlcipher.OperationalError("disk I/O error")

    def _name_of(self, work: Callable[..., object]) -> str:
        """Who commits what, for people: "set_up._intend: gate", "journal.step.end: sign"."""
        place = f"{work.__module__.rpartition('.')[2]}.{work.__qualname__}"
        place = place.replace(".<locals>", "").replace(".<lambda>", "")
        cells = zip(work.__code__.co_freevars, getattr(work, "__closure__", None) or (), strict=True)
        known = {name: cell.cell_contents for name, cell in cells if name in (*_NAMING_VARIABLES, "row")}
        for variable in _NAMING_VARIABLES:
            if variable in known:
                return f"{place}: {known[variable]}"
        return f"{place}.end: {self._step_names.get(known['row'], '?')}" if "row" in known else place


def _on_full_disk(work: Callable[[Transaction], T]) -> Callable[[Transaction], T]:
    """The same work, while the file can grow by no page."""

    def capped(tx: Transaction) -> T:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        try:
            result = work(tx)
            tx.complete()  # the audit rows and events are written last of all, and meet the full disk as well
            return result
        finally:
            tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {_MANY_PAGES}")

    return capped


@lru_cache(maxsize=1)
def empty_database(network: str, key: bytes) -> bytes:
    """A database that was just made and migrated: making one costs more than a whole short run."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        open_sqlcipher(path, key, network).close()
        return path.read_bytes()


engines: dict[Path, Engine] = {}


def open_quickly(path: Path, key: bytes, network: str, fate: Fate, witness: Witness | None) -> InlineStore:
    """The store without the looks at its schema, which a run of a thousand starts need not repeat.

    One engine a path serves all runs there, one after another: what it has compiled costs more than the rest.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(empty_database(network, key))
    if path not in engines:
        engines[path] = sqlcipher_engine(path, derive_key(key, "database"))
    return InlineStore(engines[path], Sealer(derive_key(key, "sealing")), fate, witness)


def quick_folder(otherwise: Path) -> Path:
    """Where a database costs no disk writes, if there is such a place."""
    return Path("/dev/shm") if Path("/dev/shm").is_dir() else otherwise


def forget(folder: Path) -> None:
    """Remove a run's folder, and let go of the files in it."""
    for path, engine in engines.items():
        if path.is_relative_to(folder):
            engine.dispose()
    shutil.rmtree(folder, ignore_errors=True)
