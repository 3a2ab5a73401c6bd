"""The one interface to the database: run a piece of work in a transaction.

A use case hands over a function that takes a `Transaction` and reads or writes its tables; everything it did commits
together or not at all. Which engine is beneath, nobody sees: `sqlcipher.py` is one encrypted file with one writer,
`postgresql.py` a server that many nodes share.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from monero_escrow.core.errors import EscrowError, InvalidInputError, UnavailableError
from monero_escrow.store.sealing import Sealer
from monero_escrow.store.transaction import Transaction
from monero_escrow.telemetry.metrics import Metrics

T = TypeVar("T")


class Store(Protocol):
    """What the use cases ask of a database.

    `work` may be run more than once before it commits, from the beginning and in a new transaction: it changes
    nothing but that. What it tells others, it leaves to `Transaction.after_commit`.
    """

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction that changes nothing."""
        ...

    async def read_long(self, work: Callable[[Transaction], T]) -> T:
        """`read` for what may take minutes: one at a time, in a thread of its own, so that no other read waits."""
        ...

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction that is durable when this returns, or never happened if it raises.

        One exception says that it does not know: CommitUnknownError.
        """
        ...


class DatabaseBusyError(UnavailableError):
    """The database did not take the transaction in time: locked, full, failing, or away."""

    code = "database_unavailable"
    what_to_do = (
        "Nothing was changed; try again. If it lasts: check that the database's disk has free space and, for a server, "
        "that it runs and can be reached; for a file, that no other program holds it."
    )


class UnfitValueError(InvalidInputError):
    """A text or number that no column takes. What callers send is checked before; this is the net beneath."""

    code = "unfit_value"
    what_to_do = "Leave out control characters, and send shorter texts and smaller numbers. Nothing was changed."


class CommitUnknownError(UnavailableError):
    """The connection to the server broke while it committed, and nobody could say whether it did."""

    code = "commit_unknown"
    what_to_do = "Ask again, with the same Idempotency-Key or order id: what was recorded is found, and not done twice."


class Begin(Protocol):
    """How an engine opens a transaction, which commits when its block ends and is undone when it raises."""

    def __call__(self, *, writes: bool) -> AbstractContextManager[Connection]: ...


class Writer(Protocol):
    """How an engine's transactions are made durable."""

    def submit(self, work: Callable[[Transaction], T]) -> Future[T]:
        """Queue it. The future is answered when it is durable, or when it never happened."""
        ...

    def close(self) -> None:
        """Write what waits, then end."""
        ...


class SqlStore:
    """A `Store` on any engine SQLAlchemy speaks to. Reads and writes run in threads, and are counted in `metrics`."""

    def __init__(self, engine: Engine, sealer: Sealer, begin: Begin, writer: Writer, *, readers: int = 2) -> None:
        self._engine = engine
        self._sealer = sealer
        self._begin = begin
        self._writer = writer
        self._readers = ThreadPoolExecutor(max_workers=readers, thread_name_prefix="store-read")
        self._long_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-read-long")
        self.metrics = Metrics()

    async def read(self, work: Callable[[Transaction], T]) -> T:
        with self._measured("read"):
            return await self._read_in(self._readers, work)

    async def read_long(self, work: Callable[[Transaction], T]) -> T:
        return await self._read_in(self._long_reader, work)  # not measured: the others' times would drown in it

    async def _read_in(self, threads: ThreadPoolExecutor, work: Callable[[Transaction], T]) -> T:
        context = contextvars.copy_context()  # so that what is logged there carries the request's and escrow's id
        return await _to_its_end(threads.submit(context.run, self.read_now, work))

    async def write(self, work: Callable[[Transaction], T]) -> T:
        with self._measured("write"):
            return await _to_its_end(self._writer.submit(self._counted(work)))

    def _counted(self, work: Callable[[Transaction], T]) -> Callable[[Transaction], T]:
        """The same work, and after its commit what it brought about is counted."""

        def counted(tx: Transaction) -> T:
            tx.metrics = self.metrics
            result = work(tx)
            if tx.audit.added or tx.payouts.moves:
                tx.measure(lambda metrics: _count_rows(metrics, tx))
            return result

        return counted

    @contextmanager
    def _measured(self, kind: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except (DatabaseBusyError, CommitUnknownError) as error:
            self.metrics.database_errors.labels(kind, error.code).inc()
            raise
        finally:
            self.metrics.database_seconds.labels(kind).observe(time.monotonic() - began)

    def read_now(self, work: Callable[[Transaction], T]) -> T:
        """Read at once and in this thread."""
        return transact(self._begin, self._sealer, work, writes=False)

    def write_now(self, work: Callable[[Transaction], T]) -> T:
        """Write at once and in this thread, in a transaction of its own."""
        return transact(self._begin, self._sealer, work, writes=True)

    def close(self) -> None:
        """Let what is under way finish, then close every connection."""
        self._writer.close()
        self._readers.shutdown()
        self._long_reader.shutdown()
        self._engine.dispose()


def transact(begin: Begin, sealer: Sealer, work: Callable[[Transaction], T], *, writes: bool) -> T:
    """One piece of work by itself, once."""
    try:
        with begin(writes=writes) as connection:
            tx = Transaction(connection, sealer, writes=writes)
            result = work(tx)
            if writes:
                tx.complete()
    except IntegrityError:
        raise  # a constraint of the schema: a fault of ours, not of the database
    except DBAPIError as error:
        raise unavailable(error) from None
    tx.committed()
    return result


def _count_rows(metrics: Metrics, tx: Transaction) -> None:
    metrics.audit_writes.inc(tx.audit.added)
    for kind, state in tx.payouts.moves:
        metrics.payouts.labels(kind.value, state.value).inc()


async def _to_its_end(job: Future[T]) -> T:
    """Shielded: a cancelled caller must not leave it open whether a commit happened before what comes next."""
    answer = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        await asyncio.wait([answer])
        if not answer.cancelled():
            answer.exception()  # looked at: nobody waits for it any more, and asyncio would report it as forgotten
        raise


def unavailable(error: DBAPIError) -> EscrowError:
    """What callers get for what the database said: it is away, or (UnfitValueError) it would never take this."""
    reason = str(error.orig).strip().partition("\n")[0].rstrip(".")
    if isinstance(error, DataError):
        return UnfitValueError(f"The database cannot hold what it was given: {reason}.")
    return DatabaseBusyError(f"The database did not take the transaction: {reason}.")
