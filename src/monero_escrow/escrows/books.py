"""The books, for accountants: every deposit and every payment of a payout, one line each, in the order of time.

Amounts are piconero, and XMR as a decimal text (1 XMR = 10^12 piconero). A payout is one transaction that may pay
several; its network fee stands with the first of them. Addresses are shortened: the txid says the rest to whoever may
know it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Final, TextIO

from sqlalchemy import select

from monero_escrow.core.money import format_xmr
from monero_escrow.core.words import iso_time, short
from monero_escrow.escrows.views import planned_payments
from monero_escrow.store import schema
from monero_escrow.store.records import PayoutRecord
from monero_escrow.store.transaction import Transaction

_TOGETHER: Final = 500
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""With one of these at its beginning a spreadsheet takes a cell for a formula, and runs it."""


@dataclass(frozen=True, slots=True)
class BookEntry:
    """A line of the books. `kind` is deposit, release, refund or ruling; `time` is ISO 8601, UTC."""

    time: str
    kind: str
    status: str
    shop_id: str
    order_id: str
    escrow_id: str
    payout: int | None
    address: str
    txid: str
    height: int | None
    amount_piconero: int
    amount_xmr: str
    fee_piconero: int
    fee_xmr: str


def entries(tx: Transaction, since: float | None = None) -> Iterator[BookEntry]:
    """All of them, escrow by escrow, oldest first; `since` (seconds since the epoch) leaves out what is earlier."""
    t = schema.escrows
    query = select(t.c.id, t.c.shop_id, t.c.order_id, t.c.deposit_address).order_by(t.c.created_at, t.c.id)
    for rows in tx.connection.execute(query, execution_options={"yield_per": _TOGETHER}).partitions():
        for row in rows:
            found = [*_deposits(tx, row.id, row.shop_id, row.order_id, row.deposit_address or ""),
                     *_payments(tx, row.id, row.shop_id, row.order_id)]  # fmt: skip
            yield from (entry for at, entry in sorted(found, key=lambda one: one[0]) if since is None or at >= since)


def _deposits(
    tx: Transaction, escrow_id: str, shop: str, order: str, address: str
) -> Iterator[tuple[float, BookEntry]]:
    for output in tx.outputs.of(escrow_id):
        yield (
            output.seen_at,
            BookEntry(
                time=iso_time(output.seen_at),
                kind="deposit",
                status=output.status.value,
                shop_id=shop,
                order_id=order,
                escrow_id=escrow_id,
                payout=None,
                address=short(address),
                txid=output.txid,
                height=output.height,
                amount_piconero=output.amount_piconero,
                amount_xmr=format_xmr(output.amount_piconero),
                fee_piconero=0,
                fee_xmr=format_xmr(0),
            ),
        )


def _payments(tx: Transaction, escrow_id: str, shop: str, order: str) -> Iterator[tuple[float, BookEntry]]:
    """Of payouts that were broadcast: before, nothing has left."""
    for payout in tx.payouts.of(escrow_id):
        at = payout.broadcast_at
        if at is None or payout.txid is None:
            continue
        fee = payout.fee_piconero or 0
        for address, piconero in planned_payments(payout).items():
            yield at, _payment(payout, at, shop, order, address, piconero, fee)
            fee = 0  # once a transaction


def _payment(
    payout: PayoutRecord, at: float, shop: str, order: str, address: str, amount_piconero: int, fee_piconero: int
) -> BookEntry:
    return BookEntry(
        time=iso_time(at),
        kind=payout.plan.kind.value,
        status=payout.state.value,
        shop_id=shop,
        order_id=order,
        escrow_id=payout.escrow_id,
        payout=payout.number,
        address=short(address),
        txid=payout.txid or "",
        height=payout.mined_height,
        amount_piconero=amount_piconero,
        amount_xmr=format_xmr(amount_piconero),
        fee_piconero=fee_piconero,
        fee_xmr=format_xmr(fee_piconero),
    )


def write_csv(found: Iterable[BookEntry], out: TextIO) -> int:
    """As CSV (RFC 4180) with a first line of names; how many entries."""
    writer = csv.writer(out)
    writer.writerow([column.name for column in fields(BookEntry)])
    count = 0
    for entry in found:
        count += 1
        writer.writerow([_cell(getattr(entry, column.name)) for column in fields(BookEntry)])
    return count


def write_json_lines(found: Iterable[BookEntry], out: TextIO) -> int:
    """One JSON object a line; amounts in piconero are texts, for programs whose numbers are too small."""
    count = 0
    for entry in found:
        count += 1
        amounts = {name: str(getattr(entry, name)) for name in ("amount_piconero", "fee_piconero")}
        out.write(json.dumps({**asdict(entry), **amounts}) + "\n")
    return count


def _cell(value: str | int | None) -> str:
    """A cell that no spreadsheet runs: an order id is whatever a shop's customer made it."""
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
