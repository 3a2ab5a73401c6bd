"""How nodes wake one another: PostgreSQL's LISTEN and NOTIFY. Whoever hears nothing finds the work by polling.

A ring says "look at this escrow": somebody asked for it, or it has its address. It carries nothing that matters, and
one that is lost costs only the time until the next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import psycopg
import structlog

from monero_escrow.clock import Clock
from monero_escrow.core.errors import EscrowError
from monero_escrow.jitter import jittered
from monero_escrow.store.node_table import CHANNEL
from monero_escrow.store.postgresql import listening_to
from monero_escrow.store.store import Store

log = structlog.get_logger(__name__)

ANY_ESCROW: Final = "*"
"""Rung instead of an id: many may be due."""

_MOST_WAITING: Final = 10_000
_MOST_AT_ONCE: Final = 100
_AGAIN_SECONDS: Final = 2.0


class Bell(Protocol):
    """What wakes the other nodes, and this one."""

    def ring(self, escrow_id: str) -> None:
        """The others are told soon, or never. Never blocks."""
        ...

    async def run(self, heard: Callable[[str], None]) -> None:
        """Until cancelled: pass on what is rung, and say what is heard."""
        ...


class PostgresqlBell:
    """Rings at the other nodes of a server, and hears theirs. `run()` as one task beside the work."""

    def __init__(self, store: Store, url: str, clock: Clock, name: str) -> None:
        self._store = store
        self._url = url
        self._clock = clock
        self._name = name
        self._waiting: dict[str, None] = {}
        self._rung = asyncio.Event()

    def ring(self, escrow_id: str) -> None:
        """The others are told soon. Never blocks; in a great crowd nothing is said, and polling finds it."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting[escrow_id] = None
            self._rung.set()

    async def run(self, heard: Callable[[str], None]) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell())
            tasks.create_task(self._listen(heard))

    async def _tell(self) -> None:
        while True:
            await self._rung.wait()
            self._rung.clear()
            while self._waiting:
                some = list(self._waiting)[:_MOST_AT_ONCE]
                for escrow_id in some:
                    del self._waiting[escrow_id]
                try:
                    await self._store.write(lambda tx: tx.nodes.ring(self._name, some))  # noqa: B023
                except EscrowError as error:
                    log.debug("bell_unheard", reason=error.message)

    async def _listen(self, heard: Callable[[str], None]) -> None:
        while True:
            try:
                async with await listening_to(self._url, CHANNEL) as connection:
                    async for notice in connection.notifies():
                        who, _, escrow_id = notice.payload.partition(" ")
                        if who != self._name:
                            heard(escrow_id)
            except (psycopg.Error, OSError) as error:
                log.debug("bell_deaf", reason=str(error).partition("\n")[0])
            await self._clock.sleep(jittered(_AGAIN_SECONDS))
