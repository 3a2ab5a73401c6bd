"""Move everything from the encrypted file into an empty PostgreSQL database: every row as it is, or nothing at all.

One transaction on the server takes all rows, and commits only after each was read back and compared. Meanwhile the
file is held against writers; it is marked as moved only after the server's commit. Whatever interrupts this, the server
has nothing or everything, and the next run finds out which: the server keeps a digest of the rows it was given.

Secrets are not opened: a seal is bound to its row and purpose, not to the database it lies in. Nothing is left out and
nothing is corrected: what PostgreSQL cannot hold stops the move with the row's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import JSON, Connection, Row, Table, delete, func, insert, select, text, tuple_
from sqlalchemy.exc import DatabaseError, DBAPIError

from monero_escrow.core.errors import EscrowError, UnavailableError
from monero_escrow.store import facts, schema
from monero_escrow.store.opening import PostgresqlStore
from monero_escrow.store.postgresql import be_patient
from monero_escrow.store.progress import Told, say_nothing
from monero_escrow.store.serials import go_on_after_the_largest
from monero_escrow.store.store import DatabaseBusyError, SqlStore
from monero_escrow.store.transaction import Transaction

_TOGETHER: Final = 500  # rows a statement
_MADE_BY_MIGRATIONS: Final = (schema.duties,)
"""Tables that are not empty in a new database; the file's rows take the place of theirs."""
_TABLES: Final = [table for table in schema.metadata.sorted_tables if table is not schema.facts]
"""All rows of a database, each table after those it refers to. What the database says of itself is carried apart."""
_UNREADABLE: Final = (DatabaseError, ValueError)
"""What bytes that are no text, or texts that are no JSON, raise."""


class ServerNotEmptyError(EscrowError):
    """The database on the server has rows already. Nothing was changed, here or there."""

    code = "server_not_empty"
    what_to_do = (
        "Let DATABASE_URL name a new, empty database: CREATE DATABASE escrow ENCODING 'UTF8' TEMPLATE template0; "
        "start no service on it before the move."
    )


class RowRefusedError(EscrowError):
    """PostgreSQL cannot hold a row of the file. Nothing was moved."""

    code = "row_refused"
    what_to_do = (
        "Nothing was moved, and the service can go on with the file. Report the table and the kind of trouble, so that "
        "a way is found for such a row; do not change it by hand."
    )


class RowUnreadableError(EscrowError):
    """A row of the file cannot be read as what it should be. Nothing was moved."""

    code = "row_unreadable"
    what_to_do = "Nothing was moved. The file is damaged: restore the newest backup that can be moved."


class RowsDifferError(EscrowError):
    """What was read back from the server is not what the file has. Nothing was moved."""

    code = "rows_differ"
    what_to_do = (
        "Nothing was moved, and the service can go on with the file. Check both machines' memory and disks, then try "
        "again; if it happens again, report it."
    )


class MoveInterruptedError(UnavailableError):
    """The server did not finish the transaction, or its answer was lost."""

    code = "move_interrupted"
    what_to_do = (
        "Run it again: it finds out whether everything had arrived, and then finishes or begins anew. Until it has "
        "ended well, start no service on either database."
    )


class MovedBeforeError(EscrowError):
    """The server has the rows of an earlier state of this file, which was used again since."""

    code = "moved_before"
    what_to_do = (
        "Make sure that no service runs on the server's database. If none ever did, drop it, make an empty one, and "
        "run this again. If one did, both are live copies: stop both, and compare their escrows before anything else."
    )


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move did: rows by table, and whether an earlier, interrupted run had brought them there already."""

    rows: Mapping[str, int]
    arrived_earlier: bool

    @property
    def total(self) -> int:
        """All rows together."""
        return sum(self.rows.values())


def move_store(
    file: SqlStore, server: PostgresqlStore, place: str, now: float, actor: str, tell: Told = say_nothing
) -> Moved:
    """Move all rows; `place` names the server's database to whoever opens the file later. Blocks for its whole time.
    The server's audit trail says that `actor` moved them.

    The caller holds the data folder's lock. Raises ServerNotEmptyError, RowRefusedError, RowsDifferError,
    MovedBeforeError, MoveInterruptedError, DatabaseBusyError.
    """
    arrived = False

    def move(tx: Transaction) -> Moved:
        nonlocal arrived
        moved = _all_or_nothing(tx.connection, server, actor, tell)
        arrived = True
        facts.mark_as_copy(tx.connection, now)
        facts.put_fact(tx.connection, facts.MOVED_TO, place)
        return moved

    try:
        return file.write_now(move)
    except DatabaseBusyError as error:
        if arrived:  # two live copies now, unless somebody is told
            raise MoveInterruptedError(
                f"All rows are on the server, and the file could not say so. {error.message}"
            ) from None
        raise


def _all_or_nothing(source: Connection, server: PostgresqlStore, actor: str, tell: Told) -> Moved:
    """Durable on the server when this returns."""
    try:
        return server.write_now(lambda tx: _move(source, tx, server.history.known, actor, tell))
    except DatabaseBusyError as error:
        raise MoveInterruptedError(error.message) from None


def _move(source: Connection, tx: Transaction, history: str, actor: str, tell: Told) -> Moved:
    target = tx.connection
    be_patient(target)
    _hold(target)
    counts = {table.name: _count(source, table) for table in _TABLES}
    earlier = facts.read_facts(target).get(facts.MOVED_FROM)
    if earlier is not None:
        if earlier != _digest(source, _progress(tell, "comparing", counts)):
            raise MovedBeforeError("The server has what was in this file earlier, and the file was used since.")
        return Moved(counts, arrived_earlier=True)
    _require_empty(target)
    moving = _progress(tell, "moving", counts)
    for table in _MADE_BY_MIGRATIONS:
        target.execute(delete(table))
    for table in _TABLES:
        _copy(source, target, table, moving)
        go_on_after_the_largest(target, table)
    comparing = _progress(tell, "comparing", counts)
    for table in _TABLES:
        _compare(source, target, table, comparing)
    _carry_facts(source, target, history)
    facts.put_fact(target, facts.MOVED_FROM, _digest(source, _progress(tell, "summing up", counts)))
    tx.audit.add(actor, "store_moved", tx.nodes.now(), detail={"rows": str(sum(counts.values()))})
    return Moved(counts, arrived_earlier=False)


def _hold(target: Connection) -> None:
    """Whoever else would write there waits until the move is over: no service starts in the middle of it."""
    names = ", ".join(table.name for table in schema.metadata.sorted_tables)
    target.execute(text(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"))


def _require_empty(target: Connection) -> None:
    for table in _TABLES:
        count = _count(target, table)
        if count and table not in _MADE_BY_MIGRATIONS:
            rows = "1 row" if count == 1 else f"{count} rows"
            raise ServerNotEmptyError(f"The database of DATABASE_URL is not empty: it has {rows} of {table.name}.")


def _carry_facts(source: Connection, target: Connection, history: str) -> None:
    """What the file says of itself holds there too; and it is this server that it was moved to, in this history."""
    for name, value in facts.read_facts(source).items():
        facts.put_fact(target, name, value)
    facts.put_fact(target, facts.SERVER_HISTORY, history)


# --- rows ------------------------------------------------------------------------------------------------------------


def _copy(source: Connection, target: Connection, table: Table, moved: Callable[[int], None]) -> None:
    for rows in _batches(source, table):
        values = [dict(row._mapping) for row in rows]
        try:
            with target.begin_nested():
                target.execute(insert(table), values)
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            raise _refused(target, table, rows) or error from None
        moved(len(rows))


def _refused(target: Connection, table: Table, rows: Sequence[Row[Any]]) -> RowRefusedError | None:
    """Which of these rows the server does not take, and why; never a value."""
    for row in rows:
        try:
            with target.begin_nested():
                target.execute(insert(table), dict(row._mapping))
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            which = ", ".join(repr(value) for value in _key(table, row))
            return RowRefusedError(f"PostgreSQL does not take row {which} of {table.name}: {_reason(error)}.")
    return None


def _reason(error: DBAPIError) -> str:
    """Its first line: the others may show what is in the row."""
    return str(error.orig).strip().partition("\n")[0].rstrip(".")


def _compare(source: Connection, target: Connection, table: Table, compared: Callable[[int], None]) -> None:
    """Raises RowsDifferError unless both have the same rows, to the last byte."""
    key = tuple_(*table.primary_key.columns)
    for rows in _batches(source, table):
        wanted = [_key(table, row) for row in rows]
        found = {_key(table, row): _exactly(table, row) for row in target.execute(select(table).where(key.in_(wanted)))}
        for row in rows:
            if found.get(_key(table, row)) != _exactly(table, row):
                which = ", ".join(repr(value) for value in _key(table, row))
                raise RowsDifferError(f"Row {which} of {table.name} is not on the server as it is in the file.")
        compared(len(rows))
    here, there = _count(source, table), _count(target, table)
    if here != there:
        raise RowsDifferError(f"The file has {here} rows of {table.name}, the server {there}.")


def _digest(source: Connection, read: Callable[[int], None]) -> str:
    """SHA-256 over all rows: the same as long as nobody changed one."""
    whole = hashlib.sha256()
    for table in _TABLES:
        whole.update(table.name.encode())
        for rows in _batches(source, table):
            for row in rows:
                whole.update(repr(_exactly(table, row)).encode())
            read(len(rows))
    return whole.hexdigest()


def _batches(source: Connection, table: Table) -> Iterator[Sequence[Row[Any]]]:
    """All rows of a table, some at a time, in the order of their keys."""
    query = select(table).order_by(*table.primary_key.columns)
    try:
        yield from source.execute(query, execution_options={"yield_per": _TOGETHER}).partitions()
    except _UNREADABLE:
        raise _unreadable(source, table) from None


def _unreadable(source: Connection, table: Table) -> RowUnreadableError:
    """Which row it is; never what stands in it."""
    key = table.primary_key.columns
    for row in source.execute(select(*key).order_by(*key)).all():
        same = (column == value for column, value in zip(key, row, strict=True))
        try:
            source.execute(select(table).where(*same)).all()
        except _UNREADABLE:
            which = ", ".join(repr(value) for value in row)
            return RowUnreadableError(f"Row {which} of {table.name} cannot be read.")
    return RowUnreadableError(f"The rows of {table.name} cannot be read.")


def _key(table: Table, row: Row[Any]) -> tuple[Any, ...]:
    return tuple(row._mapping[column] for column in table.primary_key.columns)


def _exactly(table: Table, row: Row[Any]) -> tuple[Any, ...]:
    """The row with nothing equal that is not the same: JSON as text, because there 1, 1.0 and true differ."""
    columns = zip(table.columns, row, strict=True)
    return tuple(json.dumps(value) if isinstance(column.type, JSON) else value for column, value in columns)


def _count(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _progress(tell: Told, what: str, counts: Mapping[str, int]) -> Callable[[int], None]:
    """Told of so many more rows, tells how much of all that is."""
    whole, done = max(1, sum(counts.values())), 0

    def more(rows: int) -> None:
        nonlocal done
        done += rows
        tell(what, done / whole)

    tell(what, 0.0)
    return more
