"""One seed from start to end: a stormy time in which people order, pay and decide, a calm one, and the checks."""

from __future__ import annotations

import asyncio
import hashlib
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import structlog

from monero_escrow.escrows.views import EscrowView
from simulation import books
from simulation.people import People, Trade, new_trade
from simulation.virtual_time import VirtualLoop
from simulation.weather import Climate, ServiceDiedError
from simulation.world import World, repeatable
from unit.slots import assert_books_balance

_LONGEST_STORM_SECONDS = 4 * 86_400
_LONGEST_CALM_SECONDS = 12 * 3_600
_LAST_LOOK_SECONDS = 1_300


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one seed came to. `problems` are sentences; there must be none."""

    seed: int
    problems: tuple[str, ...]
    struck: Counter[str]
    states: Counter[str]
    orders: int
    payouts: int
    held: int
    starts: int
    boundaries: Counter[str]
    nonces: int
    virtual_hours: float
    digest: str


def simulate(seed: int, folder: Path, *, orders: int = 8, climate: Climate | None = None) -> Outcome:
    """Run one seed on a database of its own in `folder`."""
    with repeatable(seed), _log_for_problems() as log, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_simulate(seed, folder, orders, climate, log))


async def _simulate(seed: int, folder: Path, orders: int, climate: Climate | None, log: _Log) -> Outcome:
    trades = [new_trade(Random(f"trade {seed}/{number}"), number) for number in range(orders)]
    async with World(seed, folder, climate) as world:
        world.weather.calm = False
        asyncio.get_running_loop().set_exception_handler(partial(_keep_stray_error, world))
        found = await _live(world, trades, seed)
        wrong = [*log.faults, *world.ledger.alarms, *world.broken]
        if isinstance(found, str):
            return _outcome(seed, world, trades, [], [*wrong, found], log)
        wrong += books.Books(world).problems(trades, found)
        conductor = world.conductor
        if conductor is None:
            wrong.append("The service is not there.")
        else:
            assert_books_balance(conductor.ctx.pool)
            if conductor.ctx.pool.stats().sick:
                wrong.append(f"A slot never came back: {conductor.ctx.pool!r}.")
        return _outcome(seed, world, trades, found, wrong, log)


def _keep_stray_error(world: World, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A task ended by an error that nobody asked for: a fault, unless the service was killed in it."""
    error = context.get("exception")
    if not isinstance(error, ServiceDiedError):
        world.broken.append(f"{context.get('message')}: {error!r}")


async def _live(world: World, trades: list[Trade], seed: int) -> list[EscrowView] | str:
    """The storm, then the calm; every escrow at the end, or what did not come to an end."""
    everybody = [People(world, trade, Random(f"people {seed}/{number}")) for number, trade in enumerate(trades)]
    lives = [
        asyncio.create_task(part) for people in everybody for part in (people.order(), people.pay(), people.decide())
    ]
    try:
        await asyncio.wait(lives, timeout=_LONGEST_STORM_SECONDS)
        world.check_tasks()
        world.weather.calm = True
        _, living = await asyncio.wait(lives, timeout=_LONGEST_CALM_SECONDS)
        if living:
            waiting = [f"{trade.order.order_id} ({trade.habit})" for trade in trades if not trade.over]
            return f"Some people never got done: {', '.join(waiting)}."
        for life in lives:
            life.result()
        for process in world.processes:
            process.kill()  # a last blow: every slot must come back from it, without the help of a restart
        return await _rest(world, trades)
    finally:
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)


async def _rest(world: World, trades: list[Trade]) -> list[EscrowView] | str:
    """Time runs on until the service has nothing more to do by itself, and looks at everything once more."""
    end = world.clock.now() + _LONGEST_CALM_SECONDS
    quiet_since: float | None = None
    left: list[str] = []
    while world.clock.now() < end:
        await world.clock.sleep(60)
        world.check_tasks()
        found = await world.request(lambda ctx: ctx.store.read(lambda tx: books.views(tx, trades)))
        if found is None:
            continue
        left = [f"{view.escrow.order_id} {what}." for view in found if (what := books.unfinished(view))]
        if left:
            quiet_since = None
        elif quiet_since is None:
            quiet_since = world.clock.now()
        elif world.clock.now() - quiet_since > _LAST_LOOK_SECONDS:
            return found
    return f"The service never came to rest: {' '.join(left)}"


def _outcome(
    seed: int, world: World, trades: list[Trade], found: list[EscrowView], wrong: list[str], log: _Log
) -> Outcome:
    payouts = [payout for view in found for payout in view.payouts]
    return Outcome(
        seed=seed,
        problems=tuple(wrong),
        struck=world.weather.struck + Counter(f"buyer pays: {trade.habit}" for trade in trades if trade.paid_piconero),
        states=Counter(view.escrow.state.value for view in found),
        orders=len(trades),
        payouts=len(payouts),
        held=sum(payout.state.value == "held" for payout in payouts),
        starts=world.starts,
        boundaries=world.weather.boundaries,
        nonces=world.ledger.nonces_used,
        virtual_hours=asyncio.get_running_loop().time() / 3_600,
        digest=log.digest.hexdigest(),
    )


class _Log:
    """Everything the service logged, as a digest, and what it logged as a fault of its own."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.faults: list[str] = []

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        loop = asyncio.get_running_loop()
        self.digest.update(f"{loop.time():.6f} {sorted(event.items(), key=str)}\n".encode())
        if event.get("exc_info"):
            self.faults.append(f"{event['event']}: {traceback.format_exc()}")
        raise structlog.DropEvent


@contextmanager
def _log_for_problems() -> Iterator[_Log]:
    """Listen to the service's log instead of printing it."""
    before = structlog.get_config()
    log = _Log()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, log], cache_logger_on_first_use=False)
    try:
        yield log
    finally:
        structlog.configure(**before)
