"""How far the chain has been scanned for deposits, and for whom: the scan's own durable memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from monero_escrow.store import schema
from monero_escrow.store.records import required
from monero_escrow.store.trio_table import TrioTable

_b, _e = schema.scanned_blocks, schema.escrows

REMEMBERED_BLOCKS = 120
"""More than any reorganisation is expected to replace."""


@dataclass(frozen=True, slots=True)
class ScannedBlock:
    """A block in which the view keys were tried."""

    height: int
    hash: str


@dataclass(frozen=True, slots=True)
class WatchedKeys:
    """What an escrow's deposits are found by: its address and the private view key, hex."""

    escrow_id: str
    address: str = field(repr=False)
    view_key: str = field(repr=False)


class ScanTable:
    """The `scanned_blocks` table, and what a scan reads of the others, in one transaction."""

    def __init__(self, connection: Connection, trios: TrioTable) -> None:
        self._connection = connection
        self._trios = trios

    def blocks(self) -> list[ScannedBlock]:
        """The last blocks that were scanned, the highest first; none before the first scan."""
        rows = self._connection.execute(select(_b).order_by(_b.c.height.desc()))
        return [ScannedBlock(row.height, row.hash) for row in rows]

    def chain_height(self) -> int:
        """How many blocks there were when the last one was scanned; 0 before the first scan."""
        highest: int | None = self._connection.scalar(select(func.max(_b.c.height)))
        return 0 if highest is None else highest + 1

    def add(self, blocks: Collection[ScannedBlock]) -> None:
        """These have been scanned, and follow the last one."""
        for block in sorted(blocks, key=lambda block: block.height)[-REMEMBERED_BLOCKS:]:
            self._connection.execute(insert(_b).values(height=block.height, hash=block.hash))
        self._connection.execute(delete(_b).where(_b.c.height < self.chain_height() - REMEMBERED_BLOCKS))

    def forget_above(self, height: int) -> None:
        """The blocks above this one are not in the chain any more; -1 for all."""
        self._connection.execute(delete(_b).where(_b.c.height > height))

    def watched_ids(self) -> list[str]:
        """Escrows whose deposits the service looks for: those with an address that it means to look at again."""
        watched = select(_e.c.id).where(_e.c.deposit_address.is_not(None), _e.c.due_at.is_not(None))
        return list(self._connection.scalars(watched.order_by(_e.c.id)))

    def keys_of(self, escrow_id: str) -> WatchedKeys:
        """Opens the sealed view key. Raises NotFoundError, SealBrokenError."""
        row = self._connection.execute(select(_e.c.trio_id, _e.c.deposit_address).where(_e.c.id == escrow_id)).one()
        trio_id = required(row.trio_id, "An escrow with an address has a trio.")
        return WatchedKeys(escrow_id, row.deposit_address, self._trios.view_key(trio_id))

    def rescans(self) -> dict[str, int]:
        """Escrows that somebody wants scanned for again, and from which block on."""
        wanted = select(_e.c.id, _e.c.rescan_from).where(_e.c.rescan_from.is_not(None))
        return {row.id: row.rescan_from for row in self._connection.execute(wanted)}

    def rescanned(self, escrow_ids: Collection[str], from_height: int, next_height: int | None) -> None:
        """They were scanned for again from one block to below another; None: up to where the scan is.

        What somebody asked for meanwhile stays.
        """
        for escrow_id in escrow_ids:
            same = and_(_e.c.id == escrow_id, _e.c.rescan_from == from_height)
            self._connection.execute(update(_e).where(same).values(rescan_from=next_height))
