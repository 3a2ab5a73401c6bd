"""What is this machine and nothing else: the one question on which "in the clear" depends."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, whatever a name server says: `localhost`, or a loopback address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_on_this_machine(url: str) -> bool:
    """Whether a URL leads to this machine; other names than `localhost` may lead anywhere."""
    return is_loopback(urlsplit(url).hostname or "")
