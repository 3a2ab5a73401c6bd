"""`monero-escrow top`: a live board of the running service, for those without a browser. It changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import Console
from rich.live import Live

from monero_escrow.cli.asking import Service, ServiceAwayError, checked_base, find_key
from monero_escrow.cli.options import Json
from monero_escrow.cli.top_board import Board, Seen
from monero_escrow.web.schemas import Overview

RENEW_SECONDS: Final = 2.0
_HINT: Final = f"every {RENEW_SECONDS:g} s · q quits"
_LEAVES: Final = b"qQ"
_MOST_KEYS: Final = 64


def top(
    *,
    url: str | None = None,
    key_file: Path | None = None,
    once: Annotated[bool, Parameter(negative="")] = False,
    json_output: Json = False,
) -> None:
    """A live board: is money safe, does work flow, and why not; each process, the queue, the stock, set-up times.

    It asks the running service with an operator's key: from --key-file, else from MONERO_ESCROW_KEY, else it asks for
    it. While the service is away it says so and goes on trying.

    Parameters
    ----------
    url
        Where the service is, unless as SERVER_HOST and SERVER_PORT say.
    key_file
        A file that holds the key.
    once
        Print one picture and end; so it does where the output is no terminal, and with --json.
    """
    service = Service(checked_base(url), find_key(key_file))
    console = Console()
    if once or json_output or not console.is_terminal:
        overview = asyncio.run(_look_once(service))
        if json_output:
            print(overview.model_dump_json())
        else:
            console.print(Board(Seen(service.url, overview)))
        return
    try:
        asyncio.run(_live(service, console))
    except KeyboardInterrupt:
        return  # as q: there is nothing to undo


async def _look_once(service: Service) -> Overview:
    async with service:
        return await service.overview()


async def _live(service: Service, console: Console) -> None:
    """Renew the picture until somebody presses q. Raises what trying again does not mend."""
    seen = Seen(service.url)
    async with service:
        with Live(console=console, screen=True, auto_refresh=False) as live:

            def show(latest: Seen | None = None) -> None:
                nonlocal seen
                seen = latest or seen
                live.update(Board(seen, lines=console.height, hint=_HINT), refresh=True)

            show()
            renewing = asyncio.create_task(renew(service.url, service.overview, show, asyncio.sleep))
            with _keyboard(renewing.cancel), _resizes(show):
                await asyncio.wait([renewing])
            if not renewing.cancelled():
                renewing.result()


async def renew(
    url: str,
    look: Callable[[], Awaitable[Overview]],
    show: Callable[[Seen], object],
    sleep: Callable[[float], Awaitable[object]],
) -> None:
    """Look and show, again and again, until cancelled. A service that is away leaves its last answer in view.

    Raises what `look` raises, unless it is only away.
    """
    overview: Overview | None = None
    while True:
        trouble = None
        try:
            overview = await look()
        except ServiceAwayError as error:
            trouble = error.message
        show(Seen(url, overview, trouble))
        await sleep(RENEW_SECONDS)


@contextmanager
def _keyboard(leave: Callable[[], object]) -> Iterator[None]:
    """Calls `leave` when q is pressed; keys are not shown, and the terminal is put back as it was."""
    if not sys.stdin.isatty():
        yield
        return
    loop, keyboard = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def pressed() -> None:
        keys = os.read(keyboard, _MOST_KEYS)
        if not keys or any(key in _LEAVES for key in keys):
            leave()

    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, pressed)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextmanager
def _resizes(show: Callable[[], None]) -> Iterator[None]:
    """Calls `show` when the terminal has another size."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, show)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
