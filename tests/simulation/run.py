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
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.store import SqlStore
from simulation import books
from simulation.fate import ServiceDiedError
from simulation.people import People, Trade, new_trade
from simulation.planted import found_secrets
from simulation.storms import Storms
from simulation.surroundings import Surroundings
from simulation.virtual_time import VirtualLoop
from simulation.weather import Climate, Weather
from simulation.world import SWEEP_SECONDS, World, repeatable
from unit.slots import assert_books_balance

_LONGEST_STORM_SECONDS = 20 * 3_600
_LONGEST_CALM_SECONDS = 12 * 3_600
_LAST_LOOK_SECONDS = SWEEP_SECONDS + 300
_STOCK_TARGETS = (0, 1, 4)


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
    looks: Counter[str]
    virtual_hours: float
    digest: str


def simulate(seed: int, folder: Path, *, orders: int = 8, climate: Climate | None = None, **settings: Any) -> Outcome:
    """Run one seed on a database of its own in `folder`."""
    with repeatable(seed), log_for_problems() as log, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_simulate(seed, folder, orders, climate or Climate(), log, settings))


async def _simulate(
    seed: int, folder: Path, orders: int, climate: Climate, log: Log, settings: dict[str, Any]
) -> Outcome:
    trades = [new_trade(Random(f"trade {seed}/{number}"), number) for number in range(orders)]
    weather: list[Weather] = []

    def make_weather(world: World) -> Weather:
        weather.append(Weather(Random(f"weather {seed}"), lambda: world.monero.daemon.url, climate))
        return weather[0]

    settings = {"stock_target": _STOCK_TARGETS[seed % len(_STOCK_TARGETS)], **settings}
    async with World(seed, folder, make_weather, amid_work=climate.of_held_call, **settings) as world:
        storms = Storms(world, weather[0], Random(f"storms {seed}"))
        for storm in storms.tasks():
            world.also(storm)
        weather[0].calm = False
        asyncio.get_running_loop().set_exception_handler(partial(keep_stray_error, world))
        found = await _Life(world, weather[0], storms, trades, seed).live()
        wrong = [*log.faults, *world.ledger.alarms, *world.broken]
        if isinstance(found, str):
            return _outcome(seed, world, trades, [], [*wrong, *world.watch.problems, found], log)
        wrong += books.Books(world).problems(trades, found)
        secrets, looked_for = found_secrets(world, log.text())
        wrong += secrets
        world.watch.looks["secret"] += looked_for
        world.watch.look_at_database()
        wrong += found_in_trail(world.watch.store)
        conductor = world.conductor
        if conductor is None:
            wrong.append("The service is not there.")
        else:
            assert_books_balance(conductor.ctx.pool)
            if conductor.ctx.pool.stats().sick:
                wrong.append(f"A slot never came back: {conductor.ctx.pool!r}.")
        return _outcome(seed, world, trades, found, [*wrong, *world.watch.problems], log)


def found_in_trail(store: SqlStore | None) -> list[str]:
    """What is wrong with the audit trail; whatever struck the service, no row is missing and none is out of place."""
    if store is None:
        return []
    return [trouble.message for trouble in store.read_now(verify).troubles]


def keep_stray_error(world: Surroundings, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A task ended by an error that nobody asked for: a fault, unless the service was killed in it."""
    error = context.get("exception")
    if not isinstance(error, ServiceDiedError):
        world.broken.append(f"{context.get('message')}: {error!r}")


class _Life:
    """The storm, then the calm; every escrow at the end, or what did not come to an end."""

    def __init__(self, world: World, weather: Weather, storms: Storms, trades: list[Trade], seed: int) -> None:
        self._world = world
        self._weather = weather
        self._storms = storms
        self._trades = trades
        self._people = [People(world, trade, Random(f"people {seed}/{number}")) for number, trade in enumerate(trades)]

    async def live(self) -> list[EscrowView] | str:
        """From the first order to rest."""
        lives = [
            asyncio.create_task(part)
            for people in self._people
            for part in (people.order(), people.pay(), people.decide())
        ]
        try:
            await asyncio.wait(lives, timeout=_LONGEST_STORM_SECONDS)
            self._world.check_tasks()
            self._weather.calm = True
            _, living = await asyncio.wait(lives, timeout=_LONGEST_CALM_SECONDS)
            if living:
                waiting = [f"{trade.order.order_id} ({trade.habit})" for trade in self._trades if not trade.over]
                return f"Some people never got done: {', '.join(waiting)}."
            for life in lives:
                life.result()
            for process in self._world.processes:
                process.kill()  # a last blow: every slot must come back from it, without the help of a restart
            return await self._rest()
        finally:
            for life in lives:
                life.cancel()
            await asyncio.gather(*lives, return_exceptions=True)

    async def _rest(self) -> list[EscrowView] | str:
        """Time runs on until the service has nothing more to do by itself, and looks at everything once more."""
        end = self._world.clock.now() + _LONGEST_CALM_SECONDS
        quiet_since: float | None = None
        left: list[str] = []
        while self._world.clock.now() < end:
            await asyncio.sleep(60)
            self._world.check_tasks()
            found = await self._world.request(lambda ctx: ctx.store.read(lambda tx: books.views(tx, self._trades)))
            if found is None:
                continue
            left = [f"{view.escrow.order_id} {what}." for view in found if (what := books.unfinished(view))]
            if left or self._storms.mending or self._world.monero.chain.pool:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = self._world.clock.now()
            elif self._world.clock.now() - quiet_since > _LAST_LOOK_SECONDS:
                return found
        return f"The service never came to rest: {' '.join(left)}"


def _outcome(
    seed: int, world: World, trades: list[Trade], found: list[EscrowView], wrong: list[str], log: Log
) -> Outcome:
    payouts = [payout for view in found for payout in view.payouts]
    return Outcome(
        seed=seed,
        problems=tuple(wrong),
        struck=world.fate.struck + Counter(f"buyer pays: {trade.habit}" for trade in trades if trade.paid),
        states=Counter(view.escrow.state.value for view in found),
        orders=len(trades),
        payouts=len(payouts),
        held=sum(payout.state.value == "held" for payout in payouts),
        starts=world.starts,
        boundaries=world.fate.boundaries,
        nonces=world.ledger.nonces_used,
        looks=world.watch.looks,
        virtual_hours=asyncio.get_running_loop().time() / 3_600,
        digest=log.digest.hexdigest(),
    )


class Log:
    """Everything the service logged, as a digest, and what it logged as a fault of its own."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.faults: list[str] = []
        self._lines: list[str] = []

    def text(self) -> str:
        """All of it, as it was given to the log."""
        return "\n".join(self._lines)

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        loop = asyncio.get_running_loop()
        line = f"{loop.time():.6f} {sorted(event.items(), key=str)}"
        self._lines.append(line)
        self.digest.update(line.encode())
        if event.get("exc_info"):
            self.faults.append(f"{event['event']}: {traceback.format_exc()}")
        raise structlog.DropEvent


@contextmanager
def log_for_problems() -> Iterator[Log]:
    """Listen to the service's log instead of printing it."""
    before = structlog.get_config()
    log = Log()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, log], cache_logger_on_first_use=False)
    try:
        yield log
    finally:
        structlog.configure(**before)
