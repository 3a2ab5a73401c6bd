"""Accept an order: check it, and record an escrow that the service will set up.

The same order again with the same terms is the same escrow; with other terms it is refused. What is acknowledged here
is found after any crash.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from monero_escrow.core.address import AddressKind, InvalidAddressError, parse_address
from monero_escrow.core.errors import ConflictError, InvalidInputError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import PARTS_OF_WHOLE, PICONERO_PER_XMR, InvalidAmountError, format_xmr
from monero_escrow.core.payout import Terms
from monero_escrow.escrows.context import Context, new_id
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.store import Transaction

LARGEST_ORDER_PICONERO = 9_000_000 * PICONERO_PER_XMR
"""What a signed 64-bit column holds, and far more than half of all coins."""

_ORDER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+=~-]{0,127}")


class OrderIdError(InvalidInputError):
    """The order id cannot be used."""

    code = "invalid_order_id"
    what_to_do = "Use 1 to 128 letters, digits and . _ : @ + = ~ -, beginning with a letter or digit."


class OrderConflictError(ConflictError):
    """The order has an escrow already, with other terms."""

    code = "order_exists"
    what_to_do = "Read the escrow of this order, or use another order id."


@dataclass(frozen=True, slots=True)
class Order:
    """What a shop asks for. `deposit_window_seconds` None means the setting's."""

    order_id: str
    terms: Terms
    deposit_window_seconds: float | None = None


async def init_escrow(ctx: Context, shop_id: str, order: Order, actor: str) -> tuple[EscrowRecord, bool]:
    """The order's escrow, and whether it was made by this call.

    Raises OrderIdError, InvalidAmountError, InvalidAddressError, InvalidInputError, OrderConflictError.
    """
    check_order(ctx, order)
    escrow, made = await ctx.store.write(lambda tx: _record(ctx, tx, shop_id, order, actor))
    if made:
        ctx.nudge(escrow.id)
    return escrow, made


def check_order(ctx: Context, order: Order) -> None:
    """Everything that can be said against an order without the database."""
    terms, settings = order.terms, ctx.settings
    if not _ORDER_ID.fullmatch(order.order_id):
        raise OrderIdError("The order id is empty, too long, or has characters that do not belong in one.")
    if terms.amount_piconero > LARGEST_ORDER_PICONERO:
        raise InvalidAmountError(f"An order is at most {format_xmr(LARGEST_ORDER_PICONERO)} XMR.")
    if terms.amount_piconero <= settings.dust_piconero:
        least = format_xmr(settings.dust_piconero)
        raise InvalidAmountError(f"An order must be more than {least} XMR: outputs up to that are dust.")
    _check_recipient(ctx, "buyer_refund_address", terms.buyer_refund_address)
    _check_recipient(ctx, "vendor_payout_address", terms.vendor_payout_address)
    if terms.commission_address is not None:
        _check_recipient(ctx, "commission address", terms.commission_address)
        if not 0 < terms.commission_parts < PARTS_OF_WHOLE:
            raise InvalidInputError(f"A commission is 1 to {PARTS_OF_WHOLE - 1} parts of {PARTS_OF_WHOLE}.")
    elif terms.commission_parts:
        raise InvalidInputError("A commission needs an address.")


def _check_recipient(ctx: Context, name: str, text: str) -> None:
    try:
        address = parse_address(text, ctx.settings.monero_network)
    except InvalidAddressError as error:
        raise InvalidAddressError(error.reason, f"{name}: {error.message}") from None
    if address.kind is AddressKind.INTEGRATED:
        raise InvalidInputError(
            f"{name}: an integrated address can only be paid alone, and any escrow's payout may be split.",
            what_to_do="Use a standard address or a subaddress.",
        )


def _record(ctx: Context, tx: Transaction, shop_id: str, order: Order, actor: str) -> tuple[EscrowRecord, bool]:
    fingerprint = _fingerprint(order)
    known = tx.escrows.of_order(shop_id, order.order_id)
    if known is not None:
        if known.request_fingerprint != fingerprint:
            raise OrderConflictError("This order has an escrow with other terms.")
        return known, False
    terms = order.terms
    for address in (terms.buyer_refund_address, terms.vendor_payout_address, terms.commission_address):
        if address is not None and tx.escrows.is_deposit_address(address):
            raise InvalidInputError("One of the addresses is a deposit address of this service.")
    now = ctx.clock.now()
    escrow = EscrowRecord(
        id=new_id(),
        shop_id=shop_id,
        order_id=order.order_id,
        request_fingerprint=fingerprint,
        state=State.SETTING_UP,
        terms=terms,
        deposit_window_seconds=order.deposit_window_seconds or ctx.settings.deposit_window_seconds,
        deposit_deadline=None,
        deposit_address=None,
        trio_id=None,
        due_at=now,
        failures=0,
        trouble=None,
        created_at=now,
        updated_at=now,
    )
    tx.escrows.add(escrow)
    detail = {"order_id": order.order_id, "amount_piconero": str(terms.amount_piconero)}
    tx.audit.add(actor, "init_escrow", now, escrow_id=escrow.id, to_state=State.SETTING_UP.value, detail=detail)
    tx.outbox.add(shop_id, escrow.id, "escrow.created", {**detail, "state": State.SETTING_UP.value}, now)
    return escrow, True


def _fingerprint(order: Order) -> str:
    """Equal for equal orders, so that a repeated request is known again."""
    return hashlib.sha256(json.dumps(asdict(order), sort_keys=True).encode()).hexdigest()
