"""What shops and arbiters are answered: escrows, their deposits and payouts, events, and problems."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from monero_escrow.core.deposits import Coverage, OutputStatus
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import FeeBearer, PayoutKind
from monero_escrow.store.records import PayoutState
from monero_escrow.web.schemas.shapes import EXAMPLE_ID, EXAMPLE_TIME, Answer


class FieldProblem(Answer):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Answer):
    """An error: RFC 9457 problem details. `code` is stable, and for programs; the sentences are for people."""

    type: str = Field(examples=["urn:monero-escrow:problem:wrong_state"])
    title: str = Field(examples=["Wrong state"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["An escrow that is settled does not take 'dispute'."])
    code: str = Field(examples=["wrong_state"])
    what_to_do: str = Field(examples=["Read the escrow's current state and decide anew."])
    instance: str | None = Field(default=None, examples=["urn:monero-escrow:request:5f2b8e0c"])
    errors: list[FieldProblem] | None = Field(default=None, description="For requests whose fields are wrong.")


class Commission(Answer):
    """The marketplace's part of what the vendor gets."""

    address: str
    parts: int


class EscrowSummary(Answer):
    """An escrow as lists show it."""

    escrow_id: str = Field(examples=[EXAMPLE_ID])
    order_id: str = Field(examples=["order-1001"])
    shop_id: str = Field(examples=["acme"])
    state: State
    waits_for: str = Field(description="Whom or what it waits for, as a sentence.")
    trouble: str | None = Field(description="Why the last step did not work, if it did not; it is tried again.")
    amount: str = Field(examples=["1.25"])
    amount_piconero: str = Field(examples=["1250000000000"])
    deposit_address: str | None = Field(description="None while the three wallets are being set up.")
    payment_uri: str | None = Field(description="The same as a Monero URI, for QR codes and wallets.")
    deposit_deadline: str | None = Field(examples=[EXAMPLE_TIME])
    counted_piconero: str = Field(
        description="What came and counts, already paid out or not.", examples=["1250000000000"]
    )
    pending_piconero: str = Field(description="What came and has too few confirmations yet.", examples=["0"])
    missing_piconero: str = Field(description="What is missing when all that is pending counts.", examples=["0"])
    coverage: Coverage
    buyer_refund_address: str
    vendor_payout_address: str
    fee_bearer: FeeBearer
    commission: Commission | None
    created_at: str = Field(examples=[EXAMPLE_TIME])
    updated_at: str = Field(examples=[EXAMPLE_TIME])


class Deposit(Answer):
    """One output that came to the escrow's address."""

    txid: str
    amount: str
    amount_piconero: str
    height: int
    status: OutputStatus
    unlock_time: int
    payout: int | None = Field(description="The number of the payout that spends it.")


class Payment(Answer):
    """What one address receives: net of the network fee once that is known, before it until then."""

    address: str
    amount: str
    amount_piconero: str


class Payout(Answer):
    """A decision to pay, and how far it has been carried out."""

    number: int
    kind: PayoutKind
    state: PayoutState
    decided_by: str
    reason: str | None
    decided_at: str
    txid: str | None
    fee_piconero: str | None
    mined_height: int | None
    settled_at: str | None
    trouble: str | None
    total_piconero: str = Field(description="Everything it spends, the network fee included.")
    payments: list[Payment]


class HistoryEntry(Answer):
    """Who did what when."""

    at: str
    actor: str
    action: str
    from_state: str | None
    to_state: str | None
    detail: dict[str, Any]


class Escrow(EscrowSummary):
    """An escrow with everything there is to know of it."""

    deposits: list[Deposit]
    dust_piconero: str = Field(description="What came in outputs too small to pay for being moved.")
    payouts: list[Payout]
    history: list[HistoryEntry]
    actions: list[str] = Field(description="What the caller may do now.", examples=[["release", "refund", "dispute"]])


class BatchAnswer(Answer):
    """What came of one order: its escrow, or why it was refused."""

    status: int = Field(
        examples=[201],
        description="As a request of its own would have been answered: 201 made, 200 known already, 202 its address "
        "comes later, or a problem's status.",
    )
    escrow: Escrow | None
    problem: Problem | None


class BatchAnswers(Answer):
    """One answer an order, in the order in which they were sent."""

    answers: list[BatchAnswer]


class EscrowPage(Answer):
    """Escrows, newest first. `next_cursor` asks for the next page; null on the last."""

    escrows: list[EscrowSummary]
    next_cursor: str | None


class OutboxEvent(Answer):
    """Something that happened to an escrow. Ids only grow."""

    id: int
    type: str = Field(examples=["escrow.deposit_complete"])
    escrow_id: str
    at: str
    data: dict[str, Any]


class EventPage(Answer):
    """Events in order. Send `next_after` as `after` to hear of what comes next."""

    events: list[OutboxEvent]
    next_after: int


class Evidence(Answer):
    """One text of a party."""

    party: Literal["buyer", "vendor"]
    text: str
    at: str = Field(examples=[EXAMPLE_TIME])


class EvidenceList(Answer):
    """All that was said, the oldest first."""

    evidence: list[Evidence]
