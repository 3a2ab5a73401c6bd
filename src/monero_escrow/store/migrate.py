"""Bring a database to this version's schema, and refuse one that is newer than the code."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from monero_escrow.core.errors import EscrowError
from monero_escrow.store.engine import WRITES


class SchemaTooNewError(EscrowError):
    """The database was written by a later version of this service."""

    code = "schema_too_new"
    what_to_do = "Run the version of monero-escrow that wrote it, or a later one."


def migrate(engine: Engine) -> None:
    """Run the migrations that are missing, all in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        current = MigrationContext.configure(connection).get_current_revision()
        if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
            raise SchemaTooNewError(f"The database has schema {current}, which this version does not know.")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
