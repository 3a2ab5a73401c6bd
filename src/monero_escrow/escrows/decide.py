"""Decisions: what a shop, an arbiter or the service itself decides about an escrow, each one transaction.

A decision to pay freezes a plan: which outputs, who gets what. From then on nothing can be decided about those
outputs any more; carrying the plan out is `pay_out.py`. Every decision writes the new state, the audit row, the event
and the answer to its Idempotency-Key together, or changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from monero_escrow.core import payout as plans
from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.errors import ConflictError, InvalidInputError
from monero_escrow.core.fees import FeeRate
from monero_escrow.core.life_cycle import CLOSED_STATES, Event, State, transition
from monero_escrow.core.payout import OutputGroup, PayoutKind, Plan, PlanOutput
from monero_escrow.core.payout_states import DONE
from monero_escrow.escrows.context import SERVICE, Context, move, new_id
from monero_escrow.escrows.watch_deposits import deposits_of
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.transaction import Transaction

Decision = Callable[[Transaction], None]
"""What happens in the transaction; raises to change nothing."""

PlansCheck = Callable[[Sequence[Plan]], None]
"""A look at the plans of a decision before they are frozen; raises to change nothing."""

_LONGEST_REASON = 2_000


class DepositsPendingError(ConflictError):
    """Coins are on their way; deciding now would leave them behind."""

    code = "deposits_pending"
    what_to_do = "Wait until every deposit has enough confirmations, then decide."


class DeadlineError(InvalidInputError):
    """The new deadline is no extension."""

    code = "deadline_not_later"
    what_to_do = "Send a deadline that is later than now and than the present one."


async def release(ctx: Context, escrow_id: str, actor: str) -> Decision:
    """The vendor gets the order's amount, the buyer a surplus; of late coins the vendor gets all."""
    rate = await ctx.fee_rate()

    def decision(tx: Transaction) -> None:
        escrow = tx.escrows.get(escrow_id)
        transition(escrow.state, Event.RELEASE)
        if escrow.state not in CLOSED_STATES:
            _require_whole_amount(tx, escrow)
        of_release = plans.release_late if escrow.state in CLOSED_STATES else plans.release
        decided = of_release(escrow.terms, _groups(tx, escrow, rate))
        _decide(ctx, tx, escrow, Event.RELEASE, plans.worth_carrying_out(decided, rate), actor)

    return decision


async def refund(ctx: Context, escrow_id: str, actor: str) -> Decision:
    """The buyer gets everything."""
    rate = await ctx.fee_rate()

    def decision(tx: Transaction) -> None:
        escrow = tx.escrows.get(escrow_id)
        transition(escrow.state, Event.REFUND)
        if escrow.state in (State.AWAITING_DEPOSIT, State.SHORT):
            _require_nothing_pending(tx, escrow)
        kind = PayoutKind.RETURN if escrow.state in CLOSED_STATES else PayoutKind.REFUND
        decided = plans.refund(escrow.terms, _groups(tx, escrow, rate), kind)
        _decide(ctx, tx, escrow, Event.REFUND, plans.worth_carrying_out(decided, rate), actor)

    return decision


async def ruling(
    ctx: Context,
    escrow_id: str,
    actor: str,
    buyer_share: int,
    vendor_share: int,
    *,
    reason: str = "",
    check: PlansCheck = lambda _plans: None,
) -> Decision:
    """The arbiter splits everything by shares of 10,000; the history tells `reason`, if there is one.

    `check` judges the very plans that are about to be frozen.
    """
    plans.check_ruling(buyer_share, vendor_share)
    why: dict[str, object] = {"reason": reason_of("A ruling", reason)} if reason.strip() else {}
    shares = f"{buyer_share}/{vendor_share} of 10,000"
    rate = await ctx.fee_rate()

    def decision(tx: Transaction) -> None:
        escrow, decided = plans_of_ruling(tx, escrow_id, rate, buyer_share, vendor_share)
        check(decided)
        _decide(ctx, tx, escrow, Event.RULING, decided, actor, reason=shares, told=why)

    return decision


def plans_of_ruling(
    tx: Transaction, escrow_id: str, rate: FeeRate, buyer_share: int, vendor_share: int
) -> tuple[EscrowRecord, tuple[Plan, ...]]:
    """What a ruling would pay, for whoever wants to see it before; nothing is decided.

    Raises WrongStateError, InvalidSharesError, DepositsPendingError, NothingToPayOutError, as the ruling would.
    """
    escrow = tx.escrows.get(escrow_id)
    transition(escrow.state, Event.RULING)
    _require_whole_amount(tx, escrow)  # a reorganisation may have put a deposit back into the pool
    split = plans.ruling(escrow.terms, _groups(tx, escrow, rate), buyer_share, vendor_share)
    return escrow, plans.worth_carrying_out(split, rate)


def dispute(ctx: Context, escrow_id: str, actor: str, reason: str) -> Decision:
    """Buyer and vendor disagree: from now on only the arbiter decides."""
    text = reason_of("A dispute", reason)

    def decision(tx: Transaction) -> None:
        escrow = tx.escrows.get(escrow_id)
        move(tx, escrow, Event.DISPUTE, actor, ctx.clock.now(), detail={"reason": text})

    return decision


def dismiss(ctx: Context, escrow_id: str, actor: str, reason: str) -> Decision:
    """The arbiter sees nothing to rule about: the shop decides again. A deposit that is gone is awaited again."""
    text = reason_of("A dismissal", reason)

    def decision(tx: Transaction) -> None:
        escrow, now = tx.escrows.get(escrow_id), ctx.clock.now()
        move(tx, escrow, Event.DISMISS, actor, now, detail={"reason": text}, due_at=now)

    return decision


def reason_of(what: str, reason: str, longest: int = _LONGEST_REASON) -> str:
    """The reason a person gives for `what`, without blanks around it. Raises InvalidInputError."""
    text = reason.strip()
    if not text or len(text) > longest or not text.isprintable():
        raise InvalidInputError(f"{what} needs a reason of 1 to {longest} printable characters.")
    return text


def accept_short(ctx: Context, escrow_id: str, actor: str) -> Decision:
    """The shop takes what came for the whole."""

    def decision(tx: Transaction) -> None:
        escrow = tx.escrows.get(escrow_id)
        transition(escrow.state, Event.ACCEPT_SHORT)
        _require_nothing_pending(tx, escrow)
        counted = deposits_of(tx, escrow).counted_piconero
        if counted == 0:
            raise plans.NothingToPayOutError("Nothing that counts has come, so there is nothing to accept.")
        detail: dict[str, object] = {"counted_piconero": str(counted)}
        move(tx, escrow, Event.ACCEPT_SHORT, actor, ctx.clock.now(), detail=detail, funded_piconero=counted)

    return decision


def extend(ctx: Context, escrow_id: str, actor: str, deadline: float) -> Decision:
    """A later deadline (seconds since the epoch); an escrow that was short or expired awaits its deposit again."""

    def decision(tx: Transaction) -> None:
        now = ctx.clock.now()
        escrow = tx.escrows.get(escrow_id)
        transition(escrow.state, Event.EXTEND)
        if deadline <= max(now, escrow.deposit_deadline or 0):
            raise DeadlineError("The new deadline is not later than now and than the present one.")
        if deadline > now + 31_536_000:
            raise DeadlineError("The new deadline is more than a year away.")
        move(tx, escrow, Event.EXTEND, actor, now, deposit_deadline=deadline, due_at=now)

    return decision


def cancel(ctx: Context, escrow_id: str, actor: str) -> Decision:
    """The order is called off, before anything came."""

    def decision(tx: Transaction) -> None:
        escrow = tx.escrows.get(escrow_id)
        transition(escrow.state, Event.CANCEL)
        deposits = deposits_of(tx, escrow)
        if deposits.counted_piconero or deposits.pending_piconero:
            raise ConflictError(
                "Coins have come for this order already.", what_to_do="Refund them, or wait for the rest."
            )
        now = ctx.clock.now()
        move(tx, escrow, Event.CANCEL, actor, now, due_at=now)  # coins that were locked until lately go back at once

    return decision


async def return_late_coins(ctx: Context, escrow_id: str) -> None:
    """Coins that came to a closed escrow go back to the buyer, unless LATE_COINS leaves that to the shop."""
    if ctx.settings.late_coins == "ask":
        return
    rate = await ctx.fee_rate()

    def decide(tx: Transaction) -> None:
        escrow = tx.escrows.get(escrow_id)
        if escrow.state not in CLOSED_STATES or _payout_under_way(tx, escrow):
            return
        try:
            returned = plans.refund(escrow.terms, _groups(tx, escrow, rate), PayoutKind.RETURN)
            decided = plans.worth_carrying_out(returned, rate)
        except plans.NothingToPayOutError:
            return  # nothing came late, or nothing that could pay its own fee
        _decide(ctx, tx, escrow, Event.LATE_COINS_REFUNDED, decided, SERVICE)

    await ctx.store.write(decide)


def _undecided(tx: Transaction, escrow: EscrowRecord) -> list[PlanOutput]:
    """Outputs that no decision names yet. Coins whose time lock ran out join only when nothing else is expected."""
    spendable = {OutputStatus.COUNTED}
    if escrow.state in CLOSED_STATES:
        spendable.add(OutputStatus.RETURNABLE)
    return [
        PlanOutput(output.public_key, output.amount_piconero)
        for output in tx.outputs.of(escrow.id)
        if output.payout_id is None and output.status in spendable
    ]


def _groups(tx: Transaction, escrow: EscrowRecord, rate: FeeRate) -> tuple[OutputGroup, ...]:
    return plans.group_outputs(_undecided(tx, escrow), rate.of_input())


def _payout_under_way(tx: Transaction, escrow: EscrowRecord) -> bool:
    return any(payout.state not in DONE for payout in tx.payouts.of(escrow.id))


def _require_whole_amount(tx: Transaction, escrow: EscrowRecord) -> None:
    """What is still on its way belongs to the vendor, unless it is a surplus."""
    if not deposits_of(tx, escrow).complete:
        _require_nothing_pending(tx, escrow)


def _require_nothing_pending(tx: Transaction, escrow: EscrowRecord) -> None:
    if deposits_of(tx, escrow).pending_piconero:
        raise DepositsPendingError("Further coins are on their way to this escrow.")


def _decide(
    ctx: Context,
    tx: Transaction,
    escrow: EscrowRecord,
    event: Event,
    decided: Sequence[Plan],
    actor: str,
    reason: str | None = None,
    told: Mapping[str, object] | None = None,
) -> None:
    """Freeze the plans: their outputs belong to this decision from now on. `told` goes into the history as well."""
    now = ctx.clock.now()
    if _payout_under_way(tx, escrow):
        raise ConflictError("A payout of this escrow is under way.", what_to_do="Wait until it is settled.")
    first = len(tx.payouts.of(escrow.id)) + 1
    for number, plan in enumerate(decided, start=first):
        payout_id = new_id()
        further = escrow.state in CLOSED_STATES
        tx.payouts.add(payout_id, escrow.id, number, plan, decided_by=actor, reason=reason, now=now, further=further)
        tx.outputs.give_to_payout(escrow.id, [output.public_key for output in plan.outputs], payout_id)
    detail = {**_told(decided), **(told or {})}
    move(tx, escrow, event, actor, now, detail=detail, due_at=now, failures=0, trouble=None)


def _told(decided: Sequence[Plan]) -> dict[str, object]:
    """The decision as history and events tell it: gross sums a beneficiary, before the network fee."""
    shares: Counter[str] = Counter()
    for plan in decided:
        shares.update({share.beneficiary.value: share.gross_piconero for share in plan.shares})
    return {
        "kind": decided[0].kind.value,
        "total_piconero": str(sum(plan.total_piconero for plan in decided)),
        "shares": {who: str(piconero) for who, piconero in shares.items()},
    }
