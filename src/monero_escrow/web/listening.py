"""Where the API listens: what it refuses to listen on, and the sockets it listens with."""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, Final

import structlog

from monero_escrow.config import Settings, SettingsError
from monero_escrow.web.connections import Connections, Listener

log = structlog.get_logger(__name__)

_BACKLOG: Final = 2048
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_DESCRIPTORS_BESIDE: Final = 1024
"""For the database, wallet processes, files: more than the largest fleet needs."""


class UnsafeListeningError(SettingsError):
    """The API would be within reach of others in a way that nobody can want."""

    code = "unsafe_listening"


def require_safe_listening(settings: Settings) -> None:
    """Raise UnsafeListeningError if others than this machine could reach the API in the clear, or by any name."""
    host = settings.server_host
    if _is_loopback(host):
        return
    if not settings.own_tls and not settings.behind_tls_proxy:
        raise UnsafeListeningError(
            f"SERVER_HOST is {host}, and the API would speak plain HTTP there: keys could be read on the way.",
            what_to_do="Set TLS_CERT_FILE and TLS_KEY_FILE; or, if only a proxy with TLS reaches this address, "
            "BEHIND_TLS_PROXY=true; or listen on 127.0.0.1.",
        )
    if not settings.allowed_hosts:
        raise UnsafeListeningError(
            f"SERVER_HOST is {host}, and ALLOWED_HOSTS does not say by which names the API is called there.",
            what_to_do="Set ALLOWED_HOSTS to the names in your callers' URLs, such as escrow.example.com; `*` for any.",
        )


@contextmanager
def listeners(settings: Settings, connections: Connections) -> Iterator[list[Listener]]:
    """Bound sockets for every address that SERVER_HOST means, closed after the block. Raises OSError."""
    _allow_descriptors(settings.most_connections + _DESCRIPTORS_BESIDE)
    bound: list[Listener] = []
    not_here: OSError | None = None
    try:
        found = socket.getaddrinfo(
            settings.server_host, settings.server_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                bound.append(_listener(family, kind, protocol, address, connections))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                not_here = error  # localhost means ::1 too, which not every machine has
        if not bound and not_here is not None:
            raise not_here
        yield bound
    finally:
        for listener in bound:
            listener.close()


def _listener(family: int, kind: int, protocol: int, address: Any, connections: Connections) -> Listener:
    """Raises OSError."""
    listener = Listener(family, kind, protocol)
    listener.connections = connections
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _allow_descriptors(wanted: int) -> None:
    """As many open files as the connections need, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("few_descriptors", allowed=allowed, wanted=wanted, setting="MOST_CONNECTIONS")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
