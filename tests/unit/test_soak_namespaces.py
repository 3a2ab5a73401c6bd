"""The networks of the nodes' soak: a link that is cut swallows what is sent, and nothing of a dead run stays behind."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from monero_escrow.monero.processes import ProgramFailedError
from monero_escrow.monero.waiting import until
from soak.namespaces import Namespace, can_be_made, clear_left_over, namespaces

pytestmark = pytest.mark.skipif(not can_be_made(), reason="root and network namespaces are needed")

_CALL = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3]))"
_ABANDON = """
import os, soak.namespaces
run = soak.namespaces.namespaces(1)
print(run.__enter__()[0].name, flush=True)
os._exit(9)
"""


def call_from(network: Namespace, port: int, seconds: float) -> bool:
    """Whether a program in there reaches us."""
    command = [*network.within, sys.executable, "-c", _CALL, network.here, str(port), str(seconds)]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


async def test_what_is_said_through_a_link_that_is_cut_vanishes_until_it_is_mended() -> None:
    with namespaces(1) as [network], socket.create_server((network.here, 0)) as listening:
        port = listening.getsockname()[1]
        assert call_from(network, port, 5.0)
        network.cut()
        assert not call_from(network, port, 0.3)
        network.mend()

        async def reached() -> bool:
            return call_from(network, port, 1.0)

        await until(reached, limit_seconds=10.0)


def test_what_a_run_that_is_gone_left_behind_is_removed() -> None:
    left = subprocess.run([sys.executable, "-c", _ABANDON], check=False, capture_output=True, text=True).stdout.strip()
    assert left, "it made one"
    clear_left_over()
    assert left not in everything()


def test_a_run_leaves_nothing_when_it_fails_inside() -> None:
    made: list[str] = []

    def run() -> None:
        with namespaces(2) as networks:
            made.extend(network.name for network in networks)
            assert all(name in everything() for name in made)
            raise ProgramFailedError("such as a node that does not start")

    with pytest.raises(ProgramFailedError):
        run()
    assert not any(name in everything() for name in made)


def everything() -> str:
    """All namespaces and links there are."""
    questions = (["ip", "netns", "list"], ["ip", "link", "show"])
    return "".join(subprocess.run(words, check=True, capture_output=True, text=True).stdout for words in questions)
