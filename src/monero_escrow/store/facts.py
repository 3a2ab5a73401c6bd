"""What a database says of itself: what it belongs to, when it was copied, and whether it was restored from a copy."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from monero_escrow.store import schema

COPIED_AT = "copied_at"
"""Only in a backup: when it was made, in seconds since the epoch."""
RESTORED_AT = "restored_at"
"""Only in a restored database: when it was restored."""
RESTORED_COPIED_AT = "restored_copied_at"
"""Only in a restored database: from a copy of when."""
RESTORED_CHECKED_AT = "restored_checked_at"
"""Only in a restored database: when the chain had been asked about everything in it. Before, nothing is signed."""

SERVER_HISTORY = "server_history"
"""On a server: in which of its histories this database was last used (`postgresql.py`)."""

OF_COPIES = (COPIED_AT, RESTORED_AT, RESTORED_COPIED_AT, RESTORED_CHECKED_AT)


def read_facts(connection: Connection) -> dict[str, str]:
    """All of them, by name."""
    return {row.name: row.value for row in connection.execute(select(schema.facts))}


def put_fact(connection: Connection, name: str, value: object) -> None:
    """Write one, instead of what stood there."""
    drop_fact(connection, name)
    connection.execute(insert(schema.facts).values(name=name, value=str(value)))


def drop_fact(connection: Connection, name: str) -> None:
    """Forget one, if it was there."""
    connection.execute(delete(schema.facts).where(schema.facts.c.name == name))


def waits_for_check(connection: Connection) -> bool:
    """Whether this is a restored database that has not yet been compared with the chain."""
    facts = read_facts(connection)
    return RESTORED_AT in facts and RESTORED_CHECKED_AT not in facts
