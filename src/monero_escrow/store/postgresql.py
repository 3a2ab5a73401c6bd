"""The PostgreSQL engine: one server, many nodes; nothing acknowledged that is not durable there.

Transactions that write see each statement's latest rows and lock the escrow they are about (`escrow_table.py`);
those that read see one state throughout. What must hold between rows stands in constraints. A server is refused at
start when it is too old, read-only, not in UTF-8, or does not let us make tables.

Every new connection is asked which history its server is in: after a failover to a standby, or a restore, the last
seconds may be missing. Whoever worked with the earlier history writes nothing into the later one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from monero_escrow.core.errors import EscrowError, UnavailableError
from monero_escrow.core.loopback import is_loopback

WRITERS: Final = 8
READERS: Final = 4
_SPARE_CONNECTIONS: Final = 4
LEAST_VERSION: Final = 13
"""The first with `pg_current_xact_id`, by which it is asked whether a transaction was committed."""

_CONNECT_SECONDS: Final = 5
_STATEMENT_MS: Final = 10_000
_SILENT_MS: Final = 5_000
"""A node that is stopped or cut off in the middle of a transaction keeps its locks for no longer: whoever takes its
work over passes locked rows by, and must not have to wait for more than about a lease.
"""
_SERVER_SETTINGS: Final = {
    "timezone": "UTC",
    "statement_timeout": str(_STATEMENT_MS),
    "lock_timeout": str(_STATEMENT_MS),
    "idle_in_transaction_session_timeout": str(_SILENT_MS),
}
_PATIENTLY: Final = [
    text(f"SET LOCAL {name} = '10min'") for name in ("statement_timeout", "idle_in_transaction_session_timeout")
]

_HISTORY = text(
    "SELECT (SELECT system_identifier FROM pg_control_system()) || '/' "
    "|| substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
)
"""Which cluster this is, and its timeline: a new one begins with every promotion and every restore to a moment."""


_RUN: Final = "SELECT stats_reset FROM pg_stat_bgwriter"
"""The statistics begin anew with every recovery from a crash. (When somebody resets them, we merely know less.)"""


class DatabaseUnreachableError(UnavailableError):
    """The PostgreSQL server does not answer, or does not let us in."""

    code = "database_unreachable"
    what_to_do = "Check DATABASE_URL, and that the server runs and lets this machine and user in (pg_hba.conf)."


class DatabaseUnsuitableError(EscrowError):
    """The PostgreSQL database cannot carry the service. It was left as it was."""

    code = "database_unsuitable"
    what_to_do = "See docs/postgresql.md for what the server and its user need."


class ServerReplacedError(EscrowError):
    """Behind DATABASE_URL there is another server than this node began with, or an earlier state of the same."""

    code = "server_replaced"
    what_to_do = "Start the service again: it asks the chain first what the server may have lost, and then goes on."


def postgresql_engine(url: str) -> Engine:
    """An engine on the server, with a pool of its own. Nothing is connected yet."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg", query={}),
        pool_size=WRITERS + READERS + _SPARE_CONNECTIONS,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,  # a server that was restarted is found out before work is begun on a dead connection
        hide_parameters=True,  # an error's text would carry addresses and sealed secrets
        connect_args=_how_to_connect(url),
    )
    event.listen(engine, "handle_error", _without_values)
    return engine


def _without_values(context: ExceptionContext) -> None:
    """Of an error keep the first line: after it the server quotes the row, with addresses, and the statement."""
    error, told = context.original_exception, context.sqlalchemy_exception
    if isinstance(error, psycopg.Error):
        error.args = (_first_line(error),)
        if told is not None:
            told.args = (f"({type(error).__name__}) {error}",)


def be_patient(connection: Connection) -> None:
    """To go through whole tables may take longer than any step of the service; until this transaction ends it may."""
    if connection.dialect.name == "postgresql":
        for setting in _PATIENTLY:
            connection.execute(setting)


async def listening_to(url: str, channel: str) -> psycopg.AsyncConnection[Any]:
    """A connection beside the pool that hears what is said on a channel. Raises psycopg.Error."""
    target = make_url(url).set(drivername="postgresql", query={})
    connection = await psycopg.AsyncConnection.connect(
        target.render_as_string(hide_password=False), autocommit=True, **_how_to_connect(url)
    )
    await connection.execute(f'LISTEN "{channel}"')
    return connection


def _how_to_connect(url: str) -> dict[str, Any]:
    """libpq's options: ours, and those the URL has."""
    ours = " ".join(f"-c {name}={value}" for name, value in _SERVER_SETTINGS.items())
    given = {name: value for name, value in make_url(url).query.items() if name != "options"}
    options = make_url(url).query.get("options", "")
    return {
        "connect_timeout": _CONNECT_SECONDS,
        "application_name": "monero-escrow",
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        **given,
        "options": f"{ours} {options}".strip(),
    }


@contextmanager
def begin(engine: Engine, *, writes: bool) -> Iterator[Connection]:
    """A transaction that commits when its block ends, and is undone when it raises."""
    how: dict[str, Any] = {} if writes else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**how) as connection, connection.begin():
        yield connection


def require_suitable(engine: Engine) -> None:
    """Raise DatabaseUnsuitableError unless the server and our rights there are what the service needs."""
    with begin(engine, writes=False) as connection:
        version = int(connection.scalar(text("SHOW server_version_num")) or 0)
        if version // 10_000 < LEAST_VERSION:
            raise DatabaseUnsuitableError(f"The server is PostgreSQL {version // 10_000}; {LEAST_VERSION} is needed.")
        encoding = connection.scalar(text("SHOW server_encoding"))
        if encoding != "UTF8":
            raise DatabaseUnsuitableError(
                f"The database is in {encoding}, not in UTF8.",
                what_to_do="Make another one: CREATE DATABASE escrow ENCODING 'UTF8' TEMPLATE template0;",
            )
        if connection.scalar(
            text("SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool")
        ):
            raise DatabaseUnsuitableError(
                "The server takes no writes: it is a standby, or its transactions are read-only.",
                what_to_do="Let DATABASE_URL name the primary; of several hosts, add ?target_session_attrs=read-write.",
            )
        if not _is_durable(connection):
            raise DatabaseUnsuitableError(
                "The server acknowledges what is not on disk: fsync or synchronous_commit is off.",
                what_to_do="Set both to on: a payment that a crash forgets could be made again.",
            )
        if not connection.scalar(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")):
            raise DatabaseUnsuitableError(
                "The user may not make tables there.",
                what_to_do="Let it own the database: ALTER DATABASE escrow OWNER TO the_user;",
            )


def _is_durable(connection: Connection) -> bool:
    """A commit that is acknowledged before it is on disk would be forgotten by a crash."""
    durable = "SELECT current_setting('synchronous_commit') NOT IN ('off') AND current_setting('fsync')::bool"
    return bool(connection.scalar(text(durable)))


class History:
    """Keeps an engine to the history it was opened in, and tells of each connection to which run of the server it is.

    A run begins with a recovery from a crash: a transaction of before may be forgotten then, and its number given to
    another one.
    """

    def __init__(self, engine: Engine) -> None:
        with begin(engine, writes=False) as connection:
            self.known = str(connection.scalar(_HISTORY))
        self.replaced = False
        engine.dispose()  # the connections that were made before the question
        event.listen(engine, "connect", self._ask)

    def _ask(self, connection: psycopg.Connection[Any], record: ConnectionPoolEntry) -> None:
        with connection.cursor() as cursor:
            (history,) = cursor.execute(str(_HISTORY)).fetchone() or ("",)
            (run,) = cursor.execute(_RUN).fetchone() or (None,)
        connection.rollback()
        if history != self.known:
            self.replaced = True
            raise psycopg.OperationalError("the server was replaced by another one, or by an earlier state of itself")
        record.info[_RUN] = run


def run_of(connection: Connection) -> object:
    """In which run of the server the connection was made; comparable with that of another connection."""
    return connection.info.get(_RUN)


def place_of(url: str) -> str:
    """Where a URL leads, as people may see it: host, port and database; neither user nor password.

    Several hosts stand among its options.
    """
    target = make_url(url)
    host, port = target.host or target.query.get("host"), target.port or target.query.get("port")
    return f"{host or 'the local socket'}{f':{port}' if port else ''}/{target.database or ''}"


class Proof(StrEnum):
    """Why it is this very server that answers; or nobody knows."""

    NEAR = "on this machine"
    CERTIFICATE = "proved by its certificate"
    NONE = "not proved"


def proof_of(url: str) -> Proof:
    """What a URL asks the server to prove of itself. Whoever else answered would read what is asked."""
    target = make_url(url)
    hosts = str(target.host or target.query.get("host", "")).split(",")
    if all(not host or host.startswith("/") or is_loopback(host) for host in hosts):
        return Proof.NEAR
    return Proof.CERTIFICATE if target.query.get("sslmode") == "verify-full" else Proof.NONE


@contextmanager
def told_clearly(url: str) -> Iterator[None]:
    """What psycopg says at start, as errors that say what to do."""
    try:
        yield
    except DBAPIError as error:
        reason = _first_line(error.orig or error).rstrip(".")
        if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise DatabaseUnsuitableError(f"The user lacks rights: {reason}.") from None
        raise DatabaseUnreachableError(f"PostgreSQL at {place_of(url)}: {reason}.") from None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
