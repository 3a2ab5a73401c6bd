"""Orders and payouts on several nodes that are struck down again and again: nothing is lost, nothing is paid twice.

Each round brings new orders, whose set-ups are taken over; then all addresses are paid, and the payouts are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from unittest.mock import patch

from monero_escrow.core import address
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows import held
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.init_escrow import init_escrow
from monero_escrow.store.transaction import Transaction
from simulation import books
from simulation.claims_watch import Takeover
from simulation.cluster import Cluster
from simulation.mill import Mill, held_payouts
from simulation.payouts import cached_is_prime_order_point
from simulation.people import SHOP, Trade, new_trade
from simulation.run import keep_stray_error, log_for_problems
from simulation.storage import forget
from simulation.strikes import Strikes
from simulation.virtual_time import VirtualLoop
from simulation.weather import Weather
from simulation.world import repeatable

ORDERS_A_ROUND = 12
_NODES = 3
_SLOTS = 12
_LEASES = (4.0, 8.0, 15.0)
_PAID_AT_ONCE = 8
_LATE_PAID = 12
_MOST_LOOKS = 500
_ACTOR = "shop:acme:1"


@dataclass(frozen=True, slots=True)
class Lived:
    """What one cluster came to. `problems` are sentences; there must be none."""

    seed: int
    lease_seconds: float
    problems: tuple[str, ...]
    takeovers: tuple[Takeover, ...]
    struck: Counter[str]
    looks: Counter[str]
    orders: int
    payouts: int
    starts: int
    virtual_hours: float


def live_together(seed: int, rounds: int, folder: Path, *, failovers: bool = True) -> Lived:
    """One cluster from its first order to its last payout. `folder` is removed again."""
    try:
        with (
            repeatable(seed),
            log_for_problems() as log,
            patch.object(address, "is_prime_order_point", cached_is_prime_order_point),
            asyncio.Runner(loop_factory=VirtualLoop) as runner,
        ):
            lived = runner.run(_live(seed, rounds, folder, log.faults, failovers))
    finally:
        forget(folder)
    return lived


async def _live(seed: int, rounds: int, folder: Path, faults: Sequence[str], failovers: bool) -> Lived:
    rng, lease_seconds = Random(f"together {seed}"), _LEASES[seed % len(_LEASES)]
    async with Cluster(
        seed, folder, nodes=_NODES, slots=_SLOTS, lease_seconds=lease_seconds, look_every_commits=10
    ) as cluster:
        asyncio.get_running_loop().set_exception_handler(partial(keep_stray_error, cluster))
        strikes = Strikes(cluster, Random(f"strikes {seed}"), failovers=failovers)
        cluster.also(strikes.run())
        cluster.also(strikes.clocks())
        cluster.also(_keep_processes(cluster, rng))
        people = _People(cluster, strikes, rng)
        problem = await people.run(rounds)
        cluster.watch.look_at_database()
        wrong = [*faults, *cluster.ledger.alarms, *cluster.broken, *cluster.server.broken, *cluster.watch.problems]
        found = await people.views()
        if problem is not None:
            wrong.append(problem)
            wrong += [f"{view.escrow.order_id} {what}." for view in found if (what := books.unfinished(view))]
        wrong += books.Books(cluster, cluster.watch.lost_txids).problems(people.trades, found)
        wrong += [f"{escrow_id} was never taken over." for escrow_id in cluster.watch.waiting]
        return Lived(
            seed,
            lease_seconds,
            tuple(wrong),
            tuple(cluster.watch.takeovers),
            cluster.struck + people.asked,
            cluster.watch.looks,
            orders=len(people.trades),
            payouts=sum(len(view.payouts) for view in found),
            starts=sum(node.starts for node in cluster.nodes),
            virtual_hours=asyncio.get_running_loop().time() / 3_600,
        )


async def _keep_processes(cluster: Cluster, rng: Random) -> None:
    """Whatever died or lost a call is started anew; before that, the lost call may still run."""
    while True:
        await asyncio.sleep(rng.uniform(5, 60))
        for node in cluster.nodes:
            for process in node.processes if node.conductor is not None else ():
                if process.abandoned and rng.random() < 0.7:
                    process.run_late_calls()
                if process.abandoned:
                    process.kill()
                if not process.running:
                    process.start()


class _People(Mill):
    """They order from any node, pay, decide, and take up what stopped, while nodes come and go."""

    def __init__(self, cluster: Cluster, strikes: Strikes, rng: Random) -> None:
        sky = Weather(Random("sky"), lambda: "")
        sky.struck = cluster.struck
        super().__init__(cluster, sky, [], rng)
        self._cluster = cluster
        self._strikes = strikes

    async def run(self, rounds: int) -> str | None:
        """Round after round in a storm, then calm. What did not end, if anything did not."""
        for number in range(rounds):
            self._cluster.calm = False
            if not await self._order_more(number):
                return f"Some orders of round {number} never got an address."
            if not await self._all_is_well():
                return f"After the storm of round {number} not every node was well again."
            await self._pay_round(number)
            self._cluster.calm = False
            if not await self._until(self._all_decided, self._decide):
                return f"Some coins of round {number} were never decided about."
            if not await self._until(self._all_sent, self._operate):
                return f"Some payouts of round {number} never reached the network."
            await self._world.monero.mine(1)
            await self._replace_blocks()
            await self._world.monero.mine(10)
        if not await self._all_is_well():
            return "After the last storm not every node was well again."
        if not await self._until(self._all_final, self._mine_and_operate):
            return "Some payouts were never final."
        return None

    async def _all_is_well(self) -> bool:
        """No more trouble, and whatever was under way is over; False when that takes too long."""
        self._cluster.calm = True
        for _ in range(_MOST_LOOKS):
            self._cluster.check_tasks()
            is_over = not (self._strikes.failing_over or self._cluster.watch.waiting)
            if is_over and all(node.well for node in self._cluster.nodes):
                return True
            await asyncio.sleep(5)
        return False

    # --- orders ---

    async def _order_more(self, number: int) -> bool:
        first = number * ORDERS_A_ROUND
        self.trades += [
            new_trade(Random(f"trade {first + one} {self._rng.random()}"), first + one) for one in range(ORDERS_A_ROUND)
        ]
        return await self._until(self._all_have_addresses, self._order)

    async def _order(self) -> None:
        """Whatever is not acknowledged, or was in a second that the server lost, is ordered (again)."""
        for trade in self.trades:
            if trade.escrow_id in self._strikes.lost:
                trade.escrow_id, trade.address = None, None
                self.asked["order lost with the last second, and placed again"] += 1
            if trade.escrow_id is None:
                answer = await self._world.request(partial(_place, trade=trade))
                if answer is not None:
                    trade.escrow_id = answer
                    self._world.watch.acknowledged.add(answer)

    def _all_have_addresses(self, tx: Transaction) -> bool:
        if self._strikes.failing_over or any(trade.escrow_id in (None, *self._strikes.lost) for trade in self.trades):
            return False
        query = "SELECT count(*) FROM escrows WHERE state = ?"
        return not tx.connection.exec_driver_sql(query, (State.SETTING_UP,)).scalar_one()

    async def _pay_round(self, number: int) -> None:
        """The new orders, and some older ones once more. Nobody loses a second while people read and pay."""
        for trade, view in zip(self.trades, await self.views(), strict=True):
            trade.address = view.escrow.deposit_address
        new = self.trades[number * ORDERS_A_ROUND :]
        old = self.trades[: number * ORDERS_A_ROUND]
        due = [(trade.address or "", trade.order.terms.amount_piconero) for trade in new]
        late = self._rng.sample(old, min(_LATE_PAID, len(old)))
        due += [(trade.address or "", self._rng.randint(10**10, 10**11)) for trade in late]
        for start in range(0, len(due), _PAID_AT_ONCE):
            await self._world.payments.pay(*due[start : start + _PAID_AT_ONCE])
        await self._world.monero.mine(11)

    # --- what stopped ---

    async def _operate(self) -> None:
        """A payout that a lost transaction made is written off; any other that stopped is taken up again."""
        for escrow_id, number in await self._world.request(lambda ctx: ctx.store.read(held_payouts)) or ():
            if await self._world.request(partial(_write_off, escrow_id=escrow_id, number=number)):
                self.asked["payout written off: its transaction was lost with the last second"] += 1
        await super()._operate()

    def _all_sent(self, tx: Transaction) -> bool:
        states = "'broadcast', 'settled', 'written_off'"
        query = f"SELECT count(*) FROM payouts WHERE state NOT IN ({states})"  # noqa: S608
        return not tx.connection.exec_driver_sql(query).scalar_one()

    def _all_final(self, tx: Transaction) -> bool:
        query = "SELECT count(*) FROM payouts WHERE state <> 'written_off' AND (state <> 'settled' OR final_at IS NULL)"
        return not tx.connection.exec_driver_sql(query).scalar_one()


async def _place(ctx: Context, *, trade: Trade) -> str:
    return (await init_escrow(ctx, SHOP, trade.order, _ACTOR))[0].id


async def _write_off(ctx: Context, *, escrow_id: str, number: int) -> bool:
    decision = await held.to_write_off(ctx, escrow_id, number, "operator:olga:1", "its records were lost")
    await ctx.store.write(decision)
    ctx.nudge(escrow_id)
    return True
