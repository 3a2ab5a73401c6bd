"""Many writers: each piece of work commits in a transaction of its own, on whichever connection is free.

The server gathers commits by itself. What it undid because two got into each other's way (a deadlock, a row that two
wanted to add first) is run again from the beginning. Where the connection broke in the middle of COMMIT, the server is
asked whether it happened; only if nobody can say, the caller is told so. It cannot say once it recovered from a crash:
the number of a transaction that reached no disk is given to another one then.
"""

from __future__ import annotations

import contextvars
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import psycopg
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from monero_escrow.store.postgresql import run_of
from monero_escrow.store.sealing import Sealer
from monero_escrow.store.store import CommitUnknownError, unavailable
from monero_escrow.store.transaction import Transaction

T = TypeVar("T")

_MOST_RUNS: Final = 5
_GOT_IN_THE_WAY: Final = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
_WHICH = text("SELECT pg_current_xact_id_if_assigned()::text")
_WHAT_BECAME = text("SELECT pg_xact_status(CAST(:which AS xid8))")
_NOT_GIVEN_YET: Final = psycopg.errors.InvalidParameterValue
_NEVER_KNOWN: Final = "never known"
_ASK_SECONDS: Final = 10.0
_ASK_AGAIN_SECONDS: Final = 0.2


class OwnCommit:
    """The writers of a server that many share."""

    def __init__(self, engine: Engine, sealer: Sealer, *, writers: int) -> None:
        self._engine = engine
        self._sealer = sealer
        self._threads = ThreadPoolExecutor(max_workers=writers, thread_name_prefix="store-write")

    def submit(self, work: Callable[[Transaction], T]) -> Future[T]:
        """Queue it. The future is answered when it is durable, or when it never happened."""
        return self._threads.submit(contextvars.copy_context().run, self._write, work)

    def close(self) -> None:
        """Write what waits, then end."""
        self._threads.shutdown()

    def _write(self, work: Callable[[Transaction], T]) -> T:
        was_second = False
        for run in range(1, _MOST_RUNS + 1):
            try:
                return self._write_once(work)
            except IntegrityError as error:  # somebody else was first; or a fault of ours, which comes again
                if was_second or run == _MOST_RUNS or not isinstance(error.orig, psycopg.errors.UniqueViolation):
                    raise
                was_second = True
            except DBAPIError as error:
                if run == _MOST_RUNS or not isinstance(error.orig, _GOT_IN_THE_WAY):
                    raise unavailable(error) from None
                time.sleep(random.uniform(0, 0.01 * 2**run))  # noqa: S311  not a secret
        raise AssertionError

    def _write_once(self, work: Callable[[Transaction], T]) -> T:
        with self._engine.connect() as connection, connection.begin() as transaction:
            tx = Transaction(connection, self._sealer)
            result = work(tx)
            tx.complete()
            which, run = connection.scalar(_WHICH), run_of(connection)
            try:
                transaction.commit()
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                self._find_out(which, run, error)
        tx.committed()
        return result

    def _find_out(self, which: str | None, run: object, error: DBAPIError) -> None:
        """Return if the transaction was committed after all. Raises DatabaseBusyError, CommitUnknownError."""
        if which is None:
            raise unavailable(error) from None  # it had written nothing
        last = time.monotonic() + _ASK_SECONDS
        while time.monotonic() < last:
            became, same_run = self._what_became_of(which, run)
            if became == "committed" and same_run:
                return
            if became == "committed":
                break  # by us before the server crashed, or by another one that was given our number since
            if became == _NEVER_KNOWN or became == "aborted" or (became is not None and not same_run):
                raise unavailable(error) from None
            time.sleep(_ASK_AGAIN_SECONDS)
        raise CommitUnknownError("The connection to the database broke in the middle of a commit.") from None

    def _what_became_of(self, which: str, run: object) -> tuple[str | None, bool]:
        """Its state (None: nobody can say), and whether this is still the run of the server that it was made in."""
        try:
            with self._engine.connect() as connection:
                status: str | None = connection.scalar(_WHAT_BECAME, {"which": which})
                return status, run_of(connection) == run
        except DBAPIError as error:
            # "transaction ID is in the future": a crash made the server forget that it had given this number.
            return (_NEVER_KNOWN if isinstance(error.orig, _NOT_GIVEN_YET) else None), False
