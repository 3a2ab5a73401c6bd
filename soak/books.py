"""The comparison: what the service's books say, what its people did, and what the chain says, to the piconero.

Three witnesses: the API (read with the operator's key), the people's own notes and wallets, and monerod. Every
difference is a sentence; none is weighed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.person import Person
from monero_escrow.store.store import Store
from monero_escrow.store.transaction import Transaction
from soak.orders import Order
from soak.world import Market

_PAGE: Final = 200
_DUST_STATUS: Final = "dust"
_AUDIT_OF_A_PAYOUT: Final = ("payout_to_be_signed", "payout_signed", "payout_broadcast")
_CLOSED: Final = frozenset({"settled", "cancelled", "expired"})


Received = Mapping[tuple[str, int], Sequence[tuple[str, int]]]
"""(txid, piconero) by (person, subaddress): all that was mined to the people, read by their own wallets."""


@dataclass(slots=True)
class Findings:
    """What the comparison found. All is well if `lost`, `doubled` and `differences` are empty."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    payouts: int = 0
    deposits: int = 0
    paid_out_piconero: int = 0
    fees_piconero: int = 0
    signatures: int = 0

    @property
    def all_well(self) -> bool:
        return not (self.lost or self.doubled or self.differences)


async def compare(world: Market, orders: Sequence[Order]) -> Findings:
    """Read everything and compare it; the service still runs."""
    findings = Findings()
    found = await _escrows(world)
    known = {str(escrow["order_id"]): escrow for escrow in found}
    acknowledged = [order for order in orders if order.escrow_id is not None]
    received = await _received(world)
    findings.differences += _strangers(found, orders)
    for order in acknowledged:
        escrow = known.get(order.order_id)
        if escrow is None or escrow["escrow_id"] != order.escrow_id:
            findings.lost.append(f"{order.order_id} was acknowledged, and is not there.")
            continue
        compare_order(findings, order, await world.operator.read(f"/api/escrows/{order.escrow_id}"), received)
    return findings


async def compare_signatures(findings: Findings, store: Store, daemon: DaemonClient, orders: Sequence[Order]) -> None:
    """With the service stopped, from its database: of all that was ever signed for a payout, one thing was mined."""

    def signed(tx: Transaction) -> list[tuple[str, str | None, list[str]]]:
        ids = [order.escrow_id for order in orders if order.escrow_id is not None]
        payouts = [payout for escrow_id in ids for payout in tx.payouts.of(escrow_id)]
        return [
            (f"payout {payout.number} of {payout.escrow_id}", payout.txid, tx.payouts.signed_txids(payout.id))
            for payout in payouts
        ]

    for name, txid, txids in await store.read(signed):
        findings.signatures += len(txids)
        mined = [
            known.txid for known in (await daemon.get_transactions(txids)).values() if known.block_height is not None
        ]
        if len(mined) > 1:
            findings.doubled.append(f"{name}: {len(mined)} of its {len(txids)} transactions are mined.")
        elif mined != [txid]:
            findings.differences.append(f"{name}: the chain has not the transaction that the books name.")


async def _escrows(world: Market) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    cursor = ""
    while True:
        page = await world.operator.read(f"/api/escrows?limit={_PAGE}{cursor}")
        found += page["escrows"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def _received(world: Market) -> Received:
    received: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for person in (world.buyer.owner, world.vendor.owner, world.market.owner):
        await _read_wallet(person, received)
    return received


async def _read_wallet(person: Person, received: dict[tuple[str, int], list[tuple[str, int]]]) -> None:
    for transfer in await person.received():
        place = received.setdefault((person.name, transfer.subaddress_minor), [])
        place.append((transfer.txid, transfer.amount_piconero))


def _strangers(found: Sequence[Mapping[str, Any]], orders: Sequence[Order]) -> Iterator[str]:
    """Escrows nobody ordered, and addresses that serve two orders."""
    ordered = {order.order_id for order in orders}
    yield from (f"{escrow['order_id']} was never ordered." for escrow in found if escrow["order_id"] not in ordered)
    addresses = Counter(escrow["deposit_address"] for escrow in found if escrow["deposit_address"] is not None)
    yield from (f"An address serves {count} orders." for count in addresses.values() if count > 1)


def compare_order(
    findings: Findings,
    order: Order,
    escrow: Mapping[str, Any],
    received: Received,
) -> None:
    """One order: its escrow as the API shows it, beside what its people paid and got."""
    name, payouts, deposits = order.order_id, escrow["payouts"], escrow["deposits"]
    findings.payouts += len(payouts)
    findings.deposits += len(deposits)
    wrong = findings.differences
    if escrow["state"] not in _CLOSED:
        wrong.append(f"{name} ({order.kind.name}) is {escrow['state']}: {escrow['waits_for']}")
    wrong += [f"{name}: payout {p['number']} is {p['state']}." for p in payouts if p["state"] != "settled"]
    if order.deposit_address is not None and escrow["deposit_address"] != order.deposit_address:
        wrong.append(f"{name}: its address is another one than the buyer was told.")
    wrong += [f"{name}: {what}" for what in _deposits_differ(order, deposits, payouts)]
    for pocket in order.pockets:
        planned = Counter(
            {payout["txid"]: _paid_to(payout, pocket.address) for payout in payouts if _paid_to(payout, pocket.address)}
        )
        got: Counter[str] = Counter()
        for txid, piconero in received.get((pocket.owner.name, pocket.subaddress_minor), ()):
            got[txid] += piconero
        if got != planned:
            where = findings.doubled if got.total() > planned.total() else wrong
            where.append(f"{name}: {pocket.owner.name} was to get {planned.total()} and got {got.total()} piconero.")
    for payout in payouts:
        fee = int(payout["fee_piconero"] or 0)
        paid = sum(int(payment["amount_piconero"]) for payment in payout["payments"])
        findings.paid_out_piconero += paid
        findings.fees_piconero += fee
        if paid + fee != int(payout["total_piconero"]):
            wrong.append(f"{name}: payout {payout['number']} and its fee are not what it spends.")
    wrong += [f"{name}: {what}" for what in _audit_lacks(escrow["history"], len(payouts))]


def _deposits_differ(
    order: Order, deposits: Sequence[Mapping[str, Any]], payouts: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Every payment of the buyer's is a deposit, and every deposit is spent by one payout."""
    seen: Counter[str] = Counter()
    by_payout: Counter[int] = Counter()
    for deposit in deposits:
        seen[deposit["txid"]] += int(deposit["amount_piconero"])
        if deposit["payout"] is not None:
            by_payout[deposit["payout"]] += int(deposit["amount_piconero"])
        elif deposit["status"] != _DUST_STATUS:
            yield f"a deposit of {deposit['amount_piconero']} piconero belongs to no payout."
    if seen != Counter(order.paid):
        yield f"{sum(order.paid.values())} piconero were paid in, and {seen.total()} are in the books."
    for payout in payouts:
        if by_payout[payout["number"]] != int(payout["total_piconero"]):
            yield f"payout {payout['number']} is not the sum of its deposits."


def _paid_to(payout: Mapping[str, Any], address: str) -> int:
    return sum(int(payment["amount_piconero"]) for payment in payout["payments"] if payment["address"] == address)


def _audit_lacks(history: Sequence[Mapping[str, Any]], payouts: int) -> Iterator[str]:
    done = Counter(entry["action"] for entry in history)
    for action in ("init_escrow", *(_AUDIT_OF_A_PAYOUT if payouts else ())):
        if done[action] < (payouts if action in _AUDIT_OF_A_PAYOUT else 1):
            yield f"the audit trail has {done[action]} rows of {action}."
