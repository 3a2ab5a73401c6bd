"""Ids that only grow. Whoever inserts rows under ids of its own tells PostgreSQL, whose next id else is an old one.

SQLite always takes the largest id there is, and one more.
"""

from __future__ import annotations

from sqlalchemy import Connection, Table, func, select


def go_on_after_the_largest(connection: Connection, table: Table) -> None:
    """The next id of this table, if its ids are serial, is larger than every id in it."""
    column = table.autoincrement_column
    if column is None or connection.dialect.name != "postgresql":
        return
    largest = connection.scalar(select(func.max(column)))
    if largest is not None:
        sequence = func.pg_get_serial_sequence(table.name, column.name)
        connection.execute(select(func.setval(sequence, largest)))
