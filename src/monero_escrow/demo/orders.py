"""An order's life as its shop sees it, through the public API and nothing else.

    init-escrow → the buyer pays the address → confirmations → funded → decided → payout broadcast → mined → settled

and at the end: what did buyer and vendor receive, as their own wallets read it from the chain, and is that the plan?
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from monero_escrow.core.payout import SHARES_TOTAL
from monero_escrow.demo.api import Escrow, Payout
from monero_escrow.demo.board import Row, Step
from monero_escrow.demo.failures import DemoFailedError, step
from monero_escrow.demo.people import Pocket
from monero_escrow.demo.stage import Stage

CONFIRMATIONS: Final = 10
_LOOK_EVERY_SECONDS: Final = 0.3
# On a real chain blocks come whether or not anybody waits; here one more is mined whenever a wait lasts this long.
_BLOCK_EVERY_SECONDS: Final = 5.0
_WAIT_LIMIT_SECONDS: Final = 240.0

Decision = Callable[[Stage, str], Awaitable[object]]


async def _release(stage: Stage, escrow_id: str) -> None:
    await stage.shop.release(escrow_id)


async def _refund(stage: Stage, escrow_id: str) -> None:
    await stage.shop.refund(escrow_id)


async def _dispute(stage: Stage, escrow_id: str) -> None:
    await stage.shop.dispute(escrow_id, "The buyer says that half of it arrived broken.")


async def _dispute_with_evidence(stage: Stage, escrow_id: str) -> None:
    await _dispute(stage, escrow_id)
    await stage.shop.send_evidence(escrow_id, "buyer", "Two of the four cups are broken. I can send photographs.")
    await stage.shop.send_evidence(escrow_id, "vendor", "All four left us whole; the carrier signed for the box.")


async def _dispute_and_rule(stage: Stage, escrow_id: str) -> None:
    await _dispute(stage, escrow_id)
    await stage.arbiter.rule(escrow_id, buyer_share=3_000, vendor_share=7_000)


@dataclass(frozen=True, slots=True)
class Order:
    """An order of the demo and how it ends: `vendor_share` of 10,000 goes to the vendor, the rest to the buyer.

    `settles` is False for the one that is left in dispute.
    """

    number: int
    title: str
    ended: str
    amount_xmr: str
    vendor_share: int
    decide: Decision
    settles: bool = True

    @property
    def order_id(self) -> str:
        """As the shop names it."""
        return f"demo-{self.number}"


RULED: Final = Order(3, "ruling 70/30", "ruled 70/30", "2.000000000001", 7_000, _dispute_and_rule)
THREE_ORDERS: Final = (
    Order(1, "release", "released to vendor", "1.25", 10_000, _release),
    Order(2, "refund", "refunded to buyer", "0.8", 0, _refund),
    RULED,
)
LEFT_IN_DISPUTE: Final = Order(4, "dispute", "left in dispute", "0.5", 0, _dispute_with_evidence, settles=False)


@dataclass(frozen=True, slots=True)
class ReadBack:
    """One party's side: the plan's net amount for their address, and all that their wallet found there."""

    party: str
    planned_piconero: int
    received_piconero: int
    only_by_payout: bool

    @property
    def exact(self) -> bool:
        """Equal to the piconero, and from no other transaction."""
        return self.planned_piconero == self.received_piconero and self.only_by_payout


@dataclass(frozen=True, slots=True)
class Outcome:
    """A settled order, as the API and the two wallets tell it."""

    order: Order
    escrow: Escrow
    payout: Payout
    parties: tuple[ReadBack, ...]
    init_seconds: float
    """How long the shop waited for the deposit address."""

    @property
    def adds_up(self) -> bool:
        """What the plan pays and the network fee make exactly what the buyer had paid in."""
        return sum(self.payout.payments.values()) + (self.payout.fee_piconero or 0) == self.escrow.amount_piconero

    @property
    def as_agreed(self) -> bool:
        """The plan gives each party the share that was decided, less at most the network fee."""
        fee_piconero = self.payout.fee_piconero or 0
        vendor_share = self.escrow.amount_piconero * self.order.vendor_share // SHARES_TOTAL
        due = {"vendor": vendor_share, "buyer": self.escrow.amount_piconero - vendor_share}
        return all(-1 <= due[party.party] - party.planned_piconero <= fee_piconero for party in self.parties)

    @property
    def exact(self) -> bool:
        """Nothing differs anywhere."""
        return self.adds_up and self.as_agreed and all(party.exact for party in self.parties)


class OrderLife:
    """One order on its way."""

    def __init__(self, order: Order, stage: Stage, row: Row) -> None:
        self._order = order
        self._stage = stage
        self._row = row
        self._name = f"order #{order.number}"
        self._init_seconds = 0.0

    async def live(self) -> tuple[Escrow, Outcome | None]:
        """The whole life; an outcome if it settles. Raises DemoFailedError, which names order and step."""
        with step(f"{self._name}: making fresh addresses"):
            buyer, vendor = await self._stage.buyer.pocket(), await self._stage.vendor.pocket()
        escrow = await self._init(buyer, vendor)
        await self._fund(escrow)
        escrow = await self._decide(escrow)
        if not self._order.settles:
            self._row.finish("disputed: waits for the arbiter")
            return escrow, None
        escrow = await self._settle(escrow)
        with step(f"{self._name}: reading back what was received"):
            outcome = await _read_back(self._order, escrow, buyer, vendor, self._init_seconds)
        self._row.finish("settled" if outcome.exact else "settled, but not as planned")
        return escrow, outcome

    async def _init(self, buyer: Pocket, vendor: Pocket) -> Escrow:
        self._row.doing("setting up a 2-of-3 wallet")
        began = time.monotonic()
        with step(f"{self._name}: init-escrow"):
            escrow = await self._stage.shop.init_escrow(
                self._order.order_id,
                amount_xmr=self._order.amount_xmr,
                buyer_refund_address=buyer.address,
                vendor_payout_address=vendor.address,
            )
        if escrow.deposit_address is None:
            escrow = await self._until(escrow, "an address", lambda now: now.deposit_address is not None)
        self._init_seconds = time.monotonic() - began
        self._row.address = escrow.deposit_address
        self._row.reached(Step.INIT, f"address after {took(self._init_seconds)}; the buyer pays")
        return escrow

    async def _fund(self, escrow: Escrow) -> None:
        with step(f"{self._name}: the buyer's payment"):
            await self._stage.buyer.owner.pay([(escrow.deposit_address or "", escrow.amount_piconero)])
            self._row.doing(f"paid; {CONFIRMATIONS} blocks are mined")
            await self._stage.miner.bury(CONFIRMATIONS)
        self._row.doing("waits for the deposit to count")
        await self._until(escrow, "the deposit to count", lambda now: now.state == "funded", mining=True)
        self._row.reached(Step.FUNDED, "deciding")

    async def _decide(self, escrow: Escrow) -> Escrow:
        with step(f"{self._name}: the decision"):
            await self._order.decide(self._stage, escrow.escrow_id)
        self._row.reached(Step.DECIDED, "payout: signing" if self._order.settles else "both have said what they say")
        return escrow

    async def _settle(self, escrow: Escrow) -> Escrow:
        await self._until(escrow, "the payout to be broadcast", _is_broadcast)
        self._row.doing(f"payout broadcast; {CONFIRMATIONS} blocks are mined")
        with step(f"{self._name}: mining the payout"):
            await self._stage.miner.bury(CONFIRMATIONS)
        self._row.doing("payout mined; waits to be settled")
        escrow = await self._until(escrow, "the payout to settle", lambda now: now.state == "settled", mining=True)
        self._row.reached(Step.SETTLED, "buyer and vendor look into their wallets")
        return escrow

    async def _until(
        self, escrow: Escrow, awaited: str, condition: Callable[[Escrow], bool], *, mining: bool = False
    ) -> Escrow:
        """Ask the API until it is so; with `mining`, the chain goes on growing slowly meanwhile."""
        with step(f"{self._name}: waiting for {awaited}"):
            deadline = time.monotonic() + _WAIT_LIMIT_SECONDS
            next_block = time.monotonic() + _BLOCK_EVERY_SECONDS
            while not condition(escrow := await self._stage.shop.escrow(escrow.escrow_id)):
                self._row.troubled(_trouble(escrow))
                if time.monotonic() > deadline:
                    raise self._too_long(awaited, escrow)
                if mining and time.monotonic() > next_block:
                    await self._stage.miner.bury(1)
                    next_block = time.monotonic() + _BLOCK_EVERY_SECONDS
                await asyncio.sleep(_LOOK_EVERY_SECONDS)
            self._row.troubled(None)
            return escrow

    def _too_long(self, awaited: str, escrow: Escrow) -> DemoFailedError:
        trouble = _trouble(escrow)
        message = f"After {_WAIT_LIMIT_SECONDS:.0f} s the escrow is {escrow.state}. {trouble or ''}".rstrip()
        return DemoFailedError(
            f"{self._name}: waiting for {awaited}", message, "Read the end of the service's log, service.log."
        )


def _trouble(escrow: Escrow) -> str | None:
    return next(filter(None, (escrow.trouble, *(payout.trouble for payout in escrow.payouts))), None)


def _is_broadcast(escrow: Escrow) -> bool:
    return any(payout.state in {"broadcast", "settled"} for payout in escrow.payouts)


async def _read_back(order: Order, escrow: Escrow, buyer: Pocket, vendor: Pocket, init_seconds: float) -> Outcome:
    payout = escrow.payouts[0]
    parties = []
    for party, pocket in (("buyer", buyer), ("vendor", vendor)):
        received = await pocket.received()
        planned = payout.payments.get(pocket.address, 0)
        parties.append(ReadBack(party, planned, sum(received.values()), set(received) <= {payout.txid}))
    return Outcome(order, escrow, payout, tuple(parties), init_seconds)


def took(seconds: float) -> str:
    """A wait as people read it: "14 ms", "5.2 s"."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
