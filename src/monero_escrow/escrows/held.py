"""Payouts that stopped for a person, and what that person may do: resume one, have it replaced, call it
off, or write it off.

None of these can pay twice: whatever is proposed spends the plan's anchor, and the first thing that happens is to ask
the network for every transaction that was ever signed for the payout.
"""

from __future__ import annotations

from collections.abc import Sequence

from monero_escrow.core.errors import ConflictError, NotFoundError
from monero_escrow.core.life_cycle import Event, State
from monero_escrow.core.payout import PayoutKind
from monero_escrow.core.payout_states import DONE
from monero_escrow.escrows.context import SERVICE, Context, move
from monero_escrow.escrows.decide import Decision, reason_of
from monero_escrow.monero.ports import KeyImageStatus
from monero_escrow.store.records import EscrowRecord, OutputRecord, PayoutRecord, PayoutState
from monero_escrow.store.transaction import Transaction

_LONGEST_REASON = 1_000  # it is kept as the payout's trouble


def hold(tx: Transaction, payout_id: str, trouble: str, now: float) -> None:
    """Stop for a person: nothing more is signed. `trouble` says why, and what to do."""
    payout = tx.payouts.get(payout_id)
    tx.payouts.move(payout, PayoutState.HELD, trouble=trouble)
    detail = {"payout": payout.number, "trouble": trouble}
    tx.audit.add(SERVICE, "payout_held", now, escrow_id=payout.escrow_id, detail=detail)
    escrow = tx.escrows.get(payout.escrow_id)
    tx.outbox.add(escrow.shop_id, escrow.id, "escrow.payout_held", {"order_id": escrow.order_id, **detail}, now)


def replace(tx: Transaction, payout: PayoutRecord, trouble: str, now: float) -> None:
    """The network refused what was signed: the same plan and anchor, another transaction, at once."""
    tx.payouts.move(payout, PayoutState.DECIDED)
    detail = {"payout": payout.number, "trouble": trouble}
    tx.audit.add(SERVICE, "payout_to_be_replaced", now, escrow_id=payout.escrow_id, detail=detail)
    _wake(tx, tx.escrows.get(payout.escrow_id), now)


def to_resume(escrow_id: str, number: int, actor: str, now: float) -> Decision:
    """Go on with a held payout from what is stored: broadcast, signed, or only decided.

    The decision raises NotFoundError, ConflictError.
    """

    def decision(tx: Transaction) -> None:
        escrow, payout = _held(tx, escrow_id, number)
        if tx.payouts.raw(payout.id) is not None:
            state = PayoutState.BROADCAST
        elif payout.txid is not None:
            state = PayoutState.SIGNED
        else:
            state = PayoutState.DECIDED
        _take_up(tx, escrow, payout, state, actor, "payout_resumed", now)

    return decision


def to_replace(escrow_id: str, number: int, actor: str, now: float) -> Decision:
    """Sign a held payout anew: the same plan, the same anchor, another transaction.

    What was signed before stays stored; should the network take it after all, it settles the payout. The decision
    raises NotFoundError, ConflictError.
    """

    def decision(tx: Transaction) -> None:
        escrow, payout = _held(tx, escrow_id, number)
        _take_up(tx, escrow, payout, PayoutState.DECIDED, actor, "payout_to_be_replaced", now)

    return decision


async def to_call_off(ctx: Context, escrow_id: str, number: int, actor: str) -> Decision:
    """Give up a held payout that can never be mined, so that what is there can be decided about anew.

    It can never be mined when nothing was ever signed for it, or when an output of its plan is not on the chain: a
    reorganisation took the deposit out, and it did not come back. Should it come back, it is a deposit like any other;
    whatever is decided about it spends the same output. Coins that are spent already are not given back. Raises
    DaemonUnavailableError; the decision raises NotFoundError, ConflictError.
    """
    planned = await ctx.store.read(lambda tx: _planned_outputs(tx, escrow_id, number))
    daemon, _ = await ctx.chain()
    known = await daemon.get_transactions(sorted({output.txid for output in planned}))
    mined = {txid for txid, found in known.items() if found.block_height is not None}
    on_chain = [output for output in planned if output.txid in mined]
    images = [output.key_image for output in planned if output.key_image is not None]
    statuses = await daemon.is_key_image_spent(images) if images else []
    spent = any(status is not KeyImageStatus.UNSPENT for status in statuses)

    def decision(tx: Transaction) -> None:
        escrow, payout = _held(tx, escrow_id, number)
        of_order = [other for other in tx.payouts.of(escrow_id) if not other.further]
        others = [other for other in of_order if other.id != payout.id and other.state is not PayoutState.CALLED_OFF]
        if spent:
            raise ConflictError(
                "An output of this payout is spent already.",
                what_to_do="Find the transaction that spends it; a payout of these coins cannot be decided anew.",
            )
        if len(on_chain) == len(planned) and tx.payouts.signed_txids(payout.id):
            raise ConflictError(
                "A transaction was signed for this payout, and its deposit is on the chain.",
                what_to_do="Resume the payout, or replace it: the network takes one of its transactions at most.",
            )
        if on_chain and others and not payout.further:
            raise ConflictError(
                "Another part of this decision is paid or under way, and coins of this part are there.",
                what_to_do="Resume the payout, or replace it: a decision is carried out as a whole.",
            )
        now = ctx.clock.now()
        tx.payouts.call_off(payout, now)
        _follow_call_off(tx, escrow, payout, others, actor, now)

    return decision


def _follow_call_off(
    tx: Transaction, escrow: EscrowRecord, payout: PayoutRecord, others: Sequence[PayoutRecord], actor: str, now: float
) -> None:
    """The escrow awaits its deposit again, or a ruling; unless other parts of the decision stand, or it was closed."""
    detail: dict[str, object] = {"payout": payout.number}
    if escrow.state is not State.PAYING_OUT or any(other.state not in DONE for other in others):
        tx.audit.add(actor, "payout_called_off", now, escrow_id=escrow.id, detail=detail)
    elif others:
        move(tx, escrow, Event.PAYOUT_SETTLED, actor, now, detail=detail)
    else:
        event = Event.RULING_CALLED_OFF if payout.plan.kind is PayoutKind.RULING else Event.PAYOUT_CALLED_OFF
        deadline = max(escrow.deposit_deadline or 0.0, now + escrow.deposit_window_seconds)
        move(tx, escrow, event, actor, now, detail=detail, deposit_deadline=deadline)
    _wake(tx, tx.escrows.get(escrow.id), now)


async def to_write_off(ctx: Context, escrow_id: str, number: int, actor: str, reason: str) -> Decision:
    """Close a held payout whose coins were spent by a transaction that is not ours; `reason` says where they went.

    The coins stay with it: nothing is decided about them again, whatever a reorganisation does. Raises
    InvalidInputError, DaemonUnavailableError; the decision raises NotFoundError, ConflictError.
    """
    reason = reason_of("A write-off", reason, _LONGEST_REASON)
    planned, anchor = await ctx.store.read(lambda tx: _planned_with_anchor(tx, escrow_id, number))
    daemon, _ = await ctx.chain()
    signed = await ctx.store.read(lambda tx: tx.payouts.signed_txids(_held(tx, escrow_id, number)[1].id))
    images = [row.key_image for row in planned if row.public_key == anchor and row.key_image is not None]
    # In this order: a transaction of ours that is mined between the two questions must not pass for a stranger's.
    spent = KeyImageStatus.IN_CHAIN in (await daemon.is_key_image_spent(images) if images else [])
    ours_is_known = bool(await daemon.get_transactions(signed))

    def decision(tx: Transaction) -> None:
        escrow, payout = _held(tx, escrow_id, number)
        if ours_is_known or not spent:
            raise ConflictError(
                "The coins of this payout are not known to be spent by a transaction that is not ours.",
                what_to_do="Resume the payout: the network takes one of its transactions, or has one already.",
            )
        now = ctx.clock.now()
        tx.payouts.write_off(payout, reason, now)
        detail: dict[str, object] = {"payout": payout.number, "reason": reason}
        others = [other for other in tx.payouts.of(escrow_id) if not other.further and other.id != payout.id]
        if escrow.state is State.PAYING_OUT and all(other.state in DONE for other in others):
            move(tx, escrow, Event.PAYOUT_WRITTEN_OFF, actor, now, detail=detail)
        else:
            tx.audit.add(actor, "payout_written_off", now, escrow_id=escrow.id, detail=detail)
        _wake(tx, tx.escrows.get(escrow.id), now)

    return decision


def _planned_with_anchor(tx: Transaction, escrow_id: str, number: int) -> tuple[list[OutputRecord], str]:
    return _planned_outputs(tx, escrow_id, number), _held(tx, escrow_id, number)[1].plan.anchor.public_key


def _planned_outputs(tx: Transaction, escrow_id: str, number: int) -> list[OutputRecord]:
    _, payout = _held(tx, escrow_id, number)
    return [row for row in tx.outputs.of(escrow_id) if row.payout_id == payout.id]


def _held(tx: Transaction, escrow_id: str, number: int) -> tuple[EscrowRecord, PayoutRecord]:
    escrow = tx.escrows.get(escrow_id)
    payout = next((payout for payout in tx.payouts.of(escrow_id) if payout.number == number), None)
    if payout is None:
        raise NotFoundError("This escrow has no such payout.")
    if payout.state is not PayoutState.HELD:
        raise ConflictError(
            f"Payout {number} is {payout.state}: only one that is held waits for a person.",
            what_to_do="Nothing: the service carries it on by itself.",
        )
    return escrow, payout


def _take_up(
    tx: Transaction,
    escrow: EscrowRecord,
    payout: PayoutRecord,
    state: PayoutState,
    actor: str,
    action: str,
    now: float,
) -> None:
    tx.payouts.move(payout, state)
    tx.audit.add(actor, action, now, escrow_id=escrow.id, detail={"payout": payout.number, "state": state.value})
    _wake(tx, escrow, now)


def _wake(tx: Transaction, escrow: EscrowRecord, now: float) -> None:
    """The escrow has something to do at once, in whatever state it is."""
    tx.escrows.change(escrow.id, expected=escrow.state, now=now, due_at=now, failures=0, trouble=None)
