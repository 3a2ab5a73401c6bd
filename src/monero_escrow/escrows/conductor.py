"""The conductor: sees to it that every escrow is advanced when it is due, one caller at a time, and none is forgotten.

It holds no truth: what is due stands in the database, so a restart goes on where it was. The scan of the chain
(`scan_chain.py`) wakes the escrows to which something came. A step that fails is tried again after a growing pause, and
the reason stays on the escrow.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog

from monero_escrow.core.errors import EscrowError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.pauses import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, pause_seconds
from monero_escrow.escrows.advance import advance
from monero_escrow.escrows.context import Context, new_id
from monero_escrow.escrows.next_look import FOLLOW_SECONDS
from monero_escrow.escrows.scan_chain import ChainScan
from monero_escrow.jitter import jittered
from monero_escrow.monero.errors import TransportError, WalletFileLockedError
from monero_escrow.monero.ports import Daemon
from monero_escrow.nodes.bell import ANY_ESCROW
from monero_escrow.nodes.claims import Claims, Horizons, SoleClaims
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.work_table import Claim, ClaimLostError

log = structlog.get_logger(__name__)

_LEAST_AT_ONCE = 64
_MOST_REQUESTS_REMEMBERED = 10_000
_WORK_CHARACTERS = 8
_SCAN_DUTY_SECONDS = 2.0
_SCAN_GIVEN_UP_SECONDS = 8.0
"""Whoever could not scan leaves it to the others for so long."""
_STUCK_SECONDS = 600.0
_MOST_SECONDS_FOR_ANOTHER_SLOT = 8.0
"""A process that failed is not leased again; another one takes the work over, and need not be waited for long."""


class Conductor:
    """Runs the service's own part of every escrow. Use `run()` as one task and cancel it to stop."""

    def __init__(self, ctx: Context, claims: Claims | None = None, ring: Callable[[str], None] | None = None) -> None:
        self.claims = claims or SoleClaims(ctx.store, ctx.clock)
        self.ctx = replace(ctx, nudge=self.nudge, require_work=self.claims.require)
        self._ring = ring
        self._nudged = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._requests: dict[str, str] = {}
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._turned_at: float | None = None

    def nudge(self, escrow_id: str) -> None:
        """An escrow has something to do at once. Its work is logged under the id of the request that asked for it.

        That is remembered here alone: what another node takes up is logged under the escrow's id and a `work` id, as
        is what nobody asked for.
        """
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        if request_id is not None and len(self._requests) < _MOST_REQUESTS_REMEMBERED:
            self._requests[escrow_id] = request_id
        self._nudged.set()
        if self._ring is not None:
            self._ring(escrow_id)

    def hear(self, escrow_id: str) -> None:
        """Another node says that this escrow has something to do, or that something was done."""
        self._nudged.set()
        for listener in self._listeners.get(escrow_id, ()):
            listener.set()

    def stop_all(self) -> None:
        """What is under way is somebody else's from now on."""
        for task in self._running:
            task.cancel()

    async def run(self) -> None:
        """Until cancelled; cancellation ends the work under way, which the next start takes up again.

        A fault of ours in here is raised, so that the service stops rather than look alive and do nothing.
        """
        async with asyncio.TaskGroup() as tasks:
            if self.ctx.daemon is not None:
                tasks.create_task(self._scan(self.ctx.daemon))
            while True:
                self._turned_at = asyncio.get_running_loop().time()
                self._nudged.clear()
                try:
                    await self._start_due(tasks)
                    await self._idle()
                except EscrowError as error:  # the database is busy or full: nothing can be begun before it answers
                    log.error("conductor_waits", code=error.code, reason=error.message)  # noqa: TRY400
                    await self.ctx.clock.sleep(FIRST_PAUSE_SECONDS)

    @property
    def turns(self) -> bool:
        """Whether it still asks for what is due. It does every half minute; the database's limits are much shorter than
        ours, so that one which does not answer is no reason to doubt it. Before its first turn it is not doubted."""
        since = self._turned_at
        return since is None or asyncio.get_running_loop().time() - since < _STUCK_SECONDS

    async def _scan(self, daemon: Daemon) -> None:
        """Scan the chain whenever that is this node's to do: one of them does it for all."""
        while True:
            store = await self.claims.take_scan()
            if store is not None:
                scan = ChainScan(replace(self.ctx, store=store), self._wake_all)
                with suppress(ClaimLostError):
                    await scan.run(daemon, patience=self.claims.scan_patience)
                log.warning("scan_left", reason="its daemon does not answer, or another node scans")
                await self.claims.give_scan_back()
                await self.ctx.clock.sleep(jittered(_SCAN_GIVEN_UP_SECONDS))
            await self.ctx.clock.sleep(jittered(_SCAN_DUTY_SECONDS))

    def _wake_all(self) -> None:
        """The scan made something due; which node works on it, the database says."""
        self._nudged.set()
        if self._ring is not None:
            self._ring(ANY_ESCROW)

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
        room = self._most_at_once - len(self._running)
        if room <= 0:
            return
        settings = self.ctx.settings
        work = max(FOLLOW_SECONDS, settings.chain_poll_seconds, LONGEST_PAUSE_SECONDS) + 1
        looks = max(work, settings.deposit_sweep_seconds + 1)
        for claim in await self.claims.take(room, Horizons(work, looks)):
            task = tasks.create_task(self._work_on(claim))
            self._running.add(task)
            task.add_done_callback(partial(self._ended, claim))

    @property
    def _most_at_once(self) -> int:
        """As many as there are slots to work on, and some that ask only the daemon."""
        return max(_LEAST_AT_ONCE, self.ctx.pool.stats().total)

    def _ended(self, claim: Claim, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self.claims.ended(claim)
        for listener in self._listeners.get(claim.subject, ()):
            listener.set()
        self._nudged.set()

    async def _idle(self) -> None:
        """Wait for a nudge, or until the next escrow is due."""
        next_due = await self.claims.next_due_at()
        seconds = self.claims.longest_idle_seconds
        if next_due is not None and len(self._running) < self._most_at_once:
            seconds = min(seconds, max(self.claims.least_idle_seconds, next_due - self.ctx.clock.now()))
        timer = asyncio.create_task(self.ctx.clock.sleep(seconds))
        nudged = asyncio.create_task(self._nudged.wait())
        try:
            await asyncio.wait([timer, nudged], return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            nudged.cancel()

    async def _work_on(self, claim: Claim) -> None:
        escrow_id = claim.subject
        request_id = self._requests.pop(escrow_id, None)
        names = {"escrow_id": escrow_id, "work": new_id()[:_WORK_CHARACTERS]}
        with structlog.contextvars.bound_contextvars(**_with_request(names, request_id)):
            if claim.taken_over:
                self.ctx.metrics.takeovers.inc()
                log.warning("taken_over", reason="the lease of the node that worked on it has ended")
            ctx = replace(
                self.ctx, store=self.claims.store_for(claim), require_work=partial(self.claims.require, claim)
            )
            try:
                if not await self._advance(ctx, escrow_id) and request_id is not None:
                    self._requests.setdefault(escrow_id, request_id)  # the next try is still that request's work
            except ClaimLostError as error:
                log.warning("claim_lost", reason=error.message)
            except EscrowError as error:  # not even the reason could be written down
                log.error("database_silent", code=error.code, reason=error.message)  # noqa: TRY400
                await self.ctx.clock.sleep(FIRST_PAUSE_SECONDS)
            finally:
                await self.claims.give_back(claim)

    async def _advance(self, ctx: Context, escrow_id: str) -> bool:
        """Whether it went as it should; else it is tried again, and when, is written down."""
        escrow = await ctx.store.read(lambda tx: tx.escrows.get(escrow_id))
        worked = False
        try:
            with structlog.contextvars.bound_contextvars(attempt=escrow.failures + 1):
                await advance(ctx, escrow)
            worked = True
        except ClaimLostError:
            raise
        except EscrowError as error:
            self.ctx.metrics.retries.labels(error.code).inc()
            log.warning("step_failed", code=error.code, reason=error.message, failures=escrow.failures + 1)
            most = LONGEST_PAUSE_SECONDS
            if self._is_of_a_slot(error):  # the first time, another slot is tried at once
                self.ctx.metrics.failovers.inc()
                most = _MOST_SECONDS_FOR_ANOTHER_SLOT if escrow.failures else 0.0
            await _try_again_later(ctx, escrow, error.public_message, most)
        except Exception as error:  # a fault of ours must not stop the other escrows
            log.exception("advance_failed")
            await _try_again_later(ctx, escrow, f"Internal error: {type(error).__name__}.")
        if self._ring is not None and escrow.state is State.SETTING_UP:
            self._ring(escrow_id)  # whoever asked for the address may be waiting at another node
        return worked

    def _is_of_a_slot(self, error: EscrowError) -> bool:
        """Whether one process did not answer, where others may; there is only one daemon. It may have left by now.

        A locked file too: a slot that turned sick still has the wallet open, and is replaced in moments.
        """
        if isinstance(error, WalletFileLockedError):
            return True
        return isinstance(error, TransportError) and (self.ctx.daemon is None or error.url != self.ctx.daemon.url)


def _with_request(names: dict[str, str], request_id: str | None) -> dict[str, str]:
    return names if request_id is None else {**names, "request_id": request_id}


async def _try_again_later(
    ctx: Context, escrow: EscrowRecord, trouble: str, most_seconds: float = LONGEST_PAUSE_SECONDS
) -> None:
    """Keep the reason, and wait longer each time."""
    pause = min(jittered(pause_seconds(escrow.failures)), most_seconds)
    due_at, failures = ctx.clock.now() + pause, escrow.failures + 1
    await ctx.store.write(lambda tx: tx.escrows.looked_at(escrow, due_at, failures=failures, trouble=trouble))
