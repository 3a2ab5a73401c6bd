"""The conductor: sees to it that every escrow is advanced when it is due, one caller at a time, and none is forgotten.

It holds no truth: what is due stands in the database, so a restart goes on where it was. A block wakes the escrows that
wait for the chain. A step that fails is tried again after a growing pause, and the reason stays on the escrow.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from functools import partial

import structlog

from monero_escrow.core.errors import EscrowError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.pauses import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, pause_seconds
from monero_escrow.escrows.advance import advance
from monero_escrow.escrows.context import Context
from monero_escrow.jitter import jittered
from monero_escrow.monero.errors import TransportError
from monero_escrow.monero.ports import Daemon, DaemonInfo
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.store import Transaction

log = structlog.get_logger(__name__)

_WOKEN_BY_A_BLOCK = frozenset({State.AWAITING_DEPOSIT, State.SHORT})
_MOST_AT_ONCE = 64
_MOST_REQUESTS_REMEMBERED = 10_000
_LONGEST_IDLE_SECONDS = 30.0
_MOST_SECONDS_FOR_ANOTHER_SLOT = 8.0
"""A process that failed is not leased again; another one takes the work over, and need not be waited for long."""


class Conductor:
    """Runs the service's own part of every escrow. Use `run()` as one task and cancel it to stop."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = replace(ctx, nudge=self.nudge)
        self._nudged = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._requests: dict[str, str] = {}
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def nudge(self, escrow_id: str) -> None:
        """An escrow has something to do at once. Its work is logged under the id of the request that asked for it."""
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        if request_id is not None and len(self._requests) < _MOST_REQUESTS_REMEMBERED:
            self._requests[escrow_id] = request_id
        self._nudged.set()

    async def run(self) -> None:
        """Until cancelled; cancellation ends the work under way, which the next start takes up again.

        A fault of ours in here is raised, so that the service stops rather than look alive and do nothing.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_chain())
            while True:
                self._nudged.clear()
                try:
                    await self._start_due(tasks)
                    await self._idle()
                except EscrowError as error:  # the database is busy or full: nothing can be begun before it answers
                    log.error("conductor_waits", code=error.code, reason=error.message)  # noqa: TRY400
                    await self.ctx.clock.sleep(FIRST_PAUSE_SECONDS)

    async def wait_while(self, escrow_id: str, state: State, seconds: float) -> None:
        """Return as soon as the escrow has left `state`, or after so many seconds."""
        moved = asyncio.Event()
        self._listeners[escrow_id].add(moved)
        try:
            async with asyncio.timeout(seconds):
                while await self._state(escrow_id) is state:
                    await moved.wait()
                    moved.clear()
        except TimeoutError:
            return
        finally:
            self._listeners[escrow_id].discard(moved)
            if not self._listeners[escrow_id]:
                del self._listeners[escrow_id]

    async def _state(self, escrow_id: str) -> State:
        return (await self.ctx.store.read(lambda tx: tx.escrows.get(escrow_id))).state

    async def _start_due(self, tasks: asyncio.TaskGroup) -> None:
        room = _MOST_AT_ONCE - len(self._running)
        if room <= 0:
            return
        now = self.ctx.clock.now()
        busy = frozenset(self._running)
        settings = self.ctx.settings
        horizon = max(settings.deposit_poll_seconds, settings.chain_poll_seconds, LONGEST_PAUSE_SECONDS) + 1
        due = await self.ctx.store.read(lambda tx: tx.escrows.due(now, room, busy, horizon_seconds=horizon))
        for escrow_id in due:
            task = tasks.create_task(self._advance(escrow_id))
            self._running[escrow_id] = task
            task.add_done_callback(partial(self._ended, escrow_id))

    def _ended(self, escrow_id: str, _task: asyncio.Task[None]) -> None:
        self._running.pop(escrow_id, None)
        for listener in self._listeners.get(escrow_id, ()):
            listener.set()
        self._nudged.set()

    async def _idle(self) -> None:
        """Wait for a nudge, or until the next escrow is due."""
        busy = frozenset(self._running)
        next_due = await self.ctx.store.read(lambda tx: tx.escrows.next_due_at(busy))
        seconds = _LONGEST_IDLE_SECONDS
        if next_due is not None and len(self._running) < _MOST_AT_ONCE:
            seconds = min(seconds, max(0.0, next_due - self.ctx.clock.now()))
        timer = asyncio.create_task(self.ctx.clock.sleep(seconds))
        nudged = asyncio.create_task(self._nudged.wait())
        try:
            await asyncio.wait([timer, nudged], return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            nudged.cancel()

    async def _advance(self, escrow_id: str) -> None:
        request_id = self._requests.pop(escrow_id, None)
        names = {"escrow_id": escrow_id} | ({} if request_id is None else {"request_id": request_id})
        with structlog.contextvars.bound_contextvars(**names):
            try:
                escrow = await self.ctx.store.read(lambda tx: tx.escrows.get(escrow_id))
                await self._advance_or_keep_reason(escrow)
            except EscrowError as error:  # not even the reason could be written down
                log.error("database_silent", code=error.code, reason=error.message)  # noqa: TRY400
                await self.ctx.clock.sleep(FIRST_PAUSE_SECONDS)

    async def _advance_or_keep_reason(self, escrow: EscrowRecord) -> None:
        try:
            await advance(self.ctx, escrow)
        except EscrowError as error:
            log.warning("step_failed", code=error.code, reason=error.message, failures=escrow.failures + 1)
            most = _MOST_SECONDS_FOR_ANOTHER_SLOT if self._is_of_a_slot(error) else LONGEST_PAUSE_SECONDS
            await self._try_again_later(escrow, error.public_message, most)
        except Exception as error:  # a fault of ours must not stop the other escrows
            log.exception("advance_failed")
            await self._try_again_later(escrow, f"Internal error: {type(error).__name__}.")

    def _is_of_a_slot(self, error: EscrowError) -> bool:
        """Whether one process did not answer, where others may; there is only one daemon."""
        return isinstance(error, TransportError) and any(error.url == slot.rpc.url for slot in self.ctx.pool.slots)

    async def _try_again_later(
        self, escrow: EscrowRecord, trouble: str, most_seconds: float = LONGEST_PAUSE_SECONDS
    ) -> None:
        """Keep the reason, and wait longer each time."""
        pause = min(jittered(pause_seconds(escrow.failures)), most_seconds)
        due_at, failures = self.ctx.clock.now() + pause, escrow.failures + 1
        await self.ctx.store.write(lambda tx: tx.escrows.looked_at(escrow, due_at, failures=failures, trouble=trouble))

    async def _watch_chain(self) -> None:
        """A new block wakes the escrows that wait for the chain; a reorganisation those that stood on it."""
        daemon = self.ctx.daemon
        if daemon is None:
            return
        tip: DaemonInfo | None = None
        while True:
            try:
                info = await daemon.get_info()
                if tip is not None and info.top_block_hash != tip.top_block_hash:
                    await self._wake_up(replaced=await _was_replaced(daemon, tip, info))
                tip = info
            except EscrowError as error:
                log.warning("daemon_silent", reason=error.message)
            await self.ctx.clock.sleep(self.ctx.settings.chain_poll_seconds)

    async def _wake_up(self, *, replaced: bool) -> None:
        now = self.ctx.clock.now()

        def wake(tx: Transaction) -> None:
            tx.escrows.wake(_WOKEN_BY_A_BLOCK, now)
            if replaced:
                tx.escrows.wake_not_final(now)

        if replaced:
            log.warning("reorganisation", reason="blocks were replaced; whatever is not final is looked at again")
        await self.ctx.store.write(wake)
        self._nudged.set()


async def _was_replaced(daemon: Daemon, tip: DaemonInfo, info: DaemonInfo) -> bool:
    """Whether the block that was the last one is in the chain no more."""
    if info.height <= tip.height:
        return True
    return (await daemon.get_block_header(tip.height - 1)).hash != tip.top_block_hash
