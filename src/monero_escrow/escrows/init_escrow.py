"""Accept an order: check it, and record an escrow; from stock it has its address at once, else the service sets it up.

The same order again with the same terms is the same escrow; with other terms it is refused. What is acknowledged here
is found after any crash. Orders that come together are recorded a few to a transaction, each as if it had come alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import structlog

from monero_escrow.core.address import AddressKind, InvalidAddressError, parse_address
from monero_escrow.core.errors import ConflictError, EscrowError, InvalidInputError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import PARTS_OF_WHOLE, PICONERO_PER_XMR, InvalidAmountError, format_xmr
from monero_escrow.core.payout import Terms
from monero_escrow.escrows.claim import claim, give_address, show_address
from monero_escrow.escrows.context import Context, new_id
from monero_escrow.escrows.keep_elsewhere import needs_second_place
from monero_escrow.escrows.mainnet import value_limits
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.transaction import Transaction

log = structlog.get_logger(__name__)

LARGEST_ORDER_PICONERO = 9_000_000 * PICONERO_PER_XMR
"""What a signed 64-bit column holds, and far more than half of all coins."""

_OWN_TIME_SECONDS = 5.0
"""How long whoever claimed a trio may take to keep it elsewhere before the conductor sees to it."""

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


@dataclass(frozen=True, slots=True)
class Begun:
    """An order's escrow as it was recorded. `made`: by this call; `claimed`: its trio's address is yet to be shown."""

    escrow: EscrowRecord
    made: bool
    claimed: bool = False


async def init_escrow(ctx: Context, shop_id: str, order: Order, actor: str) -> tuple[EscrowRecord, bool]:
    """The order's escrow, and whether it was made by this call.

    Raises OrderIdError, InvalidAmountError, InvalidAddressError, InvalidInputError, OrderConflictError,
    TooMuchForOneEscrowError, TooMuchAtOnceError.
    """
    check_order(ctx, order)
    begun = await ctx.store.write(lambda tx: _record(ctx, tx, shop_id, order, actor))
    await _go_on(ctx, begun)
    return begun.escrow, begun.made


async def init_escrows(
    ctx: Context, shop_id: str, orders: Sequence[Order], actor: str
) -> list[tuple[EscrowRecord, bool] | EscrowError]:
    """The same for several orders in one transaction. A bad one has its error for an answer, and spoils no other."""
    objections = [_objection(ctx, order) for order in orders]

    def record(tx: Transaction) -> list[Begun | EscrowError]:
        asked = zip(orders, objections, strict=True)
        return [objection or _record_alone(ctx, tx, shop_id, order, actor) for order, objection in asked]

    answers = await ctx.store.write(record)
    await asyncio.gather(*(_go_on(ctx, answer) for answer in answers if isinstance(answer, Begun)))
    return [(answer.escrow, answer.made) if isinstance(answer, Begun) else answer for answer in answers]


def _objection(ctx: Context, order: Order) -> EscrowError | None:
    try:
        check_order(ctx, order)
    except EscrowError as error:
        return error
    return None


def _record_alone(ctx: Context, tx: Transaction, shop_id: str, order: Order, actor: str) -> Begun | EscrowError:
    """In the transaction of others, and yet all of it or nothing."""
    try:
        with tx.part():
            return _record(ctx, tx, shop_id, order, actor)
    except EscrowError as error:
        return error


async def _go_on(ctx: Context, begun: Begun) -> None:
    """What was recorded needs an address: at once if it has a trio, else by a set-up."""
    if begun.claimed:
        try:
            await give_address(ctx, begun.escrow.id)
        except EscrowError as error:  # the order is accepted: the conductor goes on, and writes down what is wrong
            log.warning("claim_waits", escrow_id=begun.escrow.id, code=error.code, reason=error.message)
        else:
            return
    if begun.escrow.state is State.SETTING_UP:
        ctx.nudge(begun.escrow.id)


def is_order_id(text: str) -> bool:
    """Whether a shop may call an order so."""
    return _ORDER_ID.fullmatch(text) is not None


def check_order(ctx: Context, order: Order) -> None:
    """Everything that can be said against an order without the database."""
    terms, settings = order.terms, ctx.settings
    if not is_order_id(order.order_id):
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


def _record(ctx: Context, tx: Transaction, shop_id: str, order: Order, actor: str) -> Begun:
    fingerprint = _fingerprint(order)
    known = tx.escrows.of_order(shop_id, order.order_id)
    if known is not None:
        if known.request_fingerprint != fingerprint:
            raise OrderConflictError("This order has an escrow with other terms.")
        return Begun(known, made=False)
    terms = order.terms
    recipients = (terms.buyer_refund_address, terms.vendor_payout_address, terms.commission_address)
    if tx.escrows.is_deposit_address(*filter(None, recipients)):
        raise InvalidInputError("One of the addresses is a deposit address of this service.")
    value_limits(ctx.settings).check(terms.amount_piconero, tx.escrows.open_piconero)
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
    if not claim(ctx, tx, escrow.id):
        return Begun(escrow, made=True)
    if needs_second_place(ctx.settings):
        tx.escrows.looked_at(escrow, now + _OWN_TIME_SECONDS)
        return Begun(escrow, made=True, claimed=True)
    show_address(ctx, tx, escrow.id)
    return Begun(tx.escrows.get(escrow.id), made=True)


def _fingerprint(order: Order) -> str:
    """Equal for equal orders, so that a repeated request is known again."""
    return hashlib.sha256(json.dumps(asdict(order), sort_keys=True).encode()).hexdigest()
