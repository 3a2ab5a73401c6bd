"""Network namespaces, one a node, each joined to this machine by a pair of virtual links that can be taken down.

What runs in one has a loopback of its own, and reaches the rest of the world through the link alone. Taken down at our
end, the link swallows everything without a word, in both directions. Needs root and `ip` (Linux); where it does not
work, `can_be_made` says so.

Every name has our process id in it: what a run that is gone left behind is recognised and removed by the next one, and
nothing else on the machine is ever touched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PREFIX: Final = "mesoak"
_OURS: Final = re.compile(rf"\b{_PREFIX}([0-9]+)[nhp][0-9]+\b")
_LIMIT_SECONDS: Final = 20.0
# While a link is down, nothing for its node may leave by the machine's own default route. The mark says it is ours.
_LAST_RESORT: Final = ("metric", "4294967295", "proto", "198")
# Set aside for tests of networks (RFC 2544): nobody's, and so on no machine's own network.
_NETWORKS: Final = [f"198.{second}.{third}" for second in (18, 19) for third in range(256)]


@dataclass(frozen=True, slots=True)
class Namespace:
    """One node's network. `here` is our end of its link, `there` the node's; both are IPv4 addresses."""

    name: str
    link: str
    here: str
    there: str

    @property
    def within(self) -> tuple[str, ...]:
        """What goes before a command so that it runs in there, as the same process."""
        return ("ip", "netns", "exec", self.name)

    def cut(self) -> None:
        """From now on all that is sent vanishes, both ways."""
        _ip("link", "set", self.link, "down")

    def mend(self) -> None:
        """The link is there again."""
        _ip("link", "set", self.link, "up")


def can_be_made() -> bool:
    """Whether this machine lets us make them: tried out."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    try:
        with namespaces(1):
            return True
    except (OSError, subprocess.SubprocessError):
        return False


@contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """So many, all removed at the end. Raises OSError and subprocess.SubprocessError where it does not work."""
    clear_left_over()
    with ExitStack() as stack:
        yield [stack.enter_context(_namespace(number)) for number in range(1, count + 1)]


def clear_left_over() -> None:
    """Remove what a run left behind whose process is gone."""
    for name in _names("netns", "list"):
        _ip("netns", "delete", name, fails=True)
    for link in _names("-oneline", "link", "show"):
        _ip("link", "delete", link, fails=True)
    ours, in_use = _ip("route", "show", *_LAST_RESORT[2:], fails=True), _ip("-oneline", "address", "show", fails=True)
    for network in _NETWORKS:
        if f" {network}.0/24 " in f" {ours}" and f" {network}.1/24 " not in in_use:
            _ip("route", "delete", "unreachable", f"{network}.0/24", *_LAST_RESORT, fails=True)


def _names(*question: str) -> set[str]:
    """Of runs that are gone."""
    found = _OURS.finditer(_ip(*question, fails=True))
    return {name.group() for name in found if not Path("/proc", name[1]).exists()}


@contextmanager
def _namespace(number: int) -> Iterator[Namespace]:
    us = f"{_PREFIX}{os.getpid()}"
    name, link, peer = f"{us}n{number}", f"{us}h{number}", f"{us}p{number}"
    network = _unused_network()
    here, there = f"{network}.1", f"{network}.2"
    with ExitStack() as stack:
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "delete", name, fails=True)
        _ip("link", "add", link, "type", "veth", "peer", "name", peer, "netns", name)
        stack.callback(_ip, "link", "delete", link, fails=True)
        _ip("address", "add", f"{here}/24", "dev", link)
        _ip("route", "add", "unreachable", f"{network}.0/24", *_LAST_RESORT)
        stack.callback(_ip, "route", "delete", "unreachable", f"{network}.0/24", *_LAST_RESORT, fails=True)
        _ip("link", "set", link, "up")
        for words in (
            ("address", "add", f"{there}/24", "dev", peer),
            ("link", "set", peer, "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-netns", name, *words)
        yield Namespace(name, link, here, there)


def _unused_network() -> str:
    routes = _ip("route", "show", "table", "all")
    begins = os.getpid() % len(_NETWORKS)  # runs side by side do not all try the same
    for network in (*_NETWORKS[begins:], *_NETWORKS[:begins]):
        if f"{network}." not in routes:
            return network
    raise OSError("Every network that is set aside for tests is in use.")


def _ip(*words: str, fails: bool = False) -> str:
    """What `ip` says. With `fails` it may also not work."""
    done = subprocess.run(["ip", *words], check=not fails, timeout=_LIMIT_SECONDS, capture_output=True, text=True)
    return done.stdout
