"""Rows as the use cases see them: frozen values, with secrets hidden from their repr.

Times are seconds since the epoch, amounts are piconero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.errors import InvariantError
from monero_escrow.core.key_exchange import KeyExchange
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import Plan, Terms
from monero_escrow.core.payout_states import PayoutState as PayoutState
from monero_escrow.core.roles import Role


def required(value: str | None, otherwise: str) -> str:
    """What must be there in this state. Raises InvariantError: nothing falls back silently."""
    if value is None:
        raise InvariantError(otherwise)
    return value


class TrioState(StrEnum):
    """Where the set-up of a trio is. The values are stored: never rename one."""

    MAKING = "making"
    READY = "ready"
    ABANDONED = "abandoned"
    QUARANTINED = "quarantined"
    """From a restored backup: what the original did with it nobody knows. Kept for its keys, never handed out."""


@dataclass(frozen=True, slots=True)
class EscrowRecord:
    """One order's escrow."""

    id: str
    shop_id: str
    order_id: str
    request_fingerprint: str
    state: State
    terms: Terms
    deposit_window_seconds: float
    deposit_deadline: float | None
    deposit_address: str | None
    trio_id: str | None
    due_at: float | None
    failures: int
    trouble: str | None
    created_at: float
    updated_at: float
    in_pool_piconero: int = 0
    wakes: int = 0
    funded_piconero: int | None = None

    @property
    def finished_trio_id(self) -> str:
        """The trio of an escrow that has an address. Raises InvariantError before."""
        return required(self.trio_id, "An escrow without an address has no trio.")


@dataclass(frozen=True, slots=True)
class ParticipantRecord:
    """One wallet of a trio that the service hosts: how to open it, and what to rebuild it from."""

    trio_id: str
    role: Role
    filename: str
    primary_address: str
    password: str = field(repr=False)
    spend_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TrioRecord:
    """Three wallets that are, or are being made, one multisig."""

    id: str
    escrow_id: str | None
    state: TrioState
    restore_height: int
    address: str | None
    participants: Mapping[Role, ParticipantRecord]
    exchange: KeyExchange = field(repr=False)

    @property
    def finished_address(self) -> str:
        """The address of a trio that passed the gate. Raises InvariantError before."""
        return required(self.address, "A trio that did not pass the gate has no address.")


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """An output that was sent to an escrow's address; `payout_id` is the one decision it belongs to."""

    escrow_id: str
    public_key: str
    txid: str
    amount_piconero: int
    height: int
    unlock_time: int
    status: OutputStatus
    key_image: str | None
    payout_id: str | None
    seen_at: float
    final_at: float | None = None


@dataclass(frozen=True, slots=True)
class PayoutRecord:
    """A decision and how far it has been carried out."""

    id: str
    escrow_id: str
    number: int
    state: PayoutState
    plan: Plan
    decided_by: str
    reason: str | None
    fee_piconero: int | None
    shared_fee_piconero: int | None
    txid: str | None
    mined_height: int | None
    trouble: str | None
    decided_at: float
    broadcast_at: float | None
    settled_at: float | None
    further: bool = False
    failures: int = 0
    final_at: float | None = None

    @property
    def signed_txid(self) -> str:
        """The txid of a payout that is signed. Raises InvariantError before."""
        return required(self.txid, "A payout that is not signed has no txid.")


@dataclass(frozen=True, slots=True)
class RulingRecord:
    """A ruling in a list of them: `reason` is its shares, as its payouts keep them."""

    escrow_id: str
    order_id: str
    shop_id: str
    decided_by: str
    reason: str | None
    decided_at: float


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Who did what when, from where (`source`, a network address), and what came of it."""

    id: int
    escrow_id: str | None
    at: float
    actor: str
    action: str
    from_state: str | None
    to_state: str | None
    detail: Mapping[str, Any]
    source: str | None = None
    result: str | None = None


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """What a party of a dispute says; `text` is as it was sent, for people to read and never to be taken for HTML."""

    id: int
    escrow_id: str
    party: Role
    text: str
    sent_by: str
    at: float


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One entry of the outbox."""

    id: int
    shop_id: str
    escrow_id: str
    type: str
    data: Mapping[str, Any]
    at: float


class Scope(StrEnum):
    """What an API key may do."""

    SHOP = "shop"
    ARBITER = "arbiter"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An API key; the key itself is stored nowhere, only its hash."""

    id: str
    scope: Scope
    shop_id: str | None
    name: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None

    @property
    def actor(self) -> str:
        """How the audit trail names whoever holds the key."""
        return f"{self.scope}:{self.shop_id or self.name}:{self.id}"
