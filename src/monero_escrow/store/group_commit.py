"""One writer: what waits to be written commits together, so that one synchronous write of the disk carries it all.

A commit costs milliseconds, most of them the disk's, and a crowd of set-ups writes thousands. Each piece of work runs
as if it were alone: in the order it came, under a savepoint of its own, seeing what came before it. One that raises is
undone and spoils no other. Nobody is answered before the commit; if that fails, nothing of the group happened, and all
are told so (docs/decisions/0019-what-waits-commits-together.md).
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from monero_escrow.store.sealing import Sealer
from monero_escrow.store.store import Begin, unavailable
from monero_escrow.store.transaction import Transaction

T = TypeVar("T")

MOST_TOGETHER: Final = 64
"""So many at most in one transaction: the first of them waits for the last."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """One piece of work and its caller's future; `context` carries the request's and escrow's id to the log."""

    work: Callable[[Any], Any]
    answer: Future[Any] = field(default_factory=Future)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    tx: Transaction | None = None
    result: Any = None
    error: BaseException | None = None

    def run(self, connection: Connection, sealer: Sealer) -> None:
        """Do the work. Raises what it raises."""
        self.tx = Transaction(connection, sealer)
        self.result = self.context.run(self.work, self.tx)
        self.tx.complete()


class GroupCommit:
    """The single writer of one database, on a thread of its own."""

    def __init__(self, begin: Begin, sealer: Sealer) -> None:
        self._begin = begin
        self._sealer = sealer
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-write")

    def submit(self, work: Callable[[Any], T]) -> Future[T]:
        """Queue it. The future is answered when it is durable, or when it never happened."""
        one = _Waiting(work)
        self._waiting.append(one)
        self._thread.submit(self._write_waiting)
        return one.answer

    def close(self) -> None:
        """Write what waits, then end."""
        self._thread.shutdown()

    def _write_waiting(self) -> None:
        """Called once for each that was queued; those that were carried by an earlier call are gone already."""
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]
        if not group:
            return
        try:
            with self._begin(writes=True) as connection:
                if len(group) == 1:  # what is undone with it is nobody else's: it needs no savepoint
                    group[0].run(connection, self._sealer)
                else:
                    for one in group:
                        self._do(one, connection)
        except DBAPIError as error:
            own = len(group) == 1 and isinstance(error, IntegrityError)  # a fault of ours, not of the database
            for one in group:
                one.error = one.error or (error if own else unavailable(error))
        except BaseException as error:  # whatever it is, nobody may wait for ever
            for one in group:
                one.error = error
        for one in group:
            _answer(one)

    def _do(self, one: _Waiting, connection: Connection) -> None:
        """Raises only what concerns the whole transaction; any error of the work itself is kept for its caller."""
        savepoint = connection.begin_nested()
        try:
            one.run(connection, self._sealer)
        except DBAPIError as error:
            if not isinstance(error, IntegrityError):
                raise  # SQLite may have undone everything already: then there is no savepoint to go back to
            savepoint.rollback()
            one.error = error  # a constraint of the schema: a fault of ours, not of the database
        except Exception as error:
            savepoint.rollback()
            one.error = error
        else:
            savepoint.commit()


def _answer(one: _Waiting) -> None:
    if not one.answer.set_running_or_notify_cancel():
        return
    if one.error is not None:
        one.answer.set_exception(one.error)
        return
    if one.tx is not None:
        one.context.run(one.tx.committed)
    one.answer.set_result(one.result)
