"""What systemd is told of the service, by the protocol of sd_notify(3): ready, alive, reloading, stopping.

Lines go as one datagram to the socket that NOTIFY_SOCKET names. Where there is none (a terminal, a container, another
supervisor) nothing is sent and nothing is different. What cannot be told ends nothing: the service is there for its
escrows, and systemd does by its own time limits what it does about a service that is silent.

"Alive" is said from the event loop, by the same loop that serves: one that is blocked says nothing, and is restarted.
A database or a daemon that does not answer is no reason for that, as it is none for `/livez`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import structlog

log = structlog.get_logger(__name__)

STATUS_SECONDS: Final = 30.0
"""How often the line in `systemctl status` is renewed where no watchdog wants to hear more often."""
BEATS_A_LIMIT: Final = 3.0
"""One beat may be lost, and the next come late, before systemd's limit is over."""
_SEND_LIMIT_SECONDS: Final = 1.0


class ServiceManager:
    """systemd, if it started us and wants to be told.

    `address` is the path of its socket, or `@name` of an abstract one; None: nobody listens. `watchdog_seconds` is how
    long it waits for a sign of life before it ends us; None: for ever.
    """

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self._address = address
        self.watchdog_seconds = watchdog_seconds
        self._refused = False

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> ServiceManager:
        """As NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID say, which systemd sets for what it starts."""
        address = environment.get("NOTIFY_SOCKET", "")
        watchdog_seconds = None
        with suppress(ValueError):
            meant_for_us = int(environment.get("WATCHDOG_PID") or os.getpid()) == os.getpid()
            microseconds = int(environment.get("WATCHDOG_USEC", "0"))
            if meant_for_us and microseconds > 0:
                watchdog_seconds = microseconds / 1e6
        return cls(address if address.startswith(("/", "@")) else None, watchdog_seconds)

    def starting(self, what: str) -> None:
        """What the start is at."""
        self._tell(f"STATUS=Starting: {what}")

    def ready(self, status: str) -> None:
        """It serves."""
        self._tell("READY=1", f"STATUS={status}")

    def alive(self, status: str) -> None:
        """A sign of life, and how it stands."""
        self._tell("WATCHDOG=1", f"STATUS={status}")

    def not_alive(self) -> None:
        """No sign of life: systemd ends and restarts us when its limit is over. Why stands in its status."""
        self._tell("STATUS=Stuck: its work does not go on")

    def reloading(self) -> None:
        """It reads its settings again. The time is what Type=notify-reload asks for."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self) -> None:
        """It has, or was refused to: the log says which."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """It ends."""
        self._tell("STOPPING=1", "STATUS=Stopping")

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_LIMIT_SECONDS)
                sender.connect(address)
                sender.send("\n".join(lines).encode())
        except OSError as error:
            if not self._refused:
                log.warning("systemd_not_told", reason=error.strerror or str(error))
            self._refused = True


async def keep_telling(manager: ServiceManager, is_alive: Callable[[], bool], status: Callable[[], str]) -> None:
    """Give signs of life, as long as there is life, until cancelled. `status` is a sentence for `systemctl status`."""
    pause_seconds = STATUS_SECONDS
    if manager.watchdog_seconds is not None:
        pause_seconds = min(pause_seconds, manager.watchdog_seconds / BEATS_A_LIMIT)
    while True:
        if is_alive():
            manager.alive(status())
        else:
            log.error("not_alive", reason="the service's own work does not go on; systemd is not told that it lives")
            manager.not_alive()
        await asyncio.sleep(pause_seconds)
