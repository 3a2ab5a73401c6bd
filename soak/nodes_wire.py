"""What joins a node to the rest of the world, so that it can be cut off: a namespace of its own, or relays alone.

PostgreSQL and monerod listen on loopback only; a node reaches them through relays at our end of its link. Without a
namespace the node is on our own loopback, its API too is reached through a relay, and being cut off is their silence.
"""

from __future__ import annotations

from types import TracebackType

from monero_escrow.monero.processes import LOOPBACK, lasting_port
from soak.namespaces import Namespace
from soak.relay import Relay


class Wire:
    """One node's. As an async context manager its relays end with it."""

    def __init__(self, namespace: Namespace | None) -> None:
        self._namespace = namespace
        self._relays: list[Relay] = []

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for relay in self._relays:
            await relay.aclose()

    @property
    def node_address(self) -> str:
        """Where the node's API listens."""
        return LOOPBACK if self._namespace is None else self._namespace.there

    @property
    def within(self) -> tuple[str, ...]:
        """What goes before the node's command."""
        return () if self._namespace is None else self._namespace.within

    async def to_us(self, port: int) -> str:
        """HOST:PORT by which the node reaches what listens on our loopback."""
        here = LOOPBACK if self._namespace is None else self._namespace.here
        return f"{here}:{await self._relay(here, port)}"

    async def to_node(self, port: int) -> str:
        """HOST:PORT by which we reach what listens on this port in the node."""
        if self._namespace is not None:
            return f"{self._namespace.there}:{port}"
        return f"{LOOPBACK}:{await self._relay(LOOPBACK, port)}"

    async def _relay(self, address: str, to_port: int) -> int:
        relay = Relay(address, to_port, lasting_port())
        self._relays.append(relay)
        await relay.listen()
        return relay.port

    def cut(self) -> None:
        """From now on nothing passes, and nobody is told."""
        if self._namespace is not None:
            self._namespace.cut()
        else:
            for relay in self._relays:
                relay.fall_silent()

    def mend(self) -> None:
        """All passes again."""
        if self._namespace is not None:
            self._namespace.mend()
        else:
            for relay in self._relays:
                relay.speak()
