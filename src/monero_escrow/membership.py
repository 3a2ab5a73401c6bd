"""A service as one of several nodes: what it does beside its own work, and how its conductor claims and rings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from monero_escrow.clock import Clock
from monero_escrow.config import Settings
from monero_escrow.core.errors import InvariantError
from monero_escrow.core.loopback import is_loopback
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.replaced_server import treat_as_restored_if_replaced
from monero_escrow.nodes.bell import Bell, PostgresqlBell
from monero_escrow.nodes.claims import SharedClaims
from monero_escrow.nodes.node import Node
from monero_escrow.store.postgresql import ServerReplacedError
from monero_escrow.store.store import Store
from monero_escrow.store.trio_table import Maker

_LOOK_SECONDS = 1.0


class History(Protocol):
    """Which server is behind a store: `known` when it was opened, and whether it was `replaced` since."""

    known: str
    replaced: bool


@runtime_checkable
class SharedStore(Store, Protocol):
    """A store on a server that other services work on as well."""

    @property
    def history(self) -> History:
        """Of the server."""
        ...

    @property
    def heartbeats(self) -> Store:
        """The same database, for what must not wait behind other writes."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """This service among the nodes of its database."""

    store: SharedStore
    node: Node
    bell: Bell
    heartbeat: asyncio.Task[None]
    """Beats from the moment the node has joined: to start may take longer than a lease."""

    def conductor(self, ctx: Context) -> Conductor:
        """One that works only on what this node has claimed."""
        claims = SharedClaims(ctx.store, ctx.clock, self.node)
        node = self.node
        ctx = replace(ctx, maker=lambda: Maker(node.id, node.name), takes_up=lambda: not node.draining)
        conductor = Conductor(ctx, claims, self.bell.ring)
        self.node.slots = lambda: ctx.pool.stats().total
        self.node.on_lapse = conductor.stop_all
        if ctx.fleet is not None:
            ctx.fleet.claim_urls = self._use
        return conductor

    async def _use(self, urls: Collection[str]) -> None:
        await self.node.use(places_of(urls))

    def jobs(self, conductor: Conductor) -> list[Coroutine[object, object, None]]:
        """What runs beside the work: each until cancelled."""
        return [self._watch_heartbeat(), self.bell.run(conductor.hear), self._watch_server()]

    async def _watch_heartbeat(self) -> None:
        """It ends only by a fault of ours, and then so does the service."""
        await asyncio.shield(self.heartbeat)

    async def _watch_server(self) -> None:
        while not self.store.history.replaced:
            await self.node.clock.sleep(_LOOK_SECONDS)
        raise ServerReplacedError("Behind DATABASE_URL there is another server, or an earlier state of it.")


@asynccontextmanager
async def joined_node(settings: Settings, store: SharedStore, clock: Clock) -> AsyncIterator[Member]:
    """This service as a node, until the block ends. Raises NodeNameTakenError, SlotTakenError."""
    places = places_of(settings.monero_rpc_urls)
    node = Node(store.heartbeats, clock, settings.node_name, settings.node_lease_seconds, places)
    await node.join()
    heartbeat = asyncio.create_task(node.run())
    try:
        await treat_as_restored_if_replaced(store, store.history.known, node.clock.now())
        yield Member(store, node, bell_of(settings, store, clock), heartbeat)
    finally:
        heartbeat.cancel()
        await asyncio.wait([heartbeat])
        await node.leave()


def bell_of(settings: Settings, store: Store, clock: Clock) -> Bell:
    """How this node and the others of its server wake one another."""
    if settings.database_url is None:
        raise InvariantError("A node shares a server.")
    return PostgresqlBell(store, settings.database_url.get_secret_value(), clock, settings.node_name)


def places_of(urls: Collection[str]) -> dict[str, str]:
    """Where each configured process listens, and its URL."""
    return {_place(url): url for url in urls}


def _place(url: str) -> str:
    """Where a process listens, the same for every spelling; on loopback, together with whose loopback that is."""
    parts = urlsplit(url)
    host, port = (parts.hostname or "").lower(), parts.port or 80
    return f"{_this_loopback()}:{port}" if is_loopback(host) else f"{host}:{port}"


def _this_loopback() -> str:
    """This kernel's run and network namespace: whoever has the same reaches the same processes on 127.0.0.1."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{boot}/{Path('/proc/self/ns/net').readlink()}"
