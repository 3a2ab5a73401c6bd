"""Who uses the service in a simulation: shops that order and decide, and buyers who pay rightly or otherwise."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random

from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.core.money import PICONERO_PER_XMR
from monero_escrow.core.payout import FeeBearer, Terms
from monero_escrow.escrows import decide, held
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.decide import Decision
from monero_escrow.escrows.init_escrow import Order, init_escrow
from monero_escrow.store.records import EscrowRecord, PayoutState
from simulation.world import World

SHOP = "acme"
HABITS = ("exact", "exact", "parts", "short", "over", "late", "dust", "nothing")
_WINDOW_SECONDS = 7_200.0
_DUST_PICONERO = 700_000_000
_MOST_RULINGS = 25


@dataclass(slots=True)
class Trade:
    """One order from the people's side: what they were told, and what they did."""

    order: Order
    habit: str
    escrow_id: str | None = None
    address: str | None = None
    paid: bool = False
    decisions: list[str] = field(default_factory=list)
    over: bool = False


def new_address(rng: Random) -> str:
    """Somebody's address."""
    return WalletKeys.from_entropy(rng.randbytes(32), Network.STAGENET).address


def new_trade(rng: Random, number: int) -> Trade:
    """An order with everything that may differ drawn by lot."""
    commission = rng.random() < 0.4
    terms = Terms(
        amount_piconero=rng.randint(PICONERO_PER_XMR // 20, 3 * PICONERO_PER_XMR),
        buyer_refund_address=new_address(rng),
        vendor_payout_address=new_address(rng),
        fee_bearer=rng.choice(list(FeeBearer)),
        commission_address=new_address(rng) if commission else None,
        commission_parts=rng.randint(1, 900) if commission else 0,
    )
    return Trade(Order(f"order-{number}", terms, _WINDOW_SECONDS), HABITS[number % len(HABITS)])


class People:
    """Everybody who has to do with one trade."""

    def __init__(self, world: World, trade: Trade, rng: Random) -> None:
        self._world = world
        self._trade = trade
        self._rng = rng

    async def order(self) -> None:
        """Place the order, over and over until it is acknowledged, and ask until there is an address."""
        world, trade = self._world, self._trade
        await asyncio.sleep(self._rng.uniform(0, 3_600))
        while trade.escrow_id is None:
            answer = await world.request(lambda ctx: init_escrow(ctx, SHOP, trade.order, "shop:acme:1"))
            if answer is not None:
                trade.escrow_id = answer[0].id
                world.watch.acknowledged.add(answer[0].id)
            await asyncio.sleep(self._rng.uniform(1, 60))
        again = await world.request(lambda ctx: init_escrow(ctx, SHOP, trade.order, "shop:acme:1"))
        if again is not None and (again[0].id, again[1]) != (trade.escrow_id, False):
            world.broken.append(f"{trade.order.order_id} was asked for twice, and made twice.")

    async def pay(self) -> None:
        """Wait for the address, and do with it what this buyer does."""
        while self._trade.address is None:
            await asyncio.sleep(self._rng.uniform(10, 120))
            escrow = await self._look()
            if escrow is not None:
                self._trade.address = escrow.deposit_address
                if escrow.state in CLOSED_STATES:
                    break
        address, amount = self._trade.address, self._trade.order.terms.amount_piconero
        if address is None:
            return
        part = amount * self._rng.randint(20, 80) // 100
        match self._trade.habit:
            case "exact":
                await self._send(address, amount, 0)
            case "parts":
                await self._send(address, part, 0)
                await self._send(address, amount - part, 900)
            case "short":
                await self._send(address, part, 0)
            case "over":
                await self._send(address, amount + self._rng.randint(2_000_000_000, PICONERO_PER_XMR), 0)
            case "late":
                await self._send(address, amount, _WINDOW_SECONDS + 1_200)
            case "dust":
                await self._send(address, _DUST_PICONERO, 0)
                await self._send(address, amount, 0)

    async def _send(self, address: str, piconero: int, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds + self._rng.uniform(0, 1_200))
        await self._world.payments.pay((address, piconero))
        self._trade.paid = True

    async def decide(self) -> None:
        """Look now and then, and decide what this shop decides, until the escrow is closed or nobody cares.

        An operator looks at payouts that stopped for a person, a few times.
        """
        cares, operator_looks, refused = self._rng.random() < 0.85, 4, 0
        while True:
            await asyncio.sleep(self._rng.uniform(60, 900))
            escrow = await self._look()
            if escrow is None:
                continue
            if escrow.state in CLOSED_STATES or (not cares and escrow.state is not State.PAYING_OUT):
                self._trade.over = escrow.state is not State.SETTING_UP
                if self._trade.over:
                    return
                continue
            if escrow.state is State.PAYING_OUT and await self._operate(escrow.id):
                operator_looks -= 1
                if operator_looks == 0:
                    self._trade.over = True
                    return
            done = await self._world.request(lambda ctx, seen=escrow: self._act(ctx, seen))  # type: ignore[misc]
            if done:
                self._trade.decisions.append(done)
            elif escrow.state is State.DISPUTED and self._world.conductor is not None:
                refused += 1  # a deposit that fell out of the chain for good leaves nothing to rule about
                if refused > _MOST_RULINGS:
                    self._trade.over = True
                    return

    async def _operate(self, escrow_id: str) -> bool:
        """Whether a payout of this escrow waits for a person, who then resumes or replaces it."""
        payouts = await self._world.request(lambda ctx: ctx.store.read(lambda tx: tx.payouts.of(escrow_id)))
        stopped = [payout.number for payout in payouts or () if payout.state is PayoutState.HELD]
        if not stopped:
            return False
        take_up = self._rng.choice((held.to_resume, held.to_resume, held.to_replace))

        async def act(ctx: Context) -> None:
            await ctx.store.write(take_up(escrow_id, stopped[0], "operator:olga:1", ctx.clock.now()))
            ctx.nudge(escrow_id)

        await self._world.request(act)
        return True

    async def _look(self) -> EscrowRecord | None:
        escrow_id = self._trade.escrow_id
        if escrow_id is None:
            return None
        return await self._world.request(lambda ctx: ctx.store.read(lambda tx: tx.escrows.get(escrow_id)))

    async def _act(self, ctx: Context, escrow: EscrowRecord) -> str:
        """One decision, or none; the name of what was acknowledged."""
        name = self._choice(escrow.state)
        if not name:
            return ""
        actor, now = "shop:acme:1", ctx.clock.now()
        decision: Decision
        match name:
            case "release":
                decision = await decide.release(ctx, escrow.id, actor)
            case "refund":
                decision = await decide.refund(ctx, escrow.id, actor)
            case "ruling":
                share = self._rng.choice((0, 2_500, 5_000, 9_999, 10_000))
                decision = await decide.ruling(ctx, escrow.id, "arbiter:ann:1", share, 10_000 - share)
            case "dispute":
                decision = decide.dispute(ctx, escrow.id, actor, "not as described")
            case "accept_short":
                decision = decide.accept_short(ctx, escrow.id, actor)
            case "extend":
                decision = decide.extend(ctx, escrow.id, actor, now + _WINDOW_SECONDS)
            case _:
                decision = decide.cancel(ctx, escrow.id, actor)
        await ctx.store.write(decision)
        ctx.nudge(escrow.id)
        return name

    def _choice(self, state: State) -> str:
        choices: dict[State, tuple[str, ...]] = {
            State.FUNDED: ("release", "release", "refund", "dispute"),
            State.DISPUTED: ("ruling",),
            State.SHORT: ("accept_short", "refund", "extend"),
            State.AWAITING_DEPOSIT: ("",) * 60 + ("cancel",),
        }
        return self._rng.choice(choices.get(state, ("",)))
