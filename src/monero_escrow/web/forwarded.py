"""What proxies say of a request, and how much of it is believed; and by which names the service is called.

A proxy of TRUSTED_PROXIES adds the address it was called from to the right of X-Forwarded-For. So the list is read from
the right, over the proxies we trust, and the first address that is none of them is the caller: what stands further left
was written by the caller itself. Without trusted proxies both headers mean nothing. RFC 7239's Forwarded is not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from monero_escrow.config.callers import ANY_HOST

Networks = tuple[IPv4Network | IPv6Network, ...]


class Forwarded:
    """Puts the caller's address and scheme into the scope, as far as trusted proxies tell them."""

    def __init__(self, app: ASGIApp, trusted: Networks) -> None:
        self.app, self._trusted = app, trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if self._trusted and client is not None and scope["type"] == "http" and is_trusted(client[0], self._trusted):
            headers = Headers(scope=scope)
            address = caller_of(client[0], headers.getlist("x-forwarded-for"), self._trusted)
            scope = {**scope, "client": (address, 0 if address != client[0] else client[1])}
            scheme = headers.getlist("x-forwarded-proto")
            if scheme:
                scope["scheme"] = "https" if scheme[-1].rpartition(",")[2].strip().lower() == "https" else "http"
        await self.app(scope, receive, send)


def caller_of(peer: str, forwarded_for: Sequence[str], trusted: Networks) -> str:
    """The right-most address that is not a trusted proxy's; `peer` is whoever holds the connection.

    What is no address ends the search: whoever told it is the last one that is known.
    """
    caller = peer
    hops = [hop for line in forwarded_for for hop in line.split(",")]
    while hops and is_trusted(caller, trusted):
        told = _address(hops.pop())
        if told is None:
            break
        caller = str(told)
    return caller


@lru_cache(maxsize=1024)
def is_trusted(address: str, trusted: Networks) -> bool:
    """Whether this is the address of a proxy that is believed."""
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in trusted)


def is_allowed(host_header: str, allowed: Sequence[str]) -> bool:
    """Whether a request for this Host is for us; its port does not matter."""
    host = _without_port(host_header.strip().lower()).rstrip(".")
    for name in allowed:
        wanted = name.rstrip(".")
        if wanted == ANY_HOST or host == wanted or host == wanted.strip("[]"):
            return True
        if wanted.startswith("*.") and host.endswith(wanted[1:]) and host != wanted[2:]:
            return True
    return False


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, perhaps with a port; an IPv4 one that came over IPv6 is that IPv4 one."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed
