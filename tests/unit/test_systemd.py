"""What systemd is told, on a socket of the test's own: by the module alone, and by the signals of a service."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import uvicorn
from structlog.testing import capture_logs

from monero_escrow.fleet.fleet import Fleet
from monero_escrow.monero.waiting import until
from monero_escrow.service import Signals
from monero_escrow.systemd import ServiceManager, keep_telling
from unit.systemd_socket import Listener, heard


@pytest.fixture(params=["a path", "an abstract name"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    abstract = request.param == "an abstract name"
    made = Listener(f"@monero-escrow-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify"))
    yield made
    made.close()


def test_it_says_ready_alive_and_stopping_each_with_how_it_stands(listener: Listener) -> None:
    manager = ServiceManager.of(listener.environment())
    manager.starting("the database")
    manager.ready("Serving")
    manager.alive("Serving: 3 wallet processes")
    manager.stopping()
    assert listener.listen() == [
        {"STATUS": "Starting: the database"},
        {"READY": "1", "STATUS": "Serving"},
        {"WATCHDOG": "1", "STATUS": "Serving: 3 wallet processes"},
        {"STOPPING": "1", "STATUS": "Stopping"},
    ]


def test_a_reload_says_when_it_began_by_the_clock_that_systemd_compares_with(listener: Listener) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    ServiceManager.of(listener.environment()).reloading()
    (told,) = listener.listen()
    assert told["RELOADING"] == "1"
    assert before <= int(told["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
        ({}, None),
    ],
)
def test_the_watchdogs_limit_is_what_systemd_says_if_it_means_this_process(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert ServiceManager.of(environment).watchdog_seconds == seconds


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_where_nobody_listens_nothing_is_said_and_nothing_is_wrong(environment: dict[str, str]) -> None:
    with capture_logs() as said:
        ServiceManager.of(environment).ready("Serving")
    assert said == []


def test_a_socket_that_is_gone_is_told_of_once_and_ends_nothing(tmp_path: Path) -> None:
    manager = ServiceManager(str(tmp_path / "gone"))
    with capture_logs() as said:
        manager.ready("Serving")
        manager.alive("Serving")
    assert [line["event"] for line in said] == ["systemd_not_told"]


async def test_what_lives_says_so_well_within_the_limit_and_what_is_stuck_does_not(tmp_path: Path) -> None:
    listener = Listener(str(tmp_path / "notify"))
    lives = True
    manager = ServiceManager(listener.address, watchdog_seconds=0.03)
    telling = asyncio.create_task(keep_telling(manager, lambda: lives, lambda: "Serving"))
    await heard(listener, "WATCHDOG", "1")
    lives = False
    await heard(listener, "STATUS", "Stuck: its work does not go on")
    signs = sum("WATCHDOG" in told for told in listener.listen())

    async def said_it_thrice() -> bool:
        return sum(told["STATUS"].startswith("Stuck") for told in listener.listen()) >= 3

    await until(said_it_thrice, limit_seconds=10)
    assert sum("WATCHDOG" in told for told in listener.listen()) == signs
    telling.cancel()
    listener.close()


class QuickFleet:
    """Reloads at once; nothing changes."""

    async def reload(self) -> None:
        pass


class Server:
    """What uvicorn is told goes nowhere."""

    def handle_exit(self, _number: int, _frame: object) -> None:
        pass


async def test_a_hangup_is_a_reload_that_ends_and_a_stop_is_told_at_once(tmp_path: Path) -> None:
    listener = Listener(str(tmp_path / "notify"))
    server, fleet = cast("uvicorn.Server", Server()), cast("Fleet", QuickFleet())
    with Signals(ServiceManager(listener.address)) as signals, signals.passed_on(server, fleet):
        signal.raise_signal(signal.SIGHUP)
        await heard(listener, "READY", "1")
        signal.raise_signal(signal.SIGTERM)
        await heard(listener, "STOPPING", "1")
    assert [sorted(told) for told in listener.heard] == [
        ["MONOTONIC_USEC", "RELOADING"],
        ["READY"],
        ["STATUS", "STOPPING"],
    ]
    listener.close()
