"""The stock: finished trios that wait for an order, so that it has its address at once.

A trio in stock is one like any other: made by the same set-up, passed by the same gate, and nobody's until an order
claims it (`claim.py`). It is made of idle time (`core/stock.py`), so this may never keep slots from an order: it leases
only what is free this moment, and never stands in the row of those who wait.
"""

from __future__ import annotations

import asyncio

import structlog

from monero_escrow.core.errors import EscrowError
from monero_escrow.core.pauses import FIRST_PAUSE_SECONDS, pause_seconds
from monero_escrow.core.roles import TRIO
from monero_escrow.core.stock import trios_to_begin
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.set_up import make_trio
from monero_escrow.fleet.pool import NoSlotFreeError
from monero_escrow.jitter import jittered

log = structlog.get_logger(__name__)

WORK = "set-up of a trio for the stock"
"""What a lease for it is called."""

_LOOK_SECONDS = 5.0


async def make_one(ctx: Context) -> None:
    """Put one more finished trio into the stock. Raises NoSlotFreeError at once, or what kept it from being made."""
    async with ctx.lease(TRIO, WORK, wait_seconds=0) as lease:
        await make_trio(ctx, lease, escrow_id=None)


class StockKeeper:
    """Keeps STOCK_TARGET trios ready. Use `run()` as one task and cancel it to stop.

    What is ready stands in the database, so a restart goes on with it.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._making: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._failures = 0
        self._rests_until = 0.0
        self._in_doubt = False

    async def run(self) -> None:
        """Until cancelled; with a target of 0 only what an earlier run left unfinished is put aside."""
        await self._put_left_over_aside()
        if self._ctx.settings.stock_target == 0:
            return
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._ended.clear()
                for _ in range(await self._to_begin()):
                    task = tasks.create_task(self._make())
                    self._making.add(task)
                    task.add_done_callback(self._has_ended)
                await self._until_one_ended(jittered(_LOOK_SECONDS))

    async def _put_left_over_aside(self) -> None:
        """What an earlier run began is begun by nobody again: its wallets may be in any state."""
        while True:
            try:
                await self._put_aside()
            except EscrowError as error:
                log.warning("stock_waits", code=error.code, reason=error.message)
                await self._ctx.clock.sleep(jittered(FIRST_PAUSE_SECONDS))
            else:
                return

    async def _put_aside(self) -> None:
        """Whatever of the stock stands as being made here is not: none is, this moment."""
        now, here = self._ctx.clock.now(), self._ctx.maker()
        trouble = "the service ended, or lost its database, while it was made"
        await self._ctx.store.write(lambda tx: tx.trios.abandon_left_over(trouble, now, here))
        self._in_doubt = False

    async def _to_begin(self) -> int:
        ctx = self._ctx
        if not ctx.takes_up() or ctx.clock.monotonic() < self._rests_until:
            return 0
        now, here = ctx.clock.now(), ctx.maker()
        try:
            if self._in_doubt and not self._making:
                await self._put_aside()
            ready, elsewhere = await ctx.store.read(
                lambda tx: (len(tx.trios.stock_ages(now)), tx.trios.stock_made_elsewhere(here))
            )
        except EscrowError as error:
            self._rest(error)
            return 0
        return trios_to_begin(
            ctx.settings.stock_target,
            ready=ready,
            making=len(self._making),
            elsewhere=elsewhere,
            idle=ctx.pool.stats().set_ups_possible,
            loads=ctx.pool.load(),
        )

    async def _make(self) -> None:
        try:
            await make_one(self._ctx)
        except NoSlotFreeError:
            return  # an order came first
        except EscrowError as error:
            self._in_doubt = True  # perhaps not even that it failed could be written down
            self._rest(error)
        except Exception:  # a fault of ours must stop neither the service nor the orders
            log.exception("stock_failed")
            self._in_doubt = True
            self._rest(None)
        else:
            self._failures = 0
            log.info("stock_made")

    def _rest(self, error: EscrowError | None) -> None:
        """Whatever is wrong, orders suffer from it too: try less and less often, and say why."""
        pause = jittered(pause_seconds(self._failures))
        self._failures += 1
        self._rests_until = self._ctx.clock.monotonic() + pause
        if error is not None:
            log.warning(
                "stock_waits", code=error.code, reason=error.message, failures=self._failures, seconds=round(pause, 1)
            )

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._making.discard(task)
        self._ended.set()

    async def _until_one_ended(self, at_most_seconds: float) -> None:
        timer = asyncio.create_task(self._ctx.clock.sleep(at_most_seconds))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait([timer, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            ended.cancel()
