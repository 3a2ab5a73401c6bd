"""The audit trail's tables as they lie in the database: read so that whatever somebody put there can be judged.

A column that is decoded while its row is fetched ends the whole reading with the first value that cannot be: somebody
would hide a trail by one broken value. So nothing is decoded there. What is not of its type becomes something that no
seal fits, and its row is named as changed.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from sqlalchemy import JSON, ColumnElement, Row, Table, Text, cast, type_coerce
from sqlalchemy.types import NullType

from monero_escrow.store import schema
from monero_escrow.store.audit_seal import Head

UNREADABLE: Final = math.nan
"""In place of what cannot be read: no row with it has canonical bytes."""


def as_they_lie(table: Table) -> list[ColumnElement[Any]]:
    """The table's columns, JSON as text and everything else as the driver gives it."""
    return [_as_it_lies(column).label(column.name) for column in table.c]


def _as_it_lies(column: ColumnElement[Any]) -> ColumnElement[Any]:
    # A server's driver decodes JSON by itself, before anybody can step in: there it is asked for as text.
    return cast(column, Text) if isinstance(column.type, JSON) else type_coerce(column, NullType())


def row_values(row: Row[Any]) -> dict[str, Any]:
    """A row of `audit` with its types: a detail that is no JSON is UNREADABLE, a seal that is none is empty."""
    detail = decoded(row.detail)
    chain, seq = row.chain, row.seq
    return {
        **row._mapping,
        "chain": chain if chain is None or isinstance(chain, str) else str(chain),
        "seq": whole_number(seq, -1),
        "detail": detail if isinstance(detail, dict) else UNREADABLE,
        "hash": seal_bytes(row.hash),
        "mac": seal_bytes(row.mac),
    }


def decoded(text: object) -> Any:
    """What a text of JSON says; UNREADABLE if it says nothing, or more deeply than can be followed."""
    try:
        return json.loads(str(text))
    except (ValueError, RecursionError):
        return UNREADABLE


def heads_in(text: object) -> list[Head]:
    """The heads of a checkpoint; none if they are not of that shape, and then its signature does not fit either."""
    try:
        return [(str(chain), int(seq), str(row_hash)) for chain, seq, row_hash in decoded(text)]
    except (TypeError, ValueError, OverflowError):
        return []


def whole_number(value: object, otherwise: int) -> int:
    """The value if it is a whole number."""
    return value if isinstance(value, int) else otherwise


def time_of(value: object) -> float:
    """A time in seconds since the epoch; NaN for what is none, which no signature fits."""
    return float(value) if isinstance(value, int | float) else math.nan


def seal_bytes(value: object) -> bytes:
    """Of a hash, a mac or a signature; empty for what is none."""
    return bytes(value) if isinstance(value, bytes | memoryview) else b""


AUDIT_ROW: Final = as_they_lie(schema.audit)
AUDIT_HEAD: Final = as_they_lie(schema.audit_heads)
CHECKPOINT: Final = as_they_lie(schema.audit_checkpoints)
