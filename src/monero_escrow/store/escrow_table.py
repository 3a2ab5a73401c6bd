"""Escrows: making, finding, and moving them through their life cycle."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    true,
    update,
)

from monero_escrow.core.errors import InvariantError, NotFoundError
from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.core.payout import FeeBearer, Terms
from monero_escrow.core.payout_states import UNDER_WAY, PayoutState
from monero_escrow.store import schema
from monero_escrow.store.records import EscrowRecord

_t = schema.escrows
_IDS_A_STATEMENT = 500
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(4020316)")  # any number; whoever asks what is open uses it


class EscrowTable:
    """The `escrows` table in one transaction."""

    def __init__(self, connection: Connection, *, locks: bool = True) -> None:
        self._connection = connection
        self._one = select(_t).with_for_update() if locks else select(_t)

    def add(self, escrow: EscrowRecord) -> None:
        """A new escrow, without an address yet."""
        terms = escrow.terms
        self._connection.execute(
            insert(_t).values(
                id=escrow.id,
                shop_id=escrow.shop_id,
                order_id=escrow.order_id,
                request_fingerprint=escrow.request_fingerprint,
                state=escrow.state,
                amount_piconero=terms.amount_piconero,
                buyer_refund_address=terms.buyer_refund_address,
                vendor_payout_address=terms.vendor_payout_address,
                fee_bearer=terms.fee_bearer,
                commission_address=terms.commission_address,
                commission_parts=terms.commission_parts,
                deposit_window_seconds=escrow.deposit_window_seconds,
                due_at=escrow.due_at,
                wakes=0,
                in_pool_piconero=0,
                failures=0,
                fence=0,
                created_at=escrow.created_at,
                updated_at=escrow.updated_at,
            )
        )

    def get(self, escrow_id: str) -> EscrowRecord:
        """Raises NotFoundError."""
        row = self._connection.execute(self._one.where(_t.c.id == escrow_id)).one_or_none()
        if row is None:
            raise NotFoundError("There is no such escrow.")
        return _record(row)

    def of_order(self, shop_id: str, order_id: str) -> EscrowRecord | None:
        """The escrow of a shop's order, if it was begun."""
        where = (_t.c.shop_id == shop_id, _t.c.order_id == order_id)
        row = self._connection.execute(self._one.where(*where)).one_or_none()
        return None if row is None else _record(row)

    def known_orders(self, shop_id: str, order_ids: Collection[str]) -> set[str]:
        """Those of the shop's orders that have an escrow."""
        query = select(_t.c.order_id).where(_t.c.shop_id == shop_id, _t.c.order_id.in_(list(order_ids)))
        return set(self._connection.scalars(query))

    def page(
        self,
        *,
        shop_id: str | None,
        states: frozenset[State] | None,
        before: tuple[float, str] | None,
        limit: int,
        beginning: str | None = None,
    ) -> list[EscrowRecord]:
        """Escrows, newest first, from after the (created_at, id) of the last one seen.

        With `beginning` only those of which an identifier begins so: their own, the order's, an address, a txid of a
        deposit or payout. No character in it has a meaning of its own.
        """
        query = select(_t).order_by(_t.c.created_at.desc(), _t.c.id.desc()).limit(limit)
        if shop_id is not None:
            query = query.where(_t.c.shop_id == shop_id)
        if states is not None:
            query = query.where(_t.c.state.in_(states))
        if before is not None:
            at, escrow_id = before
            query = query.where(or_(_t.c.created_at < at, and_(_t.c.created_at == at, _t.c.id < escrow_id)))
        if beginning is not None:
            query = query.where(_begins(beginning))
        return [_record(row) for row in self._connection.execute(query)]

    def due(
        self,
        now: float,
        limit: int,
        busy: frozenset[str],
        *,
        horizon_seconds: float = math.inf,
        look_horizon_seconds: float = math.inf,
    ) -> list[str]:
        """Ids of escrows that are due and nobody is busy with: set-ups and payouts first, then the longest waiting.

        Nothing is ever due later than `horizon_seconds` from now, and a mere look not later than
        `look_horizon_seconds`: what says so was written by a clock that was ahead, and is due at once.
        """
        under_way = _t.c.id.in_(select(schema.payouts.c.escrow_id).where(schema.payouts.c.state.in_(UNDER_WAY)))
        works = or_(_t.c.state == State.SETTING_UP, under_way, _t.c.failures > 0)  # not what waits for a person
        mere_look = case((_t.c.state.in_((State.SETTING_UP, State.PAYING_OUT)), 0), else_=1)
        horizon = case((works, horizon_seconds), else_=look_horizon_seconds)
        is_due = or_(_t.c.due_at <= now, _t.c.due_at > now + horizon)
        query = select(_t.c.id).where(is_due, _t.c.id.not_in(busy))
        return list(self._connection.scalars(query.order_by(mere_look, _t.c.due_at).limit(limit)))

    def next_due_at(self, busy: frozenset[str]) -> float | None:
        """When the next escrow that nobody is busy with is due."""
        earliest: float | None = self._connection.scalar(select(func.min(_t.c.due_at)).where(_t.c.id.not_in(busy)))
        return earliest

    def wake_at_height(self, chain_height: int, at: float) -> None:
        """The chain has so many blocks: who waited for that, or has a payout under way, is due at `at`.

        Those being looked at are looked at once more. Whoever is due earlier stays so: in a crowd, the longest waiting
        comes first.
        """
        payouts = schema.payouts
        paying = select(payouts.c.escrow_id).where(payouts.c.state.in_(UNDER_WAY))
        reached = _t.c.due_height <= chain_height
        self._wake(reached, at, due_height=None)  # in one statement: what comes to wait meanwhile is not forgotten
        self._wake(_t.c.id.in_(paying), at)
        self._connection.execute(update(_t).where(reached, _t.c.due_at.is_(None)).values(due_height=None))

    def wake_hinted(self, escrow_ids: Collection[str], at: float) -> None:
        """Something seems to have come to these: they are due at `at`, also those nobody meant to look at again."""
        ids = sorted(escrow_ids)
        for first in range(0, len(ids), _IDS_A_STATEMENT):
            self._wake(_t.c.id.in_(ids[first : first + _IDS_A_STATEMENT]), at, also_at_rest=True)

    def wake_watched(self, at: float) -> None:
        """All that are still looked at are due at `at`: what the scan knows is not enough to go on from."""
        self._wake(true(), at)

    def wake_in_pool(self, at: float) -> None:
        """Escrows with something on its way to them in no block are due at `at`: who knows what became of it."""
        self._wake(_t.c.in_pool_piconero > 0, at)

    def rescan(self, escrow_id: str | None, from_height: int | None, at: float) -> int:
        """Look at this escrow (at all of them, if it is None) once more at `at`; how many those are.

        From `from_height` on the chain is scanned for it again besides.
        """
        concerned = true() if escrow_id is None else _t.c.id == escrow_id
        self._wake(concerned, at, also_at_rest=True)
        with_address = and_(concerned, _t.c.deposit_address.is_not(None))
        if from_height is not None:
            self._connection.execute(update(_t).where(with_address).values(rescan_from=from_height))
        return self._connection.scalar(select(func.count()).select_from(_t).where(with_address)) or 0

    def wake_not_final(self, at: float) -> None:
        """Escrows with anything on the chain that is not final are due at `at`: blocks have been replaced."""
        outputs, payouts = schema.outputs, schema.payouts
        moving = select(outputs.c.escrow_id).where(outputs.c.final_at.is_(None), outputs.c.payout_id.is_(None))
        paid = select(payouts.c.escrow_id).where(payouts.c.final_at.is_(None), payouts.c.state != PayoutState.HELD)
        self._wake(or_(_t.c.id.in_(moving), _t.c.id.in_(paid)), at)

    def _wake(self, concerned: ColumnElement[bool], at: float, *, also_at_rest: bool = False, **values: Any) -> None:
        woken = and_(concerned, _t.c.deposit_address.is_not(None))
        if not also_at_rest:
            woken = and_(woken, _t.c.due_at.is_not(None))
        earlier = case((_t.c.due_at < at, _t.c.due_at), else_=at)
        self._connection.execute(update(_t).where(woken).values(due_at=earlier, wakes=_t.c.wakes + 1, **values))

    def looked_at(
        self, seen: EscrowRecord, due_at: float | None, *, failures: int = 0, trouble: str | None = None
    ) -> None:
        """A look at the escrow is over, the next is due then; unless it was woken or moved meanwhile: then at once."""
        values = {"due_at": due_at, "failures": failures, "trouble": trouble}
        self._connection.execute(update(_t).where(_t.c.id == seen.id, _t.c.wakes == seen.wakes).values(**values))

    def look_at_height(self, escrow_id: str, due_height: int | None) -> None:
        """What was seen changes its meaning when the chain has so many blocks: then it is looked at."""
        self._connection.execute(update(_t).where(_t.c.id == escrow_id).values(due_height=due_height))

    def saw_in_pool(self, escrow_id: str, in_pool_piconero: int) -> None:
        """What is on its way to the address and in no block yet."""
        self._connection.execute(update(_t).where(_t.c.id == escrow_id).values(in_pool_piconero=in_pool_piconero))

    def counts(self) -> dict[State, int]:
        """How many escrows are in each state."""
        query = select(_t.c.state, func.count()).group_by(_t.c.state)
        return {State(state): count for state, count in self._connection.execute(query)}

    def failing(self) -> int:
        """How many escrows had a step that did not work, and is tried again."""
        return self._connection.scalar(select(func.count()).where(_t.c.failures > literal_column("0"))) or 0

    def longest_in(self, states: Collection[State], limit: int) -> list[EscrowRecord]:
        """The escrows that have been in one of these states for longest, the longest first."""
        found = select(_t).where(_t.c.state.in_([state.value for state in states]))
        rows = self._connection.execute(found.order_by(_t.c.updated_at, _t.c.id).limit(limit))
        return [_record(row) for row in rows]

    def open_piconero(self) -> int:
        """What the escrows that are not closed were ordered for, together.

        Whoever asks may add one: nobody else is answered, on no node, until this transaction has ended.
        """
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(_ONE_AT_A_TIME)
        is_open = _t.c.state.in_([state.value for state in State if state not in CLOSED_STATES])
        return int(self._connection.scalar(select(func.sum(_t.c.amount_piconero)).where(is_open)) or 0)

    def is_deposit_address(self, *addresses: str) -> bool:
        """Whether one of these addresses is the service's own."""
        found = select(schema.trios.c.id).where(schema.trios.c.address.in_(addresses))
        return self._connection.execute(found).first() is not None

    def change(self, escrow_id: str, *, expected: State, now: float, **values: Any) -> None:
        """Change columns of an escrow that is still in the expected state.

        Raises InvariantError when it is not: whoever read it in this same transaction cannot be wrong about it.
        """
        changed = self._connection.execute(
            update(_t)
            .where(_t.c.id == escrow_id, _t.c.state == expected)
            .values(updated_at=now, wakes=_t.c.wakes + 1, **values)
        )
        if changed.rowcount != 1:
            raise InvariantError("The escrow changed its state in the middle of a transaction.")


def _begins(text: str) -> ColumnElement[bool]:
    """Whether an identifier of the escrow begins with this."""
    own = (_t.c.id, _t.c.order_id, _t.c.deposit_address, _t.c.buyer_refund_address, _t.c.vendor_payout_address)
    moved = (schema.outputs, schema.payouts)
    return or_(
        *(column.startswith(text, autoescape=True) for column in own),
        *(
            _t.c.id.in_(select(table.c.escrow_id).where(table.c.txid.startswith(text, autoescape=True)))
            for table in moved
        ),
    )


def _record(row: Row[Any]) -> EscrowRecord:
    return EscrowRecord(
        id=row.id,
        shop_id=row.shop_id,
        order_id=row.order_id,
        request_fingerprint=row.request_fingerprint,
        state=State(row.state),
        terms=Terms(
            amount_piconero=row.amount_piconero,
            buyer_refund_address=row.buyer_refund_address,
            vendor_payout_address=row.vendor_payout_address,
            fee_bearer=FeeBearer(row.fee_bearer),
            commission_address=row.commission_address,
            commission_parts=row.commission_parts,
        ),
        deposit_window_seconds=row.deposit_window_seconds,
        deposit_deadline=row.deposit_deadline,
        deposit_address=row.deposit_address,
        trio_id=row.trio_id,
        due_at=row.due_at,
        wakes=row.wakes,
        in_pool_piconero=row.in_pool_piconero,
        funded_piconero=row.funded_piconero,
        failures=row.failures,
        trouble=row.trouble,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
