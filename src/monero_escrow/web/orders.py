"""POST /api/orders/{order_id}/init-escrow: from an order to a deposit address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path
from fastapi.responses import JSONResponse
from starlette.convertors import Convertor, register_url_convertor
from structlog.contextvars import bind_contextvars

from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import Terms
from monero_escrow.core.roles import ROLES
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.init_escrow import Order, init_escrow, is_order_id
from monero_escrow.escrows.views import escrow_view
from monero_escrow.fleet.leases import NoSlotFreeError
from monero_escrow.store.store import Store
from monero_escrow.web.auth import ShopCaller
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.door import TheAddress, TheDoor
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.problems import RETRY_AFTER_SECONDS
from monero_escrow.web.rates import Claim, RateLimits
from monero_escrow.web.render import escrow_answer
from monero_escrow.web.schemas import Escrow, NewOrder

router = APIRouter(tags=["orders"])

_PATIENCE_SECONDS: Final = 5.0
"""For so long a caller waits even if no process serves a role: one that was started anew is back by then."""
_LOCATION: Final = {"Location": {"description": "The escrow's path.", "schema": {"type": "string"}}}


class _AnyText(Convertor[str]):
    """Whatever stands where an order id belongs, slashes and line breaks too, so that the answer says what is wrong."""

    regex = r"(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any_text", _AnyText())


@router.post(
    "/api/orders/{order_id:any_text}/init-escrow",
    summary="Make an order's escrow",
    status_code=201,
    response_model=Escrow,
    responses={
        200: {"model": Escrow, "description": "The order has this escrow already.", "headers": _LOCATION},
        201: {"description": "Made: the deposit address is ready.", "headers": _LOCATION},
        202: {
            "model": Escrow,
            "description": "Recorded; the set-up goes on: read the escrow later. `trouble` says what holds it up.",
            "headers": _LOCATION,
        },
        **problem_answers(401, 403, 409, 413, 422, 503),
    },
)
async def init_escrow_of_order(
    order_id: Annotated[str, Path(description="The shop's own id of the order.", examples=["order-1001"])],
    wanted: NewOrder,
    caller: ShopCaller,
    conductor: TheConductor,
    door: TheDoor,
    address: TheAddress,
    prefer: Annotated[list[str] | None, Header(description="`respond-async`: answer 202 at once.")] = None,
) -> JSONResponse:
    """Set up the order's 2-of-3 wallet and answer with its deposit address.

    The same order again with the same terms is the same escrow, with other terms a conflict: so this can be repeated
    safely, and needs no Idempotency-Key; the limit on new orders does not count it. Waits for the address, but not
    longer than REQUEST_WAIT_SECONDS. While no wallet process serves, the answer is 503: the order is recorded all the
    same, and gets its address later.
    """
    ctx = conductor.ctx
    shop_id = caller.shop_id or ""  # the database has no shop's key without a shop
    async with new_orders(ctx.store, door.limits, door.order_claims(caller.key.id, address), shop_id, [order_id]):
        made_escrow, made = await init_escrow(ctx, shop_id, order_of(order_id, wanted), caller.actor)
    escrow_id = made_escrow.id
    bind_contextvars(escrow_id=escrow_id)
    at_once = _prefers_async(prefer or [])
    if not at_once and made_escrow.state is State.SETTING_UP:
        await _wait_for_address(conductor, escrow_id)
    view = await ctx.store.read(lambda tx: escrow_view(tx, escrow_id))
    headers = {"Location": f"/api/escrows/{escrow_id}"}
    if at_once:
        headers["Preference-Applied"] = "respond-async"
    status = 201 if made else 200
    if view.escrow.state is State.SETTING_UP:
        status = 202
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return JSONResponse(escrow_answer(view, caller.scope).model_dump(mode="json"), status, headers)


@asynccontextmanager
async def new_orders(
    store: Store, limits: RateLimits, claims: Sequence[Claim], shop_id: str, order_ids: Collection[str]
) -> AsyncIterator[None]:
    """The block takes these orders, as many as are new within the limits. Raises TooManyRequestsError.

    An order that has its escrow is answered from what is stored, whatever the limits say: a set-up that was
    acknowledged is nothing new. What the block does not take, because it raises, is not counted.
    """
    if not limits.has(claims):
        yield
        return
    sound = {order_id for order_id in order_ids if is_order_id(order_id)}  # the others are refused, and cost nothing
    known = await store.read(lambda tx: tx.escrows.known_orders(shop_id, sound))
    with limits.charged(claims, len(sound - known)):
        yield


async def _wait_for_address(conductor: Conductor, escrow_id: str) -> None:
    """Wait as long as a request may, but not for processes that are not there.

    Raises NoSlotFreeError, though the order is recorded: whoever waits is told at once what only the operator can mend.
    """
    ctx = conductor.ctx
    left_seconds = ctx.settings.request_wait_seconds
    while left_seconds > 0:
        seconds = min(left_seconds, _PATIENCE_SECONDS)
        await conductor.wait_while(escrow_id, State.SETTING_UP, seconds)
        escrow = await ctx.store.read(lambda tx: tx.escrows.get(escrow_id))
        if escrow.state is not State.SETTING_UP:
            return
        if without := [role for role in ROLES if not ctx.pool.has_usable_slot(role)]:
            raise NoSlotFreeError(
                f"No usable wallet-rpc process serves the {without[0]}s. The order is recorded as escrow {escrow_id}.",
                what_to_do="Send the same order again later, or read the escrow: it has its address as soon as it can.",
            )
        left_seconds -= seconds


def order_of(order_id: str, wanted: NewOrder) -> Order:
    """The order as the use case takes it."""
    commission = wanted.commission
    terms = Terms(
        amount_piconero=wanted.amount,
        buyer_refund_address=wanted.buyer_refund_address,
        vendor_payout_address=wanted.vendor_payout_address,
        fee_bearer=wanted.fee_bearer,
        commission_address=None if commission is None else commission.address,
        commission_parts=0 if commission is None else commission.parts,
    )
    return Order(order_id, terms, wanted.deposit_window_seconds)


def _prefers_async(prefer: list[str]) -> bool:
    """RFC 7240: preferences are a list, each perhaps with parameters, and those not known are ignored."""
    preferences = (part.partition(";")[0] for header in prefer for part in header.split(","))
    return any(preference.strip().lower() == "respond-async" for preference in preferences)
