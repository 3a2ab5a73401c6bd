"""What the store's tests share: rows of every kind, always the same for a name."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from monero_escrow.core.address import Network
from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import Plan, PlanOutput, Terms, refund
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.store.records import EscrowRecord, OutputRecord, ParticipantRecord
from monero_escrow.store.transaction import Transaction

NETWORK = Network.STAGENET
MASTER_KEY = bytes(range(32))
XMR = 10**12


def hex64(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def address(name: str) -> str:
    return WalletKeys.from_entropy(hashlib.sha256(name.encode()).digest(), NETWORK).address


def escrow(escrow_id: str = "escrow", **changes: Any) -> EscrowRecord:
    made = EscrowRecord(
        id=escrow_id,
        shop_id="shop",
        order_id=f"order of {escrow_id}",
        request_fingerprint=hex64(escrow_id),
        state=State.SETTING_UP,
        terms=Terms(XMR, address("buyer"), address("vendor")),
        deposit_window_seconds=3_600.0,
        deposit_deadline=None,
        deposit_address=None,
        trio_id=None,
        due_at=100.0,
        failures=0,
        trouble=None,
        created_at=100.0,
        updated_at=100.0,
    )
    return replace(made, **changes)


def output(name: str = "coin", escrow_id: str = "escrow", **changes: Any) -> OutputRecord:
    made = OutputRecord(
        escrow_id=escrow_id,
        public_key=hex64(name),
        txid=hex64(f"txid of {name}"),
        amount_piconero=XMR,
        height=1_000,
        unlock_time=0,
        status=OutputStatus.COUNTED,
        key_image=None,
        payout_id=None,
        seen_at=101.0,
    )
    return replace(made, **changes)


def plan(*names: str) -> Plan:
    group = tuple(PlanOutput(hex64(name), XMR) for name in names or ("coin",))
    return refund(escrow().terms, [group])[0]


def participants(trio_id: str) -> list[ParticipantRecord]:
    return [
        ParticipantRecord(
            trio_id=trio_id,
            role=role,
            filename=f"{role}-{trio_id}",
            primary_address=address(f"{trio_id}/{role}"),
            password=f"password of {trio_id}/{role}",
            spend_key=hex64(f"spend key of {trio_id}/{role}"),
        )
        for role in ROLES
    ]


def message(role: Role, number: int) -> str:
    return f"MultisigxV2R{role}{number}{hex64('message')}"


def add_funded(tx: Transaction, escrow_id: str = "escrow") -> None:
    """An escrow with one counted output."""
    tx.escrows.add(escrow(escrow_id))
    tx.outputs.add(output(f"coin of {escrow_id}", escrow_id))


def decide(tx: Transaction, payout_id: str, escrow_id: str, decided: Plan, number: int = 1) -> None:
    tx.payouts.add(payout_id, escrow_id, number, decided, decided_by="shop", reason=None, now=102.0)
