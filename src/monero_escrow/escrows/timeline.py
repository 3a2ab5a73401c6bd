"""An escrow's story as a person reads it: what happened, how long it took, what it waits for, what can be done.

Put together from the audit trail and the journal; nothing is decided here, and nothing asked of the chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from monero_escrow.escrows.views import EscrowView, Round, rounds_of
from monero_escrow.store.audit_table import WALLET_OPERATION
from monero_escrow.store.records import AuditRecord, PayoutState
from monero_escrow.store.trail_tables import OK
from monero_escrow.store.transaction import Transaction

_NOT_TOLD: Final = frozenset({"trio_id", "step", "slots"})
"""Details that say nothing to a person."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One thing that happened. Times are seconds since the epoch; `seconds` is how long it took, None if it took none.

    `trouble` is what went wrong. `operation` marks work on wallets, which a short story leaves out.
    """

    at: float
    who: str
    what: str
    state: str | None
    seconds: float | None = None
    trouble: str | None = None
    operation: bool = False


def timeline(tx: Transaction, view: EscrowView) -> list[Chapter]:
    """The escrow's story, oldest first."""
    told = [_told(row) for row in tx.audit.story(view.escrow.id, view.escrow.trio_id) if not _in_journal(row)]
    return sorted([*told, *map(_operation, rounds_of(view.steps))], key=lambda chapter: chapter.at)


def _in_journal(row: AuditRecord) -> bool:
    """What was done for the escrow itself, the journal tells with its times."""
    return row.action == WALLET_OPERATION and row.escrow_id is not None


def _told(row: AuditRecord) -> Chapter:
    operation = row.action == WALLET_OPERATION
    what = f"in stock: {row.detail.get('step', 'work')}" if operation else row.action.replace("_", " ")
    more = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in row.detail.items() if name not in _NOT_TOLD)
    trouble = None if row.result in (None, OK) else row.result
    return Chapter(row.at, row.actor, f"{what} ({more})" if more else what, row.to_state, None, trouble, operation)


def _operation(one: Round) -> Chapter:
    """Steps on wallets; those of a round, which began together, as one."""
    not_over = ["not ended, or nobody knows how"] if one.seconds is None else []
    return Chapter(
        at=one.at,
        who="service",
        what=f"{one.name} ({', '.join(one.roles)})" if one.roles else one.name,
        state=None,
        seconds=one.seconds,
        trouble=" ".join((*one.troubles, *not_over)) or None,
        operation=True,
    )


def operator_can(view: EscrowView) -> list[str]:
    """What an operator can do at this moment, as commands and sentences; empty if nothing is needed."""
    escrow, can = view.escrow, []
    for payout in view.payouts:
        if payout.state is PayoutState.HELD:
            resume = f"monero-escrow escrow resume-payout {escrow.id} {payout.number}"
            can.append(f"Look at what stopped payout {payout.number}; then `{resume}`, with --replace for another one.")
            api = f"POST /api/escrows/{escrow.id}/payouts/{payout.number}"
            can.append(f"If it can never be mined, give it up: `{api}/call-off`; the chain is asked first.")
            can.append(f"If its coins went elsewhere, close it: `{api}/write-off` with the reason.")
    if escrow.trouble is not None:
        can.append("It is tried again by itself. If it lasts: `monero-escrow doctor` says what is missing.")
    if not can and escrow.deposit_address is not None and view.deposits.counted_piconero == 0:
        can.append(f"If a deposit should be there: `monero-escrow rescan {escrow.id}` looks once more.")
    return can
