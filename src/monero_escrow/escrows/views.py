"""An escrow as its shop, the arbiter and the operator may see it: read in one transaction, nothing decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monero_escrow.core.deposits import Assessment, OutputStatus
from monero_escrow.core.life_cycle import waits_for
from monero_escrow.core.money import format_xmr
from monero_escrow.core.payout import net_payments
from monero_escrow.escrows.watch_deposits import deposits_of
from monero_escrow.store.records import AuditRecord, EscrowRecord, OutputRecord, PayoutRecord, PayoutState
from monero_escrow.store.trail_tables import OK
from monero_escrow.store.transaction import Transaction


def has_moved(entry: AuditRecord) -> bool:
    """Whether what this row tells of led from one state to another."""
    return entry.to_state is not None and entry.from_state != entry.to_state


@dataclass(frozen=True, slots=True)
class Round:
    """Steps on wallets that are one thing to a person: those of the same name which began together, at `at`."""

    name: str
    at: float
    steps: tuple[Mapping[str, Any], ...]

    @property
    def roles(self) -> tuple[str, ...]:
        """Whose wallets worked."""
        return tuple(str(step["role"]) for step in self.steps if step["role"])

    @property
    def seconds(self) -> float | None:
        """How long it took: it is over when its last wallet is. None while one has no result, or nobody knows it."""
        ended = [step["ended_at"] for step in self.steps]
        return None if None in ended else float(max(ended) - self.at)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What went wrong, each once."""
        return tuple(sorted({str(step["result"]) for step in self.steps if step["result"] not in (None, OK)}))


def rounds_of(steps: Sequence[Mapping[str, Any]]) -> list[Round]:
    """The rows of a journal, in their order, those of one round of a set-up as one."""
    rounds: dict[tuple[str, str, float], list[Mapping[str, Any]]] = {}
    for step in steps:
        rounds.setdefault((step["subject_id"], step["name"], step["intended_at"]), []).append(step)
    return [Round(name, at, tuple(together)) for (_, name, at), together in rounds.items()]


@dataclass(frozen=True, slots=True)
class EscrowView:
    """Everything there is to show of one escrow."""

    escrow: EscrowRecord
    deposits: Assessment
    outputs: tuple[OutputRecord, ...]
    payouts: tuple[PayoutRecord, ...]
    history: tuple[AuditRecord, ...]
    steps: tuple[Mapping[str, Any], ...]

    @property
    def waits_for(self) -> str:
        """Whom or what it waits for, and the trouble there is, as a sentence."""
        held = [payout for payout in self.payouts if payout.state is PayoutState.HELD]
        if held:
            return f"The operator: payout {held[0].number} is held. {held[0].trouble}"
        if self.escrow.trouble:
            return f"{waits_for(self.escrow.state)} It is tried again: {self.escrow.trouble}"
        return waits_for(self.escrow.state)

    @property
    def since(self) -> float:
        """When it came to be in its state, in seconds since the epoch: at its last move, whatever was done since."""
        moves = [entry.at for entry in self.history if has_moved(entry) and entry.to_state == self.escrow.state]
        return moves[-1] if moves else self.escrow.updated_at

    @property
    def payment_uri(self) -> str | None:
        """Monero's own URI scheme, for QR codes and wallets; None while there is no address."""
        if self.escrow.deposit_address is None:
            return None
        return f"monero:{self.escrow.deposit_address}?tx_amount={format_xmr(self.escrow.terms.amount_piconero)}"

    @property
    def dust_piconero(self) -> int:
        """What came in outputs that cannot pay for being moved."""
        return sum(output.amount_piconero for output in self.outputs if output.status is OutputStatus.DUST)


def escrow_view(tx: Transaction, escrow_id: str) -> EscrowView:
    """Raises NotFoundError."""
    escrow = tx.escrows.get(escrow_id)
    return EscrowView(
        escrow=escrow,
        deposits=deposits_of(tx, escrow),
        outputs=tuple(tx.outputs.of(escrow_id)),
        payouts=tuple(tx.payouts.of(escrow_id)),
        history=tuple(tx.audit.of(escrow_id)),
        steps=tuple(tx.journal.of(escrow_id)),
    )


def planned_payments(payout: PayoutRecord) -> dict[str, int]:
    """What each address receives, net of the fee once it is known (gross before), in piconero."""
    payments = net_payments(payout.plan, payout.fee_piconero or 0, payout.shared_fee_piconero)
    return {payment.address: payment.amount_piconero for payment in payments}
