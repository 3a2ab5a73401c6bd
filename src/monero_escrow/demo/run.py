"""`monero-escrow demo`: set the stage, take the orders through at once, show what came of it, clear everything away.

Exit codes: 0 all as planned (and after Ctrl-C when everything was only kept running), 1 a step failed or an amount
differs, 128 + signal when it was interrupted (130 for Ctrl-C). No process outlives it: the first signal cancels the
story, further ones change nothing, and the clearing away is never interrupted.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console

from monero_escrow.demo.api import Escrow, EscrowApi
from monero_escrow.demo.board import Board, board_for
from monero_escrow.demo.failures import first_failure, step
from monero_escrow.demo.nodes import kill_one_at_work
from monero_escrow.demo.orders import CONFIRMATIONS, LEFT_IN_DISPUTE, RULED, THREE_ORDERS, Order, OrderLife, Outcome
from monero_escrow.demo.stage import Stage, set_stage
from monero_escrow.demo.summary import show_failure, show_kept, show_rehearsed, show_summary
from monero_escrow.monero.processes import ChildProcess
from monero_escrow.monero.programs import MoneroPrograms, find_programs
from monero_escrow.monero.supervision import Supervisor

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SLOW_BLOCK_SECONDS: Final = 30.0
_LOOK_EVERY_SECONDS: Final = 4.0
_NARROWEST_LOG: Final = 110


def run_demo(keep: bool = False, nodes: int = 1) -> int:
    """The whole demo, on stdout; answers the exit code. With `keep` everything is left running until Ctrl-C.

    With several `nodes` on one PostgreSQL, one of them is killed in the middle of its work, and stays away.
    """
    return asyncio.run(_Demo(_Output(), keep, nodes).run())


def rehearse(find: Callable[[], MoneroPrograms]) -> int:
    """One order through the whole of its life with the programs that `find` answers; the exit code: 0 for PASS, 1.

    On a private chain and in a folder of its own: what the service of this machine has is neither read nor written.
    """
    return asyncio.run(_Rehearsal(_Output(), keep=False, nodes=1, find=find, orders=(RULED,)).run())


class _Output(Console):
    """Stdout. Should its reader go away (`demo | head`) it falls silent and tells, instead of ending the process."""

    def __init__(self) -> None:
        super().__init__()
        self.on_reader_gone: Callable[[], object] = bool
        if not self.is_terminal:
            self.width = max(self.width, _NARROWEST_LOG)

    def on_broken_pipe(self) -> None:
        with suppress(SystemExit):
            super().on_broken_pipe()
        self.on_reader_gone()


@dataclass(slots=True)
class _Demo:
    """One run. `interrupted_by` is the first signal that came; `kept` says that the story is over and all is well."""

    console: _Output
    keep: bool
    nodes: int
    find: Callable[[], MoneroPrograms] = find_programs
    orders: tuple[Order, ...] = THREE_ORDERS
    folder: Path | None = None
    interrupted_by: signal.Signals | None = None
    kept: bool = False
    exact: bool = False
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def run(self) -> int:
        """Tell the story in a task of its own, so that a signal can end it and nothing can end the clearing away."""
        loop = asyncio.get_running_loop()
        story = asyncio.create_task(self._story())
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._interrupt, number, story)
        self.console.on_reader_gone = partial(loop.call_soon_threadsafe, self._interrupt, signal.SIGPIPE, story)
        try:
            await asyncio.wait([story])
        finally:
            await self._end_everything()
        return self._verdict(story)

    def _interrupt(self, number: signal.Signals, story: asyncio.Task[None]) -> None:
        if self.interrupted_by is None:
            self.interrupted_by = number
            story.cancel()

    async def _end_everything(self) -> None:
        if self.folder is not None:
            self._line("Ending every process that was started …")
        await self.stack.aclose()

    def _verdict(self, story: asyncio.Task[None]) -> int:
        if self.interrupted_by is not None:
            self._remove_folder()
            self._line("Stopped; nothing is left running.")
            return 0 if self.kept and self.exact else 128 + self.interrupted_by
        error = None if story.cancelled() else story.exception()
        if error is not None:
            failure = first_failure(error)
            if failure is None:
                self._line(f"The logs are kept in {self.folder}")
                raise error
            show_failure(self.console, failure, self.folder)
            return 1
        if not self.exact:
            self._line(f"The logs are kept in {self.folder}")
            return 1
        self._remove_folder()
        return 0

    def _remove_folder(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _story(self) -> None:
        with board_for(self.console) as board:
            with step("looking for Monero's programs"):
                programs = await asyncio.to_thread(self.find)
            with step("making a temporary folder"):
                self.folder = Path(tempfile.mkdtemp(prefix="monero-escrow-demo-"))
            supervisor = Supervisor(lambda child: board.say(f"{child.name} died and was started again"))
            self.stack.push_async_callback(supervisor.aclose)
            with step("keeping every process running"):
                await supervisor.while_kept(self._tell(programs, self.folder, board, supervisor))

    async def _tell(self, programs: MoneroPrograms, folder: Path, board: Board, supervisor: Supervisor) -> None:
        stage = await set_stage(programs, folder, board, supervisor, self.stack, self.nodes)
        async with asyncio.TaskGroup() as beside:
            if self.nodes > 1:
                beside.create_task(kill_one_at_work(stage.services, stage.keys.operator, supervisor, board))
            orders = (*self.orders, *((LEFT_IN_DISPUTE,) if self.keep else ()))
            lives = await _take_orders(stage, board, orders)
        board.close()
        await self._show(stage, programs, lives, board.elapsed)

    async def _show(
        self, stage: Stage, programs: MoneroPrograms, lives: list[tuple[Escrow, Outcome | None]], total_seconds: float
    ) -> None:
        outcomes = [outcome for _, outcome in lives if outcome is not None]
        self.exact = self._show_outcomes(programs, outcomes, total_seconds)
        if self.keep and self.folder is not None:
            left = next(escrow for escrow, outcome in lives if outcome is None)
            wallet_url = stage.buyer.owner.process.url
            show_kept(
                self.console,
                api_url=_running(stage).url,
                keys=stage.keys,
                escrow_id=left.escrow_id,
                wallet_url=wallet_url,
                folder=self.folder,
            )
            self.kept = True
            await _keep_the_chain_alive(stage)

    def _show_outcomes(self, programs: MoneroPrograms, outcomes: Sequence[Outcome], total_seconds: float) -> bool:
        return show_summary(self.console, outcomes, total_seconds, str(programs.version), nodes=self.nodes)

    def _line(self, text: str) -> None:
        with suppress(OSError):  # the terminal may be gone, which is no reason to leave anything running
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Rehearsal(_Demo):
    """The demo with one order, for somebody who wants to know whether to go on: it ends with PASS or FAIL."""

    def _show_outcomes(self, programs: MoneroPrograms, outcomes: Sequence[Outcome], total_seconds: float) -> bool:
        return show_rehearsed(self.console, outcomes, total_seconds, programs)

    def _verdict(self, story: asyncio.Task[None]) -> int:
        code = _Demo._verdict(self, story)
        if code and self.interrupted_by is None and not self.exact:
            self._line("FAIL: do not take orders with these programs on this machine.")
        return code


async def _take_orders(stage: Stage, board: Board, orders: Sequence[Order]) -> list[tuple[Escrow, Outcome | None]]:
    """All orders at once; six slots carry two set-ups at a time, so the third follows at a distance."""
    async with asyncio.TaskGroup() as at_once:
        lives = [
            at_once.create_task(OrderLife(order, stage, board.order(order.number, order.title)).live())
            for order in orders
        ]
    return [life.result() for life in lives]


def _running(stage: Stage) -> ChildProcess:
    """The service; of several nodes, one that was not killed."""
    return next(service for service in stage.services if service.running)


async def _keep_the_chain_alive(stage: Stage) -> None:
    """Mine what a payout may wait for, and otherwise a block now and then, as a real chain would."""
    loop = asyncio.get_running_loop()
    next_block = loop.time() + _SLOW_BLOCK_SECONDS
    async with EscrowApi(_running(stage).url, stage.keys.operator) as operator:
        while True:
            with step("keeping the chain alive"):
                if await operator.escrows_in("paying_out"):
                    await stage.miner.bury(CONFIRMATIONS)
                elif loop.time() >= next_block:
                    await stage.miner.bury(1)
                    next_block = loop.time() + _SLOW_BLOCK_SECONDS
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
