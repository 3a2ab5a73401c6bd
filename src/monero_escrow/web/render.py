"""From what the use cases know of an escrow to what the API shows of it. Reads nothing, decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monero_escrow.core.deposits import assess
from monero_escrow.core.money import format_xmr
from monero_escrow.core.words import iso_time
from monero_escrow.escrows.views import EscrowView, planned_payments
from monero_escrow.store.records import AuditRecord, EventRecord, OutputRecord, PayoutRecord, PayoutState, Scope
from monero_escrow.web.access import actions_now
from monero_escrow.web.schemas import (
    Commission,
    Deposit,
    Escrow,
    EscrowSummary,
    HistoryEntry,
    OutboxEvent,
    Payment,
    Payout,
)


def escrow_summary(view: EscrowView) -> EscrowSummary:
    """The escrow as lists show it."""
    return EscrowSummary(**_summary(view))


def escrow_answer(view: EscrowView, scope: Scope) -> Escrow:
    """The escrow with everything, and what a caller of this scope may do with it."""
    numbers = {payout.id: payout.number for payout in view.payouts}
    return Escrow(
        **_summary(view),
        deposits=[_deposit(output, numbers) for output in view.outputs],
        dust_piconero=str(view.dust_piconero),
        payouts=[_payout(payout) for payout in view.payouts],
        history=[_history_entry(entry) for entry in view.history],
        actions=actions_now(view, scope),
    )


def outbox_event(event: EventRecord) -> OutboxEvent:
    """One event as shops poll it."""
    return OutboxEvent(
        id=event.id, type=event.type, escrow_id=event.escrow_id, at=iso_time(event.at), data=dict(event.data)
    )


def _summary(view: EscrowView) -> dict[str, Any]:
    escrow, terms = view.escrow, view.escrow.terms
    # All that ever came, decided or not: a settled escrow's deposit is not missing.
    came = assess(terms.amount_piconero, ((output.status, output.amount_piconero) for output in view.outputs))
    commission = None
    if terms.commission_address is not None:
        commission = Commission(address=terms.commission_address, parts=terms.commission_parts)
    return {
        "escrow_id": escrow.id,
        "order_id": escrow.order_id,
        "shop_id": escrow.shop_id,
        "state": escrow.state,
        "waits_for": view.waits_for,
        "trouble": _trouble(view),
        "amount": format_xmr(terms.amount_piconero),
        "amount_piconero": str(terms.amount_piconero),
        "deposit_address": escrow.deposit_address,
        "payment_uri": view.payment_uri,
        "deposit_deadline": _iso_or_none(escrow.deposit_deadline),
        "counted_piconero": str(came.counted_piconero),
        "pending_piconero": str(came.pending_piconero),
        "missing_piconero": str(came.missing_piconero),
        "coverage": came.coverage,
        "buyer_refund_address": terms.buyer_refund_address,
        "vendor_payout_address": terms.vendor_payout_address,
        "fee_bearer": terms.fee_bearer,
        "commission": commission,
        "created_at": iso_time(escrow.created_at),
        "updated_at": iso_time(escrow.updated_at),
    }


def _trouble(view: EscrowView) -> str | None:
    held = (payout.trouble for payout in view.payouts if payout.state is PayoutState.HELD)
    return next(held, None) or view.escrow.trouble


def _deposit(output: OutputRecord, payout_numbers: Mapping[str, int]) -> Deposit:
    return Deposit(
        txid=output.txid,
        amount=format_xmr(output.amount_piconero),
        amount_piconero=str(output.amount_piconero),
        height=output.height,
        status=output.status,
        unlock_time=output.unlock_time,
        payout=payout_numbers.get(output.payout_id or ""),
    )


def _payout(payout: PayoutRecord) -> Payout:
    return Payout(
        number=payout.number,
        kind=payout.plan.kind,
        state=payout.state,
        decided_by=payout.decided_by,
        reason=payout.reason,
        decided_at=iso_time(payout.decided_at),
        txid=payout.txid,
        fee_piconero=None if payout.fee_piconero is None else str(payout.fee_piconero),
        mined_height=payout.mined_height,
        settled_at=_iso_or_none(payout.settled_at),
        trouble=payout.trouble,
        total_piconero=str(payout.plan.total_piconero),
        payments=[
            Payment(address=address, amount=format_xmr(piconero), amount_piconero=str(piconero))
            for address, piconero in planned_payments(payout).items()
        ],
    )


def _history_entry(entry: AuditRecord) -> HistoryEntry:
    return HistoryEntry(
        at=iso_time(entry.at),
        actor=entry.actor,
        action=entry.action,
        from_state=entry.from_state,
        to_state=entry.to_state,
        detail=dict(entry.detail),
    )


def _iso_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else iso_time(seconds)
