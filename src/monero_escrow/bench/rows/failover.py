"""A leased process is killed in the middle of its work: how long until the work goes on, and what had to be repeated?

SIGKILL at a random moment of a set-up, of a payout, and of a look at a deposit, on real processes, two a class; what
was killed is started again in its place. *Taken up* is the next step that began on whatever slot was there; the next
*good* step has run to its end, and what a replay scans until then is named beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from random import Random

from monero_escrow.bench.books import escrow_of, journal_of, when
from monero_escrow.bench.figures import Aim, Figure, Findings, On, Series, Unit, p50_and_p99
from monero_escrow.bench.market import CONFIRMATIONS, Market, market
from monero_escrow.bench.run import Run
from monero_escrow.bench.service_log import logged_calls
from monero_escrow.bench.stage import new_order_id
from monero_escrow.core.life_cycle import Event
from monero_escrow.monero.processes import ChildProcess
from monero_escrow.monero.supervision import Patience, Supervisor

_TRIOS_OF_SLOTS = 2
_LIMIT_SECONDS = 120.0
_LONGEST_BEFORE_SECONDS = 1.5
_OPENS, _CLOSES = frozenset({"get_address", "generate_from_keys", "open_wallet"}), frozenset({"close_wallet"})

Times = list[tuple[float, float]]
"""Of each kill, the seconds until the work was taken up, and until a step of it had run to its end."""


async def measure(run: Run) -> Findings:
    """So many kills of each kind, one after another."""
    kills, rng = run.pick(1, 10), Random(20)
    async with AsyncExitStack() as stack:
        supervisor = Supervisor(lambda _child: None, Patience(most_deaths=1_000))
        stack.push_async_callback(supervisor.aclose)
        place = await market(stack, run, trios=_TRIOS_OF_SLOTS, supervisor=supervisor)
        kinds: dict[str, Callable[[Market, Random], Awaitable[tuple[float, float]]]] = {
            "set-up": _in_a_set_up,
            "look at a deposit": _in_a_look,
            "payout": _in_a_payout,
        }
        found: dict[str, Times] = {name: [] for name in kinds}
        for name, kind in kinds.items():
            for number in range(kills):
                run.teller.say(f"killing in the middle of a {name}", number, kills)
                found[name].append(await kind(place, rng))
        blocks = (await place.chain.daemon.get_info()).height
    figures: list[Figure] = []
    for name, times in found.items():
        taken_up, good = ([row[part] for row in times] for part in (0, 1))
        if name != "look at a deposit":  # a look is one step: it has no row before its end
            figures += p50_and_p99(f"{name}: killed to taken up", taken_up, Unit.SECONDS, On.REAL, (Aim(2), None))
        figures += p50_and_p99(f"{name}: killed to next good step", good, Unit.SECONDS, On.REAL)
    figures.append(Figure("blocks a replay scans here, at most", float(blocks), Unit.BLOCKS, On.REAL))
    return Findings(
        figures=tuple(figures),
        series=tuple(Series(name, Unit.SECONDS, tuple(row[1] for row in times)) for name, times in found.items()),
        notes=(
            "A set-up that lost a process begins anew: its next good step is that three fresh wallets are made.",
            "The other wallets' calls that are under way are let run to their ends first; that is part of the time.",
        ),
    )


async def _in_a_set_up(place: Market, rng: Random) -> tuple[float, float]:
    """The journal names the slots; one of them dies."""
    order_id = new_order_id()
    request = asyncio.create_task(place.service.init_escrow(order_id))
    try:
        await asyncio.sleep(rng.uniform(0.3, 2 * _LONGEST_BEFORE_SECONDS))

        running: list[str] = []

        async def at_work() -> bool:
            escrow = await escrow_of(place.store, order_id)
            rows = [] if escrow is None else await journal_of(place.store, escrow.id)
            running[:] = [row.slot for row in rows if row.ended is None and row.slot is not None]
            return bool(running)

        await place.run.until(at_work, "a set-up to begin", limit_seconds=_LIMIT_SECONDS)
        slot = rng.choice(running)
        killed = await _kill(next(one for one in place.fleet.processes if slot.endswith(_place_of(one))))
        escrow = await escrow_of(place.store, order_id)
        escrow_id = "" if escrow is None else escrow.id
        times = await _next_step(place, escrow_id, killed)
        await request
    finally:
        request.cancel()
    return times


async def _in_a_payout(place: Market, rng: Random) -> tuple[float, float]:
    escrow_id = (await place.make_funded(1))[0]
    since = time.time()
    await place.release(escrow_id)
    killed = await _kill_one_at_work(place, rng, since)
    return await _next_step(place, escrow_id, killed)


async def _in_a_look(place: Market, rng: Random) -> tuple[float, float]:
    """Killed while the wallet looks for the deposit that has just become deep enough."""
    made = (await place.make_escrows(1))[0]
    escrow_id = str(made["escrow_id"])
    await place.pay([made])
    await place.miner.bury(CONFIRMATIONS - 1)
    since = time.time()
    await place.miner.bury(1)
    killed = await _kill_one_at_work(place, rng, since)

    async def funded() -> bool:
        return await when(place.store, escrow_id, Event.DEPOSIT_COMPLETE, killed) is not None

    await place.run.until(funded, "the look to be repeated", limit_seconds=_LIMIT_SECONDS)
    at = await when(place.store, escrow_id, Event.DEPOSIT_COMPLETE, killed) or killed
    return at - killed, at - killed


async def _kill_one_at_work(place: Market, rng: Random, since: float) -> float:
    """Wait until wallets are called, and a random while longer; kill one whose wallet was not closed yet."""

    async def any_at_work() -> bool:
        return bool(_at_work(place, since))

    await place.run.until(any_at_work, "a wallet to be opened", limit_seconds=_LIMIT_SECONDS, poll_seconds=0.02)
    await asyncio.sleep(rng.uniform(0, _LONGEST_BEFORE_SECONDS))
    victims = _at_work(place, since) or list(place.fleet.processes)
    return await _kill(rng.choice(victims))


def _at_work(place: Market, since: float) -> list[ChildProcess]:
    """Processes that were told to open a wallet and not yet to close it, by the service's log."""
    opened: set[str] = set()
    for call in logged_calls(place.service.log, since):
        if call.method in _OPENS:
            opened.add(call.url)
        elif call.method in _CLOSES:
            opened.discard(call.url)
    return [process for process in place.fleet.processes if process.url in opened]


async def _kill(process: ChildProcess) -> float:
    """SIGKILL; the moment of it."""
    killed = time.time()
    await process.kill()
    return killed


async def _next_step(place: Market, escrow_id: str, killed: float) -> tuple[float, float]:
    """Seconds from the kill to the next step that was begun, and to the next that was begun and ended well."""
    good = partial(_good_step, place, escrow_id, killed)

    async def happened() -> bool:
        return await good() is not None

    await place.run.until(happened, "a good step after a kill", limit_seconds=_LIMIT_SECONDS)
    begun = min(row.intended for row in await journal_of(place.store, escrow_id) if row.intended > killed)
    return begun - killed, (await good() or killed) - killed


async def _good_step(place: Market, escrow_id: str, killed: float) -> float | None:
    rows = await journal_of(place.store, escrow_id)
    ends = [row.ended for row in rows if row.ok and row.ended is not None and row.intended > killed]
    return min(ends, default=None)


def _place_of(process: ChildProcess) -> str:
    return process.url.removeprefix("http://")
