"""Orders flowing through the public API: buyers, shops and an arbiter who do all that people do, whatever dies.

What was acknowledged and what was really paid is written down here, by the people themselves: the books are compared
with it in the end, and nothing of it comes from the service.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from monero_escrow.core.money import format_xmr
from monero_escrow.demo.api import ApiError, Escrow
from monero_escrow.demo.people import Pocket
from monero_escrow.monero.errors import NotEnoughMoneyError
from soak.world import Market

CONFIRMATIONS: Final = 10
_LOOK_EVERY_SECONDS: Final = 1.0
_BLOCK_EVERY_SECONDS: Final = 10.0
_XMR: Final = 10**12
# The API's words for "not yet": something is on its way, and the same request is right a little later.
_PASSING_CONFLICTS: Final = frozenset({"deposits_pending", "nothing_to_pay_out", "conflict"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What happens to an order. `parts` are what the buyer pays, in hundredths of the amount, a transaction each."""

    name: str
    parts: tuple[int, ...]
    decision: str
    late: int = 0
    commission: bool = False


KINDS: Final = (
    Kind("released", (100,), "release"),
    Kind("refunded", (100,), "refund"),
    Kind("ruled", (100,), "ruling"),
    Kind("overpaid, released", (100, 15), "release"),
    Kind("short, accepted", (60,), "accept-short"),
    Kind("short, refunded", (40,), "refund"),
    Kind("paid in two", (70, 30), "release"),
    Kind("late coins returned", (100,), "release", late=30),
    Kind("with commission", (100,), "release", commission=True),
    Kind("cancelled", (), "cancel"),
)


@dataclass(slots=True)
class Order:
    """One order as its people know it. `escrow_id` is there from the moment the API acknowledged it."""

    number: int
    kind: Kind
    amount_piconero: int
    buyer: Pocket | None = None
    vendor: Pocket | None = None
    market: Pocket | None = None
    escrow_id: str | None = None
    deposit_address: str | None = None
    paid: dict[str, int] = field(default_factory=dict)
    now: str = "begins"
    finished: bool = False

    @property
    def order_id(self) -> str:
        """As the shop names it."""
        return f"soak-{self.number}"

    @property
    def pockets(self) -> tuple[Pocket, ...]:
        """Everybody who may be paid."""
        return tuple(pocket for pocket in (self.buyer, self.vendor, self.market) if pocket is not None)


class OrderFlow:
    """Keeps `at_once` orders under way until it is told to take no more."""

    def __init__(self, world: Market, rng: random.Random, at_once: int) -> None:
        self.orders: list[Order] = []
        self._world = world
        self._rng = rng
        self._at_once = at_once
        self._open = True

    def close(self) -> None:
        """No further orders; those under way go on to their end."""
        self._open = False

    async def flow(self) -> None:
        """Until it is closed and every order has ended. Raises what kept one from ending."""
        async with asyncio.TaskGroup() as counters:
            for _ in range(self._at_once):
                counters.create_task(self._counter())

    async def _counter(self) -> None:
        while self._open:
            kinds = KINDS[len(self.orders) % len(KINDS) :] if len(self.orders) < len(KINDS) else KINDS
            kind = kinds[0] if len(self.orders) < len(KINDS) else self._rng.choice(kinds)
            amount = self._rng.randrange(_XMR // 2, 2 * _XMR)
            order = Order(len(self.orders) + 1, kind, amount)
            self.orders.append(order)
            await _OrderLife(self._world, order, random.Random(self._rng.random())).live()


class _OrderLife:
    """One order on its way."""

    def __init__(self, world: Market, order: Order, rng: random.Random) -> None:
        self._world = world
        self._order = order
        self._rng = rng

    async def live(self) -> None:
        order = self._order
        await self._init()
        if order.kind.decision == "cancel":
            await self._act("cancel")
        else:
            await self._fund()
            await self._decide()
            await self._settle(payouts=1)
            if order.kind.late:
                await self._pay(order.amount_piconero * order.kind.late // 100, "pays once more, late")
                await self._settle(payouts=2)
        order.finished = True
        order.now = "finished"

    async def _init(self) -> None:
        order, world = self._order, self._world
        order.now = "asks for an address"
        order.buyer, order.vendor = await world.buyer.pocket(), await world.vendor.pocket()
        more: dict[str, object] = {"fee_bearer": self._rng.choice(["receivers", "buyer", "vendor"])}
        if order.kind.commission:
            order.market = await world.market.pocket()
            more["commission"] = {"address": order.market.address, "parts": self._rng.randrange(1, 1_000)}
        escrow = await world.shop.init_escrow(
            order.order_id,
            amount_xmr=format_xmr(order.amount_piconero),
            buyer_refund_address=order.buyer.address,
            vendor_payout_address=order.vendor.address,
            **more,
        )
        order.escrow_id = escrow.escrow_id
        escrow = await self._until(lambda now: now.deposit_address is not None)
        order.deposit_address = escrow.deposit_address

    async def _fund(self) -> None:
        order = self._order
        parts = [order.amount_piconero * hundredths // 100 for hundredths in order.kind.parts]
        if sum(order.kind.parts) == 100:
            parts[-1] += order.amount_piconero - sum(parts)  # the piconero that dividing loses
        for part in parts:
            await self._pay(part, "pays")

    async def _pay(self, amount_piconero: int, word: str) -> None:
        order = self._order
        order.now = f"the buyer {word}"
        while True:
            try:
                txid = await self._world.buyer.owner.pay([(order.deposit_address or "", amount_piconero)])
            except NotEnoughMoneyError:  # their change is not deep enough yet
                await self._world.miner.bury(CONFIRMATIONS)
            else:
                order.paid[txid] = amount_piconero
                break
        order.now = f"the buyer {word}, blocks are mined"
        await self._world.miner.bury(CONFIRMATIONS)

    async def _decide(self) -> None:
        order = self._order
        due = sum(order.paid.values())
        short = sum(order.kind.parts) < 100
        order.now = "waits for what came to count" if short else "waits to be funded"
        # A surplus that is not seen yet would come back as late coins, in a payout of its own.
        await self._until(lambda now: now.counted_piconero == due and not now.pending_piconero, mining=True)
        if not short:
            await self._until(lambda now: now.state == "funded", mining=True)
        order.now = "is decided"
        match order.kind.decision:
            case "ruling":
                await self._act("dispute", {"reason": "The parcel was half empty."})
                share = self._rng.randrange(0, 10_001)
                await self._act("ruling", {"buyer_share": share, "vendor_share": 10_000 - share})
            case "accept-short":
                await self._act("accept-short")
                await self._act("release")
            case decision:
                await self._act(decision)

    async def _settle(self, payouts: int) -> None:
        order = self._order

        def broadcast(now: Escrow) -> bool:
            return len(now.payouts) >= payouts and all(p.state in {"broadcast", "settled"} for p in now.payouts)

        order.now = "waits for its payout to be broadcast"
        await self._until(broadcast, mining=True)
        order.now = "waits to be settled"
        await self._world.miner.bury(CONFIRMATIONS)
        await self._until(lambda now: all(payout.state == "settled" for payout in now.payouts), mining=True)

    async def _act(self, action: str, body: dict[str, object] | None = None) -> None:
        """Decide, and decide again while the service says "not yet"."""
        caller = self._world.arbiter if action == "ruling" else self._world.shop
        while True:
            try:
                await caller.act(self._order.escrow_id or "", action, body)
            except ApiError as error:
                if error.problem not in _PASSING_CONFLICTS:
                    raise
                await asyncio.sleep(_LOOK_EVERY_SECONDS)
            else:
                return

    async def _until(self, condition: Callable[[Escrow], bool], *, mining: bool = False) -> Escrow:
        """Ask the API until it is so; with `mining`, the chain goes on growing slowly meanwhile."""
        loop = asyncio.get_running_loop()
        next_block = loop.time() + _BLOCK_EVERY_SECONDS
        while not condition(escrow := await self._world.shop.escrow(self._order.escrow_id or "")):
            if mining and loop.time() > next_block:
                await self._world.miner.bury(1)
                next_block = loop.time() + _BLOCK_EVERY_SECONDS
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
        return escrow
