"""The database server that simulated nodes share: the real SQLCipher engine, inline, whose time is the true one.

It goes away, and another one takes its place: with everything, or without what was committed in the last second. Each
such place is a history of its own (`store/postgresql.py` asks a real server for it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Engine

from monero_escrow.nodes.claims import FencedStore
from monero_escrow.store.sealing import Sealer, derive_key
from monero_escrow.store.sqlcipher import sqlcipher_engine
from monero_escrow.store.store import DatabaseBusyError
from monero_escrow.store.transaction import Transaction
from monero_escrow.store.work_table import SCAN, Claim
from simulation.fate import Fate
from simulation.storage import InlineStore, Witness, empty_database, engines
from simulation.virtual_time import VirtualClock

T = TypeVar("T")

LOST_SECONDS = 1.0
"""What an asynchronous standby had not received yet."""


@dataclass(slots=True)
class SimulatedHistory:
    """Which server a store was opened on, and whether another one took its place since."""

    known: str
    replaced: bool = False


class SimulatedServer:
    """One database at a time, each in a file of its own."""

    def __init__(self, folder: Path, key: bytes, network: str) -> None:
        self.away = False
        self.broken: list[str] = []
        self._folder = folder
        self._key = key
        self._number = 0
        self._histories: list[SimulatedHistory] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(empty_database(network, key))

    @property
    def _path(self) -> Path:
        return self._folder / f"server-{self._number}.db"

    def open(self, name: str, fate: Fate, witness: Witness) -> NodeStore:
        """The store of the node of this name; its engine serves all its runs, for what it has compiled costs most."""
        history = SimulatedHistory(f"server/{self._number}")
        self._histories.append(history)
        return NodeStore(self._engine(name), Sealer(derive_key(self._key, "sealing")), fate, witness, self, history)

    def onlooker(self) -> Engine:
        """For whoever looks on from outside."""
        return self._engine("onlooker")

    def _engine(self, name: str) -> Engine:
        place = self._path / name
        if place not in engines:
            engines[place] = sqlcipher_engine(self._path, derive_key(self._key, "database"), VirtualClock().now)
        return engines[place]

    async def fail_over(self, last_look: Callable[[], None], *, loses: bool, away_seconds: float) -> None:
        """Another server takes this one's place, if it `loses` without the last second; then it is away for a while."""
        copy = self._copy()
        if loses:
            await asyncio.sleep(LOST_SECONDS)
        else:
            copy = self._copy()
        last_look()
        self.away = True
        for history in self._histories:
            history.replaced = True
        self._histories.clear()
        self._number += 1
        self._path.write_bytes(copy)
        await asyncio.sleep(away_seconds)
        self.away = False

    def _copy(self) -> bytes:
        """What is durable this moment: nobody is in a transaction, for all are inline."""
        connection = self.onlooker().raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close()
        return self._path.read_bytes()


class NodeStore(InlineStore):
    """A node's connection to the server. It looks that whoever writes as a worker carries a fence that holds."""

    def __init__(
        self,
        engine: Engine,
        sealer: Sealer,
        fate: Fate,
        witness: Witness,
        server: SimulatedServer,
        history: SimulatedHistory,
    ) -> None:
        super().__init__(engine, sealer, fate, witness)
        self.history = history
        self.heartbeats = self  # nobody queues here: each piece of work is done at once
        self._server = server

    async def read(self, work: Callable[[Transaction], T]) -> T:
        await self._fate.awake()
        self._require_server()
        return await super().read(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        await self._fate.awake()
        self._require_server()
        claim = _claim_of(work)
        if claim is not None:
            work = self._watched(work, claim)
        elif "escrow_id" in structlog.contextvars.get_contextvars() and "give_back" not in work.__qualname__:
            self._server.broken.append(f"{work.__qualname__} is written by a worker, without a fence.")
        return await super().write(work)

    def _require_server(self) -> None:
        if self._server.away or self.history.replaced:
            raise DatabaseBusyError("The database did not take the transaction: connection refused.")

    def _watched(self, work: Callable[[Transaction], T], claim: Claim) -> Callable[[Transaction], T]:
        """The same work, and a look of our own at the fence in the transaction that it commits."""

        def watched(tx: Transaction) -> T:
            result = work(tx)
            table, column = ("duties", "name") if claim.subject == SCAN else ("escrows", "id")
            query = f"SELECT node_id, fence FROM {table} WHERE {column} = ?"  # noqa: S608
            row = tx.connection.exec_driver_sql(query, (claim.subject,)).one()
            if tuple(row) != (claim.node_id, claim.fence):
                self._server.broken.append(f"A write under the stale fence {claim.fence} of {claim.subject} passed.")
            return result

        return watched


def _claim_of(work: Callable[..., Any]) -> Claim | None:
    """The claim of the `FencedStore` through which this was written."""
    cells = zip(work.__code__.co_freevars, getattr(work, "__closure__", None) or (), strict=True)
    fenced = next((cell.cell_contents for name, cell in cells if name == "self"), None)
    return fenced.claim if isinstance(fenced, FencedStore) else None
