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

MOVED_TO = "moved_to"
"""Only in a file whose rows were moved to a server: which. From then on it is a backup of that moment."""
MOVED_FROM = "moved_from"
"""Only on a server that a file was moved to: the digest of the file's rows (`migrate_store.py`)."""

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


def mark_as_copy(connection: Connection, now: float) -> None:
    """This is a copy of what was the database at `now`: nothing runs on it before it is restored."""
    for name in OF_COPIES:
        drop_fact(connection, name)
    put_fact(connection, COPIED_AT, now)


def waits_for_check(connection: Connection) -> bool:
    """Whether this is a restored database that has not yet been compared with the chain."""
    facts = read_facts(connection)
    return RESTORED_AT in facts and RESTORED_CHECKED_AT not in facts
