"""`monero-escrow top` and GET /admin/overview, against the real application: in this process, and behind a port."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx2
import pytest
import uvicorn

from monero_escrow.cli.asking import (
    KEY_VARIABLE,
    NoKeyError,
    NotOurServiceError,
    Service,
    ServiceAwayError,
    checked_base,
    find_key,
)
from monero_escrow.cli.top import RENEW_SECONDS, renew
from monero_escrow.cli.top_board import Seen
from monero_escrow.core.errors import InvalidInputError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import TRIO, Role
from monero_escrow.monero.processes import LOOPBACK, free_port
from monero_escrow.monero.waiting import until
from monero_escrow.web.problems import UnauthenticatedError, WrongScopeError
from monero_escrow.web.schemas import Overview
from unit.command_line import set_environment
from web.world import World, mark_sick, problem_of

_LONGEST_WAIT_SECONDS = 60.0


def service(world: World, who: str = "operator") -> Service:
    return Service("http://example.com", world.keys[who], httpx2.ASGITransport(app=world.app))


async def test_the_overview_says_what_the_page_says(world: World) -> None:
    await world.add_escrow(State.FUNDED)
    mark_sick(world, Role.VENDOR, "It does not answer.")
    world.daemon.silent = True
    async with service(world) as asked:
        seen = await asked.overview()
    assert (seen.money.grade, seen.money.answer) == ("warning", "Yes, but it stands still.")
    assert (seen.work.grade, seen.health.status) == ("bad", "critical")
    assert any("vendor@127.0.0.1:18083 is not used: It does not answer." in one.text for one in seen.work.reasons)
    assert (seen.escrows[State.FUNDED], seen.escrows[State.SHORT]) == (1, 0)
    assert seen.set_ups is not None
    assert seen.set_ups.count == 1
    assert "Nobody waits for a process." in seen.queue


async def test_slots_say_what_they_are_leased_to(world: World) -> None:
    async with world.pool.lease(TRIO, "set-up of 5f0c", wait_seconds=1), service(world) as asked:
        seen = await asked.overview()
    assert {(slot.state, slot.work) for slot in seen.fleet.slots} == {("leased", "set-up of 5f0c")}


@pytest.mark.parametrize(("who", "status", "code"), [("shop", 403, "wrong_scope"), (None, 401, "unauthenticated")])
async def test_only_an_operators_key_reads_it(world: World, who: str | None, status: int, code: str) -> None:
    async with world.client(who) as client:
        problem_of(await client.get("/admin/overview"), status, code)


async def test_a_key_that_does_not_do_ends_it_and_a_service_away_does_not(world: World) -> None:
    async with service(world, "shop") as asked:
        with pytest.raises(WrongScopeError):
            await asked.overview()
    async with Service("http://example.com", "me_operator_none", httpx2.ASGITransport(app=world.app)) as asked:
        with pytest.raises(UnauthenticatedError):
            await asked.overview()
    async with Service(f"http://{LOOPBACK}:{free_port()}", "key") as asked:
        with pytest.raises(ServiceAwayError, match="does not answer"):
            await asked.overview()
    world.store.close()
    async with service(world) as asked:
        with pytest.raises(ServiceAwayError, match="cannot answer now"):
            await asked.overview()


@pytest.mark.parametrize("answer", [(200, b"{}"), (200, b"<html>"), (404, b"{}"), (302, b"")])
async def test_what_is_another_program_is_said_to_be(answer: tuple[int, bytes]) -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(answer[0], content=answer[1]))
    async with Service("http://example.com", "key", transport) as asked:
        with pytest.raises(NotOurServiceError):
            await asked.overview()


async def test_it_goes_on_trying_and_keeps_the_last_answer_in_view(world: World) -> None:
    async with service(world) as asked:
        overview = await asked.overview()
    answers: list[Overview | Exception] = [ServiceAwayError("away"), overview, ServiceAwayError("away again")]
    answers.append(WrongScopeError("The key was revoked."))
    shown: list[Seen] = []
    slept: list[float] = []

    async def look() -> Overview:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    with pytest.raises(WrongScopeError):
        await renew("http://there", look, shown.append, sleep)
    assert [(seen.overview, seen.trouble) for seen in shown] == [
        (None, "away"),
        (overview, None),
        (overview, "away again"),
    ]
    assert slept == [RENEW_SECONDS] * 3


def test_the_address_is_the_settings_unless_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, tmp_path, SERVER_HOST="0.0.0.0", SERVER_PORT="8099")  # noqa: S104
    assert checked_base(None) == "http://127.0.0.1:8099"
    monkeypatch.setenv("SERVER_HOST", "::")
    assert checked_base(None) == "http://[::1]:8099"
    assert checked_base("https://escrow.example/") == "https://escrow.example"
    assert checked_base("http://localhost:8080") == "http://localhost:8080"


@pytest.mark.parametrize(
    "url", ["http://escrow.example:8080", "ftp://127.0.0.1", "127.0.0.1:8080", "http://a:b@127.0.0.1:1", "http://[", ""]
)
def test_a_key_is_not_sent_where_others_read_it(url: str) -> None:
    with pytest.raises(InvalidInputError):
        checked_base(url)


def test_the_key_comes_from_a_file_or_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("me_operator_file\n")
    monkeypatch.setenv(KEY_VARIABLE, "me_operator_environment")
    assert find_key(file) == "me_operator_file"
    assert find_key(None) == "me_operator_environment"
    monkeypatch.delenv(KEY_VARIABLE)
    for useless in (None, tmp_path / "none", tmp_path):
        with pytest.raises(NoKeyError):
            find_key(useless)
    file.write_bytes(b"\xff\x00")
    with pytest.raises(NoKeyError):
        find_key(file)


@asynccontextmanager
async def listening(world: World) -> AsyncIterator[str]:
    """The application behind a port of this machine; its URL."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(world.app, host=LOOPBACK, port=port, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: _answer(server.started), limit_seconds=_LONGEST_WAIT_SECONDS, poll_seconds=0.01)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.should_exit = True
        await serving


async def _answer(value: bool) -> bool:
    return value


async def run_top(world: World, *arguments: str) -> tuple[int, str, str]:
    """The command as a process without a terminal: its exit code, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monero_escrow", "top", *arguments),
        env=os.environ | {KEY_VARIABLE: world.keys["operator"], "COLUMNS": "120"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    return process.returncode or 0, said.decode(), complained.decode()


async def test_one_picture_without_a_terminal_and_the_same_as_json(world: World) -> None:
    await world.add_escrow(State.DISPUTED)
    async with listening(world) as url:
        (code, picture, _), (json_code, said, _) = await asyncio.gather(
            run_top(world, "--url", url), run_top(world, "--url", url, "--once", "--json")
        )
    assert (code, json_code) == (0, 0)
    assert "Yes. Every role has a process to work with." in picture
    assert "1 disputed" in picture
    assert "\x1b" not in picture
    assert json.loads(said)["escrows"]["disputed"] == 1
    code, picture, complained = await run_top(world, "--url", url)
    assert (code, picture) == (1, "")
    assert f"error: {url} does not answer (ConnectError)." in complained


class Terminal:
    """`top` in a terminal of its own: what it shows, and what is typed."""

    def __init__(self) -> None:
        self.near, self.far = pty.openpty()
        self.shown = b""
        os.set_blocking(self.near, False)
        asyncio.get_running_loop().add_reader(self.near, self._read)

    def _read(self) -> None:
        with suppress(OSError):
            self.shown += os.read(self.near, 65_536)

    async def shows(self, words: str) -> None:
        """Wait until it does."""
        await until(
            lambda: _answer(words.encode() in self.shown), limit_seconds=_LONGEST_WAIT_SECONDS, poll_seconds=0.02
        )

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.near)
        os.close(self.near)
        os.close(self.far)


async def test_in_a_terminal_it_lives_says_that_the_service_went_and_q_ends_it(world: World) -> None:
    terminal = Terminal()
    environment = os.environ | {KEY_VARIABLE: world.keys["operator"], "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    async with listening(world) as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "monero_escrow", "top", "--url", url),
            env=environment,
            stdin=terminal.far,
            stdout=terminal.far,
            stderr=terminal.far,
        )
        await terminal.shows("Does work flow?")
        terminal.shown = b""
        process.send_signal(signal.SIGWINCH)
        await terminal.shows("Does work flow?")
    await terminal.shows("Trying again.")
    os.write(terminal.near, b"xq")
    assert await asyncio.wait_for(process.wait(), _LONGEST_WAIT_SECONDS) == 0
    await terminal.shows("\x1b[?1049l")  # the screen as it was before
    terminal.close()
