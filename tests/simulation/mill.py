"""The people of a mill of payouts: they pay, decide several times at once, take up what stopped, and replace blocks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any

from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.escrows import decide, held
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.decide import Decision
from monero_escrow.escrows.init_escrow import init_escrow
from monero_escrow.escrows.views import EscrowView
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.transaction import Transaction
from simulation import books
from simulation.people import SHOP, Trade
from simulation.reorganisations import Reorganisations
from simulation.surroundings import Surroundings
from simulation.weather import Weather

_PAID_AT_ONCE = 8
_STEP_SECONDS = 25
_STEPS_BETWEEN_BLOCKS = 3
_BLOCKS_AT_ONCE = 4
_MOST_STEPS = 1_000
_ACTOR = "shop:acme:1"


class Mill:
    """The people of one world, and its chain."""

    def __init__(self, world: Surroundings, weather: Weather, trades: list[Trade], rng: Random) -> None:
        self.trades = trades
        self.asked: Counter[str] = Counter()
        self._world = world
        self._weather = weather
        self._rng = rng
        self._reorganisations = Reorganisations(world, weather, rng)

    async def run(self, rounds: int) -> str | None:
        """Addresses in calm weather; then the orders and the rounds in a storm; then calm. What did not end, if so."""
        await self._set_up()
        self._weather.calm = False
        for number in range(rounds + 1):
            await self._pay(first=number == 0)
            if not await self._until(self._all_decided, self._decide):
                return f"Some coins of round {number} were never decided about."
            if not await self._until(self._all_sent, self._operate):
                return f"Some payouts of round {number} never reached the network."
            await self._world.monero.mine(1)
            await self._replace_blocks()
            await self._world.monero.mine(10)
        self._weather.calm = True
        if not await self._until(self._all_final, self._mine_and_operate):
            return "Some payouts were never final."
        return None

    async def views(self) -> list[EscrowView]:
        """Every escrow at the end."""
        found: list[EscrowView] = await self._ask(lambda ctx: ctx.store.read(lambda tx: books.views(tx, self.trades)))
        return found

    async def _set_up(self) -> None:
        for trade in self.trades:
            answer: tuple[EscrowRecord, bool] = await self._ask(partial(_order, trade=trade))
            escrow = answer[0]
            trade.escrow_id = escrow.id
            self._world.watch.acknowledged.add(escrow.id)
        while any(trade.address is None for trade in self.trades):
            await asyncio.sleep(_STEP_SECONDS)
            self._world.check_tasks()
            for trade, view in zip(self.trades, await self.views(), strict=True):
                trade.address = view.escrow.deposit_address

    async def _pay(self, *, first: bool) -> None:
        """Pay everybody, and mine until it counts."""
        due = []
        for trade in self.trades:
            amount = trade.order.terms.amount_piconero if first else self._rng.randint(10**10, 10**11)
            parts = [amount] if self._rng.random() < 0.7 else [amount // 3, amount - amount // 3]
            due += [(trade.address or "", part) for part in parts]
        for start in range(0, len(due), _PAID_AT_ONCE):
            await self._world.payments.pay(*due[start : start + _PAID_AT_ONCE])
        await self._world.monero.mine(11)

    # --- decisions ---

    async def _decide(self) -> None:
        """Everybody who can decide does so, several times at once; each time somebody is refused."""
        ready = await self._world.request(lambda ctx: ctx.store.read(self._undecided))
        requests = []
        for escrow_id, state in ready or ():
            ways = self._ways(state)
            if not ways:
                continue
            times = self._rng.choice((1, 2, 2, 3))
            self.asked["double request"] += times > 1
            requests += [self._request(escrow_id, self._rng.choice(ways)) for _ in range(times)]
        await asyncio.gather(*requests)

    def _ways(self, state: State) -> tuple[str, ...]:
        if state is State.FUNDED:
            return ("release", "release", "refund", "dispute")
        if state is State.DISPUTED:
            return ("ruling",)
        return ("refund", "release") if state in CLOSED_STATES else ()

    async def _request(self, escrow_id: str, way: str) -> None:
        await asyncio.sleep(self._rng.uniform(0, 0.5))
        done = await self._world.request(partial(self._act, escrow_id=escrow_id, way=way))
        self.asked["decision taken"] += done is not None

    async def _act(self, ctx: Context, *, escrow_id: str, way: str) -> bool:
        decision: Decision
        if way == "ruling":
            share = self._rng.choice((2_500, 5_000, 9_999))
            decision = await decide.ruling(ctx, escrow_id, "arbiter:ann:1", share, 10_000 - share)
        elif way == "dispute":
            decision = decide.dispute(ctx, escrow_id, _ACTOR, "not as described")
        else:
            decision = await (decide.release if way == "release" else decide.refund)(ctx, escrow_id, _ACTOR)
        await ctx.store.write(decision)
        ctx.nudge(escrow_id)
        return True

    def _undecided(self, tx: Transaction) -> list[tuple[str, State]]:
        """Escrows with coins that count and that nobody has decided about."""
        query = (
            "SELECT DISTINCT escrows.id, escrows.state FROM escrows JOIN outputs ON escrow_id = escrows.id "
            "WHERE payout_id IS NULL AND status = 'counted' ORDER BY escrows.id"
        )
        return [(row.id, State(row.state)) for row in tx.connection.exec_driver_sql(query)]

    async def _operate(self) -> None:
        """Payouts that stopped for a person are taken up again, one way or the other."""
        stopped = await self._world.request(lambda ctx: ctx.store.read(held_payouts)) or ()
        for escrow_id, number in stopped:
            take_up = self._rng.choice((held.to_resume, held.to_replace))
            self.asked["held payout taken up"] += 1

            async def act(ctx: Context, escrow_id=escrow_id, number=number, take_up=take_up) -> None:  # type: ignore[no-untyped-def]
                await ctx.store.write(take_up(escrow_id, number, "operator:olga:1", ctx.clock.now()))
                ctx.nudge(escrow_id)

            await self._world.request(act)

    async def _mine_and_operate(self) -> None:
        await self._operate()
        await self._world.monero.mine(1)

    # --- the chain ---

    async def _replace_blocks(self) -> None:
        """After a round, in one of two, some blocks are replaced; what was paid in them is often forgotten."""
        if self._rng.random() < 0.5:
            await self._world.monero.mine(self._rng.randint(0, 8))
            await asyncio.sleep(self._rng.uniform(0, 60))
            if self._rng.random() < 0.5:
                await self._reorganisations.forget_payouts(self._rng.randint(1, 20))
            else:
                await self._reorganisations.shallow()

    async def _mine_a_few(self) -> None:
        """Quickly, so that payouts are mined while the daemon is asked about the block before, which left them out."""
        for number in range(_BLOCKS_AT_ONCE):
            await self._world.monero.mine(1, empty=number == 0)
            await asyncio.sleep(self._rng.uniform(0, 2))

    # --- waiting ---

    async def _ask(self, work: Callable[[Context], Awaitable[Any]]) -> Any:
        while (answer := await self._world.request(work)) is None:
            await asyncio.sleep(_STEP_SECONDS)
            self._world.check_tasks()
        return answer

    async def _until(self, done: Callable[[Transaction], bool], meanwhile: Callable[[], Awaitable[None]]) -> bool:
        """Wait until the database says so, doing something every little while; False when it takes too long."""
        for step in range(_MOST_STEPS):
            if step % _STEPS_BETWEEN_BLOCKS == _STEPS_BETWEEN_BLOCKS - 1:
                await self._mine_a_few()
            await meanwhile()
            await asyncio.sleep(_STEP_SECONDS)
            self._world.check_tasks()
            if await self._world.request(lambda ctx: ctx.store.read(done)):
                return True
        return False

    def _all_decided(self, tx: Transaction) -> bool:
        """Every coin that came belongs to a payout."""
        booked = _count(tx, "SELECT coalesce(sum(amount_piconero), 0) FROM outputs WHERE payout_id IS NOT NULL")
        return booked == sum(self._world.payments.to(trade.address or "") for trade in self.trades)

    def _all_sent(self, tx: Transaction) -> bool:
        return not _count(tx, "SELECT count(*) FROM payouts WHERE state NOT IN ('broadcast', 'settled')")

    def _all_final(self, tx: Transaction) -> bool:
        """One that is merely settled may have fallen out of the chain, and nobody has noticed yet."""
        return not _count(tx, "SELECT count(*) FROM payouts WHERE state <> 'settled' OR final_at IS NULL")


async def _order(ctx: Context, *, trade: Trade) -> tuple[EscrowRecord, bool]:
    return await init_escrow(ctx, SHOP, trade.order, _ACTOR)


def _count(tx: Transaction, query: str, *values: object) -> int:
    return int(tx.connection.exec_driver_sql(query, values).scalar_one())


def held_payouts(tx: Transaction) -> list[tuple[str, int]]:
    """Escrow and number of each payout that waits for a person."""
    query = "SELECT escrow_id, number FROM payouts WHERE state = 'held' ORDER BY escrow_id, number"
    return [(row.escrow_id, row.number) for row in tx.connection.exec_driver_sql(query)]
