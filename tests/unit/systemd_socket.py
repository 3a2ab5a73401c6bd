"""systemd's end of the notify socket, for tests of what it is told."""

from __future__ import annotations

import socket
from contextlib import suppress

from monero_escrow.monero.waiting import until


class Listener:
    """Hears what is told, and keeps it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def listen(self) -> list[dict[str, str]]:
        """All that was told so far, a datagram each."""
        with suppress(BlockingIOError):
            while True:
                told = self._socket.recv(4096).decode()
                self.heard.append(dict(line.split("=", 1) for line in told.split("\n")))
        return self.heard

    def environment(self, **more: str) -> dict[str, str]:
        """What systemd would set."""
        return {"NOTIFY_SOCKET": self.address, **more}

    def close(self) -> None:
        self._socket.close()


async def heard(listener: Listener, name: str, value: str, *, since: int = 0) -> None:
    """Return once this was told, after the first `since` of all that was."""

    async def it_was() -> bool:
        return any(told.get(name) == value for told in listener.listen()[since:])

    await until(it_was, limit_seconds=30)
