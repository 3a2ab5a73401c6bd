"""Connections that keep others out: those whose caller says nothing, says it very slowly, or reads very slowly.

The server beneath (uvicorn) closes a connection that is quiet after an answer, and bounds a request's head in size; it
does not bound how long a head may take, nor how many connections there are. So they are counted where they are
accepted, before TLS: each is either *waiting* for a whole head of a request, or *busy* with one. What waits too long is
closed. When there are as many as may be, a new one takes the place of the one that has waited longest, of whichever
address holds most: so a thousand idle connections from one place keep nobody else out.

Works with asyncio's own event loop, which accepts from the socket object it is given.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monero_escrow.clock import Clock
from monero_escrow.telemetry.metrics import Metrics
from monero_escrow.web.rates import source_of

log = structlog.get_logger(__name__)

SLOW: Final = "slow"
CROWDED: Final = "crowded"
REFUSED: Final = "refused"
_LOOK_SECONDS: Final = 0.5

Peer = tuple[str, int]


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    source: str
    waits_since: float | None


@dataclass(slots=True)
class Connections:
    """The open ones of a server, by the address and port of their other end."""

    clock: Clock
    metrics: Metrics
    most: int
    patience_seconds: float
    _open: dict[Peer, _Connection] = field(default_factory=dict)
    _waiting: OrderedDict[Peer, None] = field(default_factory=OrderedDict)
    """The longest waiting first."""
    _by_source: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, peer: Peer, accepted: socket.socket) -> bool:
        """Take up one more, if need be in place of another; False: all others are busy."""
        if len(self._open) >= self.most and not self._make_room():
            self.metrics.connections_closed.labels(REFUSED).inc()
            return False
        source = source_of(peer[0])
        self._open[peer] = _Connection(accepted, source, self.clock.monotonic())
        self._waiting[peer] = None
        self._by_source[source] += 1
        return True

    def busy(self, peer: Peer) -> None:
        """A whole head came: the connection is at work until `waits`."""
        if (connection := self._open.get(peer)) is not None:
            connection.waits_since = None
            self._waiting.pop(peer, None)

    def waits(self, peer: Peer) -> None:
        """The answer was handed over: the caller's turn again."""
        if (connection := self._open.get(peer)) is not None:
            connection.waits_since = self.clock.monotonic()
            self._waiting[peer] = None

    def gone(self, peer: Peer, closed: socket.socket) -> None:
        """It is closed. Its other end may have connected anew from the same port meanwhile."""
        connection = self._open.get(peer)
        if connection is not None and connection.socket is closed:
            self._forget(peer)

    def close(self, peer: Peer, cause: str) -> None:
        """Close it, whatever it is doing; the server hears of it as of a caller who hung up."""
        connection = self._forget(peer)
        if connection is not None:
            self.metrics.connections_closed.labels(cause).inc()
            try:
                connection.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("connection_gone", cause=cause)  # the caller was faster

    def close_slow(self) -> None:
        """Close those that have waited too long."""
        late = self.clock.monotonic() - self.patience_seconds
        while self._waiting:
            peer = next(iter(self._waiting))
            since = self._open[peer].waits_since
            if since is None or since > late:
                return
            self.close(peer, SLOW)

    async def run(self) -> None:
        """Look twice a second, until cancelled."""
        while True:
            self.close_slow()
            await self.clock.sleep(_LOOK_SECONDS)

    def _make_room(self) -> bool:
        holds_most = self._by_source.most_common(1)[0][0]
        for source in (holds_most, None):  # of whichever waits, when all of that one are busy
            for peer in self._waiting:
                if source is None or self._open[peer].source == source:
                    self.close(peer, CROWDED)
                    return True
        return False

    def _forget(self, peer: Peer) -> _Connection | None:
        connection = self._open.pop(peer, None)
        self._waiting.pop(peer, None)
        if connection is not None:
            self._by_source[connection.source] -= 1
            if not self._by_source[connection.source]:
                del self._by_source[connection.source]
        return connection


class Listener(socket.socket):
    """A listening socket whose connections are counted."""

    connections: Connections

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """The next one that may stay. ConnectionAbortedError for one that may not: the event loop goes on."""
        accepted, address = super().accept()
        peer = (address[0], address[1])
        counted = _Counted(fileno=accepted.detach())
        counted.peer, counted.connections = peer, self.connections
        if not self.connections.admit(peer, counted):
            counted.close()
            raise ConnectionAbortedError
        return counted, address


class _Counted(socket.socket):
    """A connection that says when it is closed."""

    connections: Connections
    peer: Peer

    def close(self) -> None:
        self.connections.gone(self.peer, self)
        super().close()


class Turns:
    """Tells the connections whose turn it is, and closes those whose callers do not take their answer.

    The outermost of the application: by what it is told here the server, and nobody else, knows the other end.
    """

    def __init__(self, app: ASGIApp, connections: Connections) -> None:
        self.app, self._connections = app, connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if scope["type"] != "http" or client is None:
            await self.app(scope, receive, send)
            return
        peer: Peer = (client[0], client[1])
        patience_seconds = self._connections.patience_seconds

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(patience_seconds):
                    await send(message)
            except TimeoutError:
                self._connections.close(peer, SLOW)
                raise ClientDisconnect from None

        self._connections.busy(peer)
        try:
            await self.app(scope, receive, send_in_time)
        except ClientDisconnect:
            log.info("caller_left", seconds=patience_seconds)  # with half an answer; there is nobody to tell
        finally:
            self._connections.waits(peer)
