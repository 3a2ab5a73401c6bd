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


class SchemaTooNewError(EscrowError):
    """The database was written by a later version of this service."""

    code = "schema_too_new"
    what_to_do = "Run the version of monero-escrow that wrote it, or a later one."


class SchemaOutdatedError(EscrowError):
    """The database was written by an earlier version, and this command does not change it."""

    code = "schema_outdated"
    what_to_do = "Start the service of this version once: it brings the database up to date."


def migrate(begin: Begin) -> None:
    """Run the migrations that are missing, all in one transaction. Raises SchemaTooNewError.

    Of several that start at once on one server, one migrates and the others find it done.
    """
    config = _config()
    with begin(writes=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(_ONE_AT_A_TIME)
        _current(connection, config)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def require_current(connection: Connection) -> None:
    """Raise SchemaOutdatedError or SchemaTooNewError unless the database has exactly this version's schema."""
    config = _config()
    head = ScriptDirectory.from_config(config).get_current_head()
    current = _current(connection, config)
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
