"""Who is signed in to the operator's pages: a random token a session, kept only as a hash, good as long as its key.

In the database, because nodes share it: a session that one node opened is known to all, and signing out, or revoking
the key, ends it everywhere at once.
"""

from __future__ import annotations

import hashlib
import secrets

from sqlalchemy import Connection, delete, insert, select

from monero_escrow.store import schema
from monero_escrow.store.key_table import KeyTable
from monero_escrow.store.records import ApiKeyRecord

_t = schema.sessions


class SessionTable:
    """The `sessions` table in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, key_id: str, now: float, expires_at: float) -> str:
        """A new session of a key's holder: its token, which is not to be had again. Those that are over are removed."""
        token = secrets.token_urlsafe(32)
        self._connection.execute(delete(_t).where(_t.c.expires_at <= now))
        self._connection.execute(
            insert(_t).values(token_hash=_hash(token), key_id=key_id, created_at=now, expires_at=expires_at)
        )
        return token

    def find(self, token: str, now: float) -> ApiKeyRecord | None:
        """The key of whoever holds the token, unless the session is over or the key opens nothing any more."""
        where = (_t.c.token_hash == _hash(token), _t.c.expires_at > now)
        key_id = self._connection.scalar(select(_t.c.key_id).where(*where))
        return None if key_id is None else KeyTable(self._connection).find_by_id(key_id, now)

    def close(self, token: str) -> None:
        """Signed out. A session that is not there is no error."""
        self._connection.execute(delete(_t).where(_t.c.token_hash == _hash(token)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
