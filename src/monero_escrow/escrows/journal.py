"""The journal: a row before a step runs, its result after, in the transaction of what the step brought about.

A step without a result is one of which nobody knows whether it happened: the service ended in the middle of it. Nothing
is repeated blindly then. `RECOVERY` says for each step how to find out, and what is done; `docs/recovery.md` prints
the table. What ended is in the audit trail as well, chained: a row a step, or a round of a set-up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum

from monero_escrow.core.errors import EscrowError
from monero_escrow.core.roles import Role
from monero_escrow.escrows.context import SERVICE, Context
from monero_escrow.escrows.step_log import OnSlot, code_of, one_step
from monero_escrow.store.audit_table import WALLET_OPERATION
from monero_escrow.store.records import PayoutRecord
from monero_escrow.store.trail_tables import OK
from monero_escrow.store.transaction import Transaction


class Step(StrEnum):
    """What is intended, done and recorded. The values are stored: never rename one."""

    MAKE_WALLET = "make wallet"
    PREPARE = "prepare"
    MAKE = "make"
    EXCHANGE = "exchange"
    FINISH = "finish"
    GATE = "gate"
    OPEN_WALLETS = "open wallets"
    EXCHANGE_INFOS = "exchange infos"
    PROPOSE = "propose"
    SIGN = "sign"
    SUBMIT = "submit"
    GIVE_AGAIN = "give again"


@dataclass(frozen=True, slots=True)
class Recovery:
    """For a step that was intended and has no result: what is asked, and what is done then."""

    asked: str
    then: str


_ANEW = Recovery(
    "Whether the trio is finished: that is recorded with the gate's result, or not at all.",
    "No address was shown, so the set-up begins anew with fresh wallets; the old attempt stays in the history.",
)

RECOVERY: Mapping[Step, Recovery] = {
    Step.MAKE_WALLET: _ANEW,
    Step.PREPARE: _ANEW,
    Step.MAKE: _ANEW,
    Step.EXCHANGE: _ANEW,
    Step.FINISH: _ANEW,
    Step.GATE: _ANEW,
    Step.OPEN_WALLETS: Recovery(
        "Whether the file holds the finished wallet with the stored address.",
        "Open it; where it does not, rebuild the wallet by replay and compare its address before it is used.",
    ),
    Step.EXCHANGE_INFOS: Recovery(
        "Nothing: an export replaces the nonces of the one before it, which is dead from then on.",
        "Both wallets export and store anew, at every opening.",
    ),
    Step.PROPOSE: Recovery(
        "Nothing: an unsigned set moves no coin.",
        "Exchange infos anew and make another proposal, which spends the same anchor.",
    ),
    Step.SIGN: Recovery(
        "Whether a signed blob is stored, and whether the network knows its txid or the anchor's key image.",
        "What is not stored was not submitted, so exchange infos anew and propose again; what is stored is submitted.",
    ),
    Step.SUBMIT: Recovery(
        "Whether the daemon knows one of the stored txids, in a block or in its pool.",
        "If so the raw transaction is kept; if not the same blob is submitted again, which is harmless.",
    ),
    Step.GIVE_AGAIN: Recovery(
        "Whether the daemon knows one of the stored txids, and else whether the anchor's key image is spent.",
        "Give the daemon the kept raw transaction again, which is harmless and needs no wallet.",
    ),
}


@dataclass(slots=True)
class Rounds:
    """The steps of a set-up: one row a wallet and round, ended in the transaction that begins the next round."""

    escrow_id: str | None
    trio_id: str
    _rows: list[int] = field(default_factory=list)
    _round: tuple[Step, Mapping[Role, str]] | None = None

    def intend(self, tx: Transaction, name: Step, slots: Mapping[Role, str], now: float) -> None:
        """The round before worked; this one is about to run, each role's wallet on the slot of that name."""
        self.end(tx, OK, now)
        rows = [
            tx.journal.intend(
                escrow_id=self.escrow_id, subject_id=self.trio_id, name=name, role=role, slot=slot, now=now
            )
            for role, slot in slots.items()
        ]
        tx.after_commit(lambda: self._is_under_way(rows, (name, slots)))

    def end(self, tx: Transaction, result: str, now: float, code: str = OK) -> None:
        """What came of the round under way: `OK`, or a sentence and the error's code."""
        for row in self._rows:
            tx.journal.end(row, result, now)
        if self._rows and self._round is not None:
            name, slots = self._round
            detail = {"step": name.value, "slots": dict(slots), "trio_id": self.trio_id}
            tx.audit.add(
                SERVICE,
                WALLET_OPERATION,
                now,
                escrow_id=self.escrow_id,
                trio_id=self.trio_id,
                detail=detail,
                result=code,
            )
        tx.after_commit(lambda: self._is_under_way([], None))

    def _is_under_way(self, rows: list[int], one_round: tuple[Step, Mapping[Role, str]] | None) -> None:
        """Known only after the commit: a row that never was may have its number given to another's step."""
        self._rows, self._round = rows, one_round


@dataclass(slots=True)
class Outcome:
    """What a step brought about: `record` says what is written together with its result."""

    _work: list[Callable[[Transaction], object]] = field(default_factory=list)

    def record(self, work: Callable[[Transaction], object]) -> None:
        """Do this in the transaction that ends the step."""
        self._work.append(work)

    def write(self, tx: Transaction) -> None:
        """Everything that was to be recorded."""
        for work in self._work:
            work(tx)


@asynccontextmanager
async def step(ctx: Context, payout: PayoutRecord, name: Step, *wallets: OnSlot) -> AsyncIterator[Outcome]:
    """A row before the block runs; its result, and what the block gave to `record`, in one transaction after it.

    `wallets` are those that the step is taken on. One log line tells of it.
    """
    begun = ctx.clock.now()
    role, slot = (wallets[0].role, wallets[0].slot_name) if len(wallets) == 1 else (None, None)
    row = await ctx.store.write(
        lambda tx: tx.journal.intend(
            escrow_id=payout.escrow_id, subject_id=payout.id, name=name, role=role, slot=slot, now=begun
        )
    )
    outcome = Outcome()
    detail = {"step": name.value, "payout": payout.number, **({} if role is None else {"role": role.value})}

    def has_ended(tx: Transaction, step_id: int, result: str, code: str) -> None:
        now = ctx.clock.now()
        tx.journal.end(step_id, result, now)
        tx.audit.add(SERVICE, WALLET_OPERATION, now, escrow_id=payout.escrow_id, detail=detail, result=code)

    try:
        with one_step(ctx.clock, name.value, *wallets, payout=payout.number):
            yield outcome
    except BaseException as error:
        why, code = str(error) or type(error).__name__, code_of(error)
        with suppress(EscrowError):  # what ended the step is what counts; without a result it is looked into anyway
            await ctx.store.write(lambda tx: has_ended(tx, row, why, code))
        raise

    def end(tx: Transaction) -> None:
        has_ended(tx, row, OK, OK)
        outcome.write(tx)

    await ctx.store.write(end)
