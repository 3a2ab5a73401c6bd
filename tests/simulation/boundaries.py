"""One order's whole life, short, with every act of the service numbered and named, and the service killed at chosen
ones: once, or again while it recovers.

A boundary is the moment before or after one call or commit. Its name says which ("after sign_multisig of the vendor",
"before commit journal.step.end.end: sign"); a name can occur several times in a life.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Protocol

from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.core.payout_states import PayoutState
from monero_escrow.escrows import decide
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.init_escrow import init_escrow
from monero_escrow.escrows.views import EscrowView
from monero_escrow.monero.fake.faults import Fault, Moment, Phase
from monero_escrow.store.records import EscrowRecord, PayoutRecord
from monero_escrow.store.transaction import Transaction
from simulation import books
from simulation.fate import Fate
from simulation.people import SHOP, Trade, new_trade
from simulation.planted import found_secrets
from simulation.run import Log, keep_stray_error, log_for_problems
from simulation.storage import forget
from simulation.virtual_time import VirtualLoop
from simulation.world import World, repeatable

_LONGEST_SECONDS = 2 * 86_400
_COUNTED_BLOCKS = 10
_FINAL_BLOCKS = 30
_HELD_CALLS = 0.5


@dataclass(frozen=True, slots=True)
class Crash:
    """Die at this boundary, when it has occurred `occurrence` times since the crash before (0: the first time)."""

    name: str
    occurrence: int = 0


@dataclass(frozen=True, slots=True)
class Life:
    """What a run came to. `names` are all boundaries after the last crash, in order; `crashes` those that happened."""

    problems: tuple[str, ...]
    names: tuple[str, ...]
    crashes: tuple[Crash, ...]
    signatures: int


class Plan(Protocol):
    """At which boundaries the service dies."""

    def dies(self, before: Crash | None, here: Crash) -> bool:
        """Whether it dies here; `before` is where it died last, if it did."""
        ...


class Planned:
    """At these, one after another."""

    def __init__(self, crashes: Sequence[Crash]) -> None:
        self._crashes = list(crashes)

    def dies(self, before: Crash | None, here: Crash) -> bool:
        """The next one of the list is its turn."""
        del before
        if not self._crashes or self._crashes[0] != here:
            return False
        self._crashes.pop(0)
        return True


class _Crashes(Fate):
    """Nothing goes wrong but the crashes that are planned."""

    def __init__(self, world: World, plan: Plan, rng: Random) -> None:
        super().__init__()
        self.names: list[str] = []
        self.happened: list[Crash] = []
        self._world = world
        self._plan = plan
        self._seen: Counter[str] = Counter()
        self._rng = rng

    def boundary(self, when: str, what: str) -> None:
        super().boundary(when, what)
        name = f"{when.partition(' ')[0]} {'commit ' if when.endswith('commit') else ''}{what}"
        here = Crash(name, self._seen[name])
        self.names.append(name)
        self._seen[name] += 1
        if self._plan.dies(self.happened[-1] if self.happened else None, here):
            self.happened.append(here)
            self.names.clear()
            self._seen.clear()
            self.die()

    async def __call__(self, moment: Moment) -> Fault:
        arriving = moment.phase is Phase.ARRIVING
        place = self._world.place_of(moment.url)
        self.boundary("before a call" if arriving else "after a call", f"{moment.method} of the {place}")
        if arriving:
            await asyncio.sleep(self._rng.uniform(0.005, 0.1))
        return Fault.NONE


def live(seed: int | str, plan: Plan, folder: Path, *, stock: bool = False) -> Life:
    """One order from init-escrow to its final settlement, with these crashes. `folder` is removed again.

    With `stock` the service keeps a trio in stock, and there is a second place in which addresses are kept first.
    """
    try:
        with repeatable(seed), log_for_problems() as log, asyncio.Runner(loop_factory=VirtualLoop) as runner:
            found = runner.run(_live(seed, plan, folder, log, stock))
    finally:
        forget(folder)
    return Life((*log.faults, *found.problems), found.names, found.crashes, found.signatures)


async def _live(seed: int | str, plan: Plan, folder: Path, log: Log, stock: bool) -> Life:
    trade = new_trade(Random(f"trade {seed}"), 0)
    fates: list[_Crashes] = []

    def make_fate(world: World) -> _Crashes:
        fates.append(_Crashes(world, plan, Random(f"calls {seed}")))
        return fates[0]

    settings: dict[str, Any] = {}
    if stock:
        second_place = folder / "second"
        second_place.mkdir(parents=True)
        settings = {"stock_target": 1, "backup_url": f"file://{second_place}"}
    async with World(seed, folder, make_fate, slots=3, quick=True, amid_work=_HELD_CALLS, **settings) as world:
        asyncio.get_running_loop().set_exception_handler(partial(keep_stray_error, world))
        found = await _Order(world, trade, Random(f"people {seed}")).live()
        wrong = [*world.ledger.alarms, *world.broken, *world.watch.problems]
        if isinstance(found, str):
            wrong.append(found)
        else:
            wrong += books.Books(world).problems([trade], [found])
        wrong += found_secrets(world, log.text())[0]
        return Life(tuple(wrong), tuple(fates[0].names), tuple(fates[0].happened), world.watch.looks["signature"])


class _Order:
    """Everybody who has to do with the one order: no waiting but for the service."""

    def __init__(self, world: World, trade: Trade, rng: Random) -> None:
        self._world = world
        self._trade = trade
        self._rng = rng
        self._way = rng.choice(("release", "refund", "ruling"))

    async def live(self) -> EscrowView | str:
        """From the order to the end; the escrow, or what did not come to an end."""
        world, trade = self._world, self._trade
        end = world.clock.now() + _LONGEST_SECONDS
        paid = False
        while world.clock.now() < end:
            await asyncio.sleep(self._rng.uniform(20, 25))  # the service has looked at the chain meanwhile
            world.check_tasks()
            if trade.escrow_id is None:
                await self._order()
                continue
            seen = await world.request(lambda ctx: ctx.store.read(self._look))
            if seen is None:
                continue
            escrow, payouts = seen
            trade.address = escrow.deposit_address
            if trade.address is not None and not paid:
                await world.payments.pay((trade.address, trade.order.terms.amount_piconero))
                paid = True
            await self._mine(payouts)
            if escrow.state in (State.FUNDED, State.DISPUTED):
                await world.request(lambda ctx, state=escrow.state: self._act(ctx, state))  # type: ignore[misc]
            if escrow.state in CLOSED_STATES and payouts and all(payout.final_at for payout in payouts):
                view = await world.request(lambda ctx: ctx.store.read(lambda tx: books.views(tx, [trade])[0]))
                if view is not None and books.unfinished(view) is None:
                    return view
        return "It never came to an end."

    async def _order(self) -> None:
        answer = await self._world.request(lambda ctx: init_escrow(ctx, SHOP, self._trade.order, "shop:acme:1"))
        if answer is not None:
            self._trade.escrow_id = answer[0].id
            self._world.watch.acknowledged.add(answer[0].id)

    def _look(self, tx: Transaction) -> tuple[EscrowRecord, list[PayoutRecord]]:
        escrow_id = self._trade.escrow_id or ""
        return tx.escrows.get(escrow_id), tx.payouts.of(escrow_id)

    async def _mine(self, payouts: Sequence[PayoutRecord]) -> None:
        """As many blocks as the service waits for, and no more."""
        chain = self._world.monero.chain
        if chain.pool:
            await self._world.monero.mine(_COUNTED_BLOCKS + 1)
        elif any(payout.state is PayoutState.SETTLED and payout.final_at is None for payout in payouts):
            mined = max(payout.mined_height or 0 for payout in payouts)
            await self._world.monero.mine(max(0, mined + _FINAL_BLOCKS - chain.height))

    async def _act(self, ctx: Context, state: State) -> None:
        escrow_id = self._trade.escrow_id or ""
        if state is State.DISPUTED:
            share = self._rng.choice((2_500, 5_000, 9_999))
            decision = await decide.ruling(ctx, escrow_id, "arbiter:ann:1", share, 10_000 - share)
        elif self._way == "ruling":
            decision = decide.dispute(ctx, escrow_id, "shop:acme:1", "not as described")
        else:
            way = decide.release if self._way == "release" else decide.refund
            decision = await way(ctx, escrow_id, "shop:acme:1")
        await ctx.store.write(decision)
        ctx.nudge(escrow_id)
