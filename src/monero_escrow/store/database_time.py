"""The database's own time, as SQL: what all nodes agree on, whatever their machines' clocks say."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

SQLITE_FUNCTION = "seconds_now"
"""By this name `sqlcipher.py` gives SQLite the time of the process that is the database."""


class database_now(FunctionElement[float]):  # noqa: N801  reads as the SQL function it is
    """Seconds since the epoch, UTC, at the moment the row is read; not that of the transaction's beginning."""

    type = Float()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _on_sqlite(_element: database_now, _compiler: Any, **_how: Any) -> str:
    return f"{SQLITE_FUNCTION}()"


@compiles(database_now, "postgresql")
def _on_postgresql(_element: database_now, _compiler: Any, **_how: Any) -> str:
    return "EXTRACT(EPOCH FROM clock_timestamp())::float8"
