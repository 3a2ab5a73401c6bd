"""Bring a database to this version's schema, and refuse one that is newer than the code."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from monero_escrow.core.errors import EscrowError
from monero_escrow.store.store import Begin

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(4020314)")  # any number; whoever migrates this database uses it
_PATIENTLY = text("SET LOCAL statement_timeout = '1h'")  # an index on millions of rows takes longer than any step
_WAIT_LONG = text("SET LOCAL lock_timeout = '1h'")  # for whoever migrates already
_WAIT_SHORT = text("SET LOCAL lock_timeout = '10s'")  # for a table: whoever asks for it later waits behind us


class SchemaTooNewError(EscrowError):
    """The database was written by a later version of this service."""

    code = "schema_too_new"
    what_to_do = "Run the version of monero-escrow that wrote it, or a later one."


class SchemaOutdatedError(EscrowError):
    """The database was written by an earlier version, and this command does not change it."""

    code = "schema_outdated"
    what_to_do = "Start the service of this version once: it brings the database up to date."


class SchemaMissingError(SchemaOutdatedError):
    """There are no tables yet."""

    code = "schema_missing"
    what_to_do = "Start the service once, or move its file there with `monero-escrow migrate-store`: both make them."


def migrate(begin: Begin) -> None:
    """Run the migrations that are missing, all in one transaction. Raises SchemaTooNewError.

    Of several that start at once on one server, one migrates and the others find it done.
    """
    config = _config()
    with begin(writes=True) as connection:
        one_at_a_time(connection)
        _current(connection, config)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def one_at_a_time(connection: Connection) -> None:
    """Of several that start at once, the others wait here until this transaction is over."""
    if connection.dialect.name == "postgresql":
        for statement in (_PATIENTLY, _WAIT_LONG, _ONE_AT_A_TIME, _WAIT_SHORT):
            connection.execute(statement)


def require_current(connection: Connection) -> None:
    """Raise SchemaOutdatedError or SchemaTooNewError unless the database has exactly this version's schema."""
    config = _config()
    head = ScriptDirectory.from_config(config).get_current_head()
    current = _current(connection, config)
    if current is None:
        raise SchemaMissingError("The database has no tables yet.")
    if current != head:
        raise SchemaOutdatedError(f"The database has schema {current}; this version has {head}.")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _current(connection: Connection, config: Config) -> str | None:
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise SchemaTooNewError(f"The database has schema {current}, which this version does not know.")
    return current
