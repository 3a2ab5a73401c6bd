"""API keys: shown once when made, stored only as a hash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, or_, select, update

from monero_escrow.core.errors import NotFoundError
from monero_escrow.store import schema
from monero_escrow.store.records import ApiKeyRecord, Scope

_PREFIX = "me"
_t = schema.api_keys


class KeyTable:
    """The `api_keys` table in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self, scope: Scope, shop_id: str | None, name: str, now: float, expires_at: float | None = None
    ) -> tuple[ApiKeyRecord, str]:
        """A new key: its record, and the key itself, which is not to be had again.

        256 random bits need no slow hash: SHA-256 of them cannot be reversed by guessing.
        """
        record = ApiKeyRecord(secrets.token_hex(6), scope, shop_id, name, now, expires_at, None, None)
        key = f"{_PREFIX}_{scope}_{secrets.token_urlsafe(32)}"
        self._connection.execute(
            insert(_t).values(
                id=record.id,
                scope=scope,
                shop_id=shop_id,
                name=name,
                key_hash=_hash(key),
                created_at=now,
                expires_at=expires_at,
            )
        )
        return record, key

    def find(self, key: str, now: float) -> ApiKeyRecord | None:
        """The key's record, unless it is unknown, expired or revoked."""
        return self._if_valid(_t.c.key_hash == _hash(key), now)

    def find_by_id(self, key_id: str, now: float) -> ApiKeyRecord | None:
        """The record of a key that was sent before and is remembered by its id, as `find` does."""
        return self._if_valid(_t.c.id == key_id, now)

    def _if_valid(self, which: ColumnElement[bool], now: float) -> ApiKeyRecord | None:
        row = self._connection.execute(select(_t).where(which)).one_or_none()
        if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
            return None
        return _record(row)

    def all(self) -> list[ApiKeyRecord]:
        """Every key, the oldest first."""
        return [_record(row) for row in self._connection.execute(select(_t).order_by(_t.c.created_at, _t.c.id))]

    def revoke(self, key_id: str, now: float) -> None:
        """The key opens nothing any more. Raises NotFoundError."""
        changed = self._connection.execute(
            update(_t).where(_t.c.id == key_id, _t.c.revoked_at.is_(None)).values(revoked_at=now)
        )
        if changed.rowcount != 1:
            raise NotFoundError(
                "There is no such key that could be revoked.", what_to_do="See `monero-escrow keys list`."
            )

    def rotate(
        self, key_id: str, now: float, overlap_seconds: float, expires_at: float | None
    ) -> tuple[ApiKeyRecord, str]:
        """A key like this one, which expires when the overlap is over, if not sooner. Raises NotFoundError.

        `expires_at` is the new one's; None gives it as long a life as the old one was made for, or no end.
        """
        old = self.find_by_id(key_id, now)
        if old is None:
            raise NotFoundError("There is no such key that is valid.", what_to_do="See `monero-escrow keys list`.")
        if expires_at is None and old.expires_at is not None:
            expires_at = now + (old.expires_at - old.created_at)
        ends_at = now + overlap_seconds
        earlier = or_(_t.c.expires_at.is_(None), _t.c.expires_at > ends_at)
        self._connection.execute(update(_t).where(_t.c.id == key_id, earlier).values(expires_at=ends_at))
        return self.create(old.scope, old.shop_id, old.name, now, expires_at)

    def used(self, last_uses: Mapping[str, float]) -> None:
        """When each of these keys, by id, opened something last."""
        for key_id in sorted(last_uses):  # in one order for all nodes, so that no two wait for each other
            at = last_uses[key_id]
            before = or_(_t.c.last_used_at.is_(None), _t.c.last_used_at < at)
            self._connection.execute(update(_t).where(_t.c.id == key_id, before).values(last_used_at=at))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _record(row: Row[Any]) -> ApiKeyRecord:
    return ApiKeyRecord(
        id=row.id,
        scope=Scope(row.scope),
        shop_id=row.shop_id,
        name=row.name,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
