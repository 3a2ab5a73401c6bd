"""POST /api/escrows/batch: many orders in one request, each answered as if it had come alone, and none waited for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from monero_escrow.core.errors import EscrowError, InvalidInputError
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.init_escrow import init_escrows
from monero_escrow.escrows.views import escrow_view
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.auth import Caller, ShopCaller
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.door import TheAddress, TheDoor
from monero_escrow.web.idempotency import HEADER, REPLAYED_HEADER, Repeatable
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.orders import new_orders, order_of
from monero_escrow.web.problems import problem_of, problem_of_fields
from monero_escrow.web.render import escrow_answer
from monero_escrow.web.schemas import BatchAnswer, BatchAnswers, BatchOrder, NewBatch, Problem

T = TypeVar("T")

router = APIRouter(tags=["orders"])

_ORDERS_A_TRANSACTION: Final = 20
"""So many that the disk is waited for rarely, and so few that other writers are not kept waiting."""


@router.post(
    "/api/escrows/batch",
    summary="Make the escrows of many orders",
    response_model=BatchAnswers,
    responses={
        200: {
            "description": "An answer for each order, in the same order.",
            "headers": {
                REPLAYED_HEADER: {
                    "description": "`true`: this repeats an earlier answer.",
                    "schema": {"type": "string"},
                }
            },
        },
        **problem_answers(401, 403, 413, 422, 503),
    },
)
async def init_escrows_of_orders(
    request: Request,
    wanted: NewBatch,
    caller: ShopCaller,
    conductor: TheConductor,
    door: TheDoor,
    address: TheAddress,
    idempotency_key: Annotated[
        str | None, Header(alias=HEADER, description="Repeating the request with the same key repeats the answer only.")
    ] = None,
) -> JSONResponse:
    """Up to 1,000 orders, each taken or refused by itself. The answer does not wait for set-ups: an order that finds a
    wallet in stock has its address (201), the others get theirs later (202).

    Like a single order, the same one again is the same escrow (200). So after a 503 or a lost answer, send the whole
    batch again. A batch with more new orders than the limits allow is answered 429 as a whole, and none of it is taken.
    """
    ctx = conductor.ctx
    repeatable = Repeatable.of(caller.id, idempotency_key, "POST", "batch", await request.json())
    order_ids = [order.order_id for order in wanted.orders if isinstance(order, BatchOrder)]
    claims, shop_id = door.order_claims(caller.key.id, address), caller.shop_id or ""
    if idempotency_key is not None and (recorded := await ctx.store.read(repeatable.recorded_answer)) is not None:
        return _answer(recorded, replayed=True)
    async with new_orders(ctx.store, door.limits, claims, shop_id, order_ids):
        return await _take_all(ctx, caller, wanted, repeatable)


async def _take_all(ctx: Context, caller: Caller, wanted: NewBatch, repeatable: Repeatable) -> JSONResponse:
    """All of the batch, some to a transaction, and its answer recorded."""
    if repeatable.key is not None:  # nothing of another batch may be taken under the same key meanwhile
        recorded = await ctx.store.write(lambda tx: repeatable.reserve(tx, ctx.clock.now()))
        if recorded is not None:
            return _answer(recorded, replayed=True)
    answers: list[BatchAnswer] = []
    for some in _chunks(wanted.orders, _ORDERS_A_TRANSACTION):
        answers += await _take(ctx, caller, some)
    answer = BatchAnswers(answers=answers).model_dump(mode="json")

    def record(tx: Transaction) -> dict[str, Any] | None:
        """The same request may have been answered meanwhile: then that was the answer."""
        recorded = repeatable.recorded_answer(tx)
        if recorded is None:
            repeatable.record_answer(tx, answer, ctx.clock.now())
        return recorded

    recorded = None if repeatable.key is None else await ctx.store.write(record)
    return _answer(recorded or answer, replayed=recorded is not None)


def _answer(answers: dict[str, Any], *, replayed: bool) -> JSONResponse:
    return JSONResponse(answers, headers={REPLAYED_HEADER: "true"} if replayed else None)


async def _take(ctx: Context, caller: Caller, orders: Sequence[BatchOrder | Any]) -> list[BatchAnswer]:
    """Record those that can be, in one transaction, and answer for each."""
    good = [order for order in orders if isinstance(order, BatchOrder)]
    shop_id = caller.shop_id or ""  # the database has no shop's key without a shop
    done = await init_escrows(ctx, shop_id, [order_of(order.order_id, order) for order in good], caller.actor)
    begun = iter(await _answers(ctx, caller, done))
    return [next(begun) if isinstance(order, BatchOrder) else _refused(_what_is_wrong(order)) for order in orders]


async def _answers(
    ctx: Context, caller: Caller, done: Sequence[tuple[EscrowRecord, bool] | EscrowError]
) -> list[BatchAnswer]:
    ids = [one[0].id for one in done if not isinstance(one, EscrowError)]
    views = iter(await ctx.store.read(lambda tx: [escrow_view(tx, escrow_id) for escrow_id in ids]))
    answers = []
    for one in done:
        if isinstance(one, EscrowError):
            answers.append(_refused(problem_of(one)))
            continue
        view, (_, made) = next(views), one
        status = 202 if view.escrow.state is State.SETTING_UP else 201 if made else 200
        answers.append(BatchAnswer(status=status, escrow=escrow_answer(view, caller.scope), problem=None))
    return answers


def _refused(problem: Problem) -> BatchAnswer:
    return BatchAnswer(status=problem.status, escrow=None, problem=problem)


def _what_is_wrong(order: Any) -> Problem:
    """With something that is no order."""
    if not isinstance(order, dict):
        return problem_of(InvalidInputError("An order of a batch is a JSON object."))
    try:
        BatchOrder.model_validate(order)
    except ValidationError as error:
        return problem_of_fields(error.errors())
    except EscrowError as error:
        return problem_of(error)
    return problem_of(InvalidInputError("This is no order."))


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
