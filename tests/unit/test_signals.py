"""Signals from the beginning of the service to its end: none of them ends it without its clean-up."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import cast

import pytest
import uvicorn
from structlog.testing import capture_logs

from monero_escrow.fleet.fleet import Fleet
from monero_escrow.monero.waiting import until
from monero_escrow.service import Signals

STOPPING = pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])


class Server:
    """What uvicorn is told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def handle_exit(self, number: int, _frame: object) -> None:
        self.told.append(number)


class BrokenFleet:
    """Its reload has a fault."""

    async def reload(self) -> None:
        raise RuntimeError("a fault of ours")


async def so(condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    await until(holds, limit_seconds=10)


@STOPPING
async def test_a_start_that_is_told_to_stop_is_cut_off_cleans_up_and_is_no_error(stop: signal.Signals) -> None:
    begun, cleaned_up = asyncio.Event(), False

    async def serve() -> None:
        nonlocal cleaned_up
        with Signals():
            begun.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                cleaned_up = True

    serving = asyncio.create_task(serve())
    await begun.wait()
    signal.raise_signal(stop)
    async with asyncio.timeout(10):
        await serving
    assert cleaned_up


async def test_a_start_that_is_cancelled_by_somebody_else_is_cancelled() -> None:
    async def serve() -> None:
        with Signals():
            await asyncio.get_running_loop().create_future()

    serving = asyncio.create_task(serve())
    await asyncio.sleep(0)
    serving.cancel()
    await asyncio.wait([serving])
    assert serving.cancelled()


@STOPPING
async def test_a_server_is_told_to_stop_and_its_end_is_not_cut_off(stop: signal.Signals) -> None:
    server = Server()
    with Signals() as signals:
        with signals.passed_on(cast("uvicorn.Server", server), None):
            signal.raise_signal(stop)
            await so(lambda: server.told == [stop])
        signal.raise_signal(stop)
        await so(lambda: server.told == [stop, stop])


async def test_a_hangup_while_the_service_starts_or_ends_is_refused_in_the_log() -> None:
    with capture_logs() as said, Signals() as signals:
        for times in (1, 2):
            signal.raise_signal(signal.SIGHUP)
            await so(lambda times=times: len(said) == times)  # type: ignore[misc]
            with signals.passed_on(cast("uvicorn.Server", Server()), cast("Fleet", BrokenFleet())):
                pass
    assert [line["event"] for line in said] == ["reload_refused"] * 2
    assert "starts or ends" in said[0]["reason"]


async def test_a_fault_in_a_reload_is_logged_and_ends_nothing() -> None:
    with (
        capture_logs() as said,
        Signals() as signals,
        signals.passed_on(cast("uvicorn.Server", Server()), cast("Fleet", BrokenFleet())),
    ):
        signal.raise_signal(signal.SIGHUP)
        await so(lambda: bool(said))
    assert [(line["event"], line["log_level"]) for line in said] == [("reload_failed", "error")]
