"""What each node let through lately, for the others to subtract from their limits; the rows tell nothing else.

A row a node, written over every second and worth nothing once its node is gone. It refers to no other table, so that
publishing waits for nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from monero_escrow.store import schema
from monero_escrow.store.database_time import database_now

_FRESH_SECONDS: Final = 60.0
_KEPT_SECONDS: Final = 86_400.0
_t = schema.rate_shares


@dataclass(frozen=True, slots=True)
class Share:
    """What one `run` of a `node` took from each bucket by name: which of that name (a number), and how much."""

    node: str
    run: str
    taken: Mapping[str, tuple[int, float]]


class ShareTable:
    """The `rate_shares` table in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def publish(self, share: Share) -> None:
        """This is what the node has let through by now; what it said before is written over."""
        taken = {name: list(one) for name, one in share.taken.items()}
        values = {"run": share.run, "at": database_now(), "taken": taken}
        done = self._connection.execute(update(_t).where(_t.c.node == share.node).values(**values))
        if done.rowcount == 0:
            self._connection.execute(delete(_t).where(_t.c.at < database_now() - _KEPT_SECONDS))
            self._connection.execute(insert(_t).values(node=share.node, **values))

    def of_others(self, node: str) -> list[Share]:
        """What the other nodes said within the last minute."""
        lately = _t.c.at > database_now() - _FRESH_SECONDS
        rows = self._connection.execute(select(_t).where(_t.c.node != node, lately).order_by(_t.c.node))
        return [
            Share(row.node, row.run, {name: (made, taken) for name, (made, taken) in row.taken.items()}) for row in rows
        ]
