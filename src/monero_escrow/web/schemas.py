"""The shapes of requests and answers: what OpenAPI publishes and what is checked before a use case sees anything.

Requests are strict: no unknown field, no number where a string belongs. Amounts leave twice, as decimal XMR strings and
as strings of piconero digits, because JSON's numbers are not exact in every language. Times are ISO 8601, UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from monero_escrow.core.deposits import Coverage, OutputStatus
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import PARTS_OF_WHOLE, parse_xmr
from monero_escrow.core.payout import SHARES_TOTAL, FeeBearer, PayoutKind
from monero_escrow.store.records import PayoutState

LONGEST_REASON: Final = 2_000
MOST_ORDERS: Final = 1_000
_EXAMPLE_ID: Final = "5f0c2e9a41b7d3680e1f2a3b"
_EXAMPLE_TIME: Final = "2026-01-31T12:00:00Z"


def _parse_deadline(value: object) -> float:
    """Seconds since the epoch of an ISO 8601 time with an offset."""
    if not isinstance(value, str) or not value.isascii() or len(value) > 40:
        raise ValueError("A time is an ISO 8601 string with an offset, such as 2026-01-31T12:00:00Z")
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("This is no ISO 8601 time, such as 2026-01-31T12:00:00Z") from None
    if time.tzinfo is None:
        raise ValueError("The time needs an offset: Z for UTC, or one such as +02:00")
    return time.timestamp()


Xmr = Annotated[
    int,
    BeforeValidator(parse_xmr),
    WithJsonSchema({"type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.[0-9]{1,12})?$", "examples": ["1.25"]}),
]
"""An amount as requests state it, read into piconero. Raises InvalidAmountError."""

Deadline = Annotated[
    float,
    BeforeValidator(_parse_deadline),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": [_EXAMPLE_TIME]}),
]
"""A time as requests state it, read into seconds since the epoch."""


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


def _example(**body: object) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": body})  # type: ignore[dict-item]  # it is JSON


# --- requests --------------------------------------------------------------------------------------------------------


class CommissionTerms(_Request):
    """The marketplace's part of what the vendor gets."""

    address: str = Field(description="Where the commission is paid.")
    parts: int = Field(ge=1, lt=PARTS_OF_WHOLE, description="Parts of 10,000: 250 is 2.5 per cent.", examples=[250])


class NewOrder(_Request):
    """An order for which an escrow is wanted."""

    model_config = _example(
        amount="1.25", buyer_refund_address="(the buyer's address)", vendor_payout_address="(the vendor's address)"
    )

    amount: Xmr = Field(description="What the buyer is to pay, in XMR, as a decimal string.")
    buyer_refund_address: str = Field(description="Where coins go that go back to the buyer.")
    vendor_payout_address: str = Field(description="Where the vendor is paid.")
    fee_bearer: FeeBearer = Field(
        default=FeeBearer.RECEIVERS,
        strict=False,
        description="Who bears the network fee of a payout: the receivers by their shares, the buyer, or the vendor.",
    )
    commission: CommissionTerms | None = None
    deposit_window_seconds: float | None = Field(
        default=None,
        ge=60,
        le=31_536_000,
        allow_inf_nan=False,
        description="Time the buyer has to pay, from the address on. Default: the service's DEPOSIT_WINDOW_SECONDS.",
        examples=[86_400],
    )


class BatchOrder(NewOrder):
    """One order of a batch."""

    model_config = _example(
        order_id="order-1001",
        amount="1.25",
        buyer_refund_address="(the buyer's address)",
        vendor_payout_address="(the vendor's address)",
    )

    order_id: str = Field(description="The shop's own id of the order.", examples=["order-1001"])


def _or_as_sent(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """The order; or what was sent, if it is none, so that it can be refused alone."""
    try:
        return validate(value)
    except (ValidationError, EscrowError):
        return value


class NewBatch(_Request):
    """Orders for which escrows are wanted. What is no order is refused in its place."""

    orders: list[Annotated[BatchOrder, WrapValidator(_or_as_sent)]] = Field(
        min_length=1, max_length=MOST_ORDERS, description=f"1 to {MOST_ORDERS:,} orders."
    )


class NoTerms(_Request):
    """An action that needs nothing said: `{}`, or no body."""


class RescanTerms(_Request):
    """From where on to look once more."""

    model_config = _example(from_height=3_100_000)

    from_height: int | None = Field(
        default=None, ge=0, le=500_000_000, description="Scan from this block on again; none: only its wallet looks."
    )


class DisputeTerms(_Request):
    """Why the arbiter is asked."""

    model_config = _example(reason="The parcel was empty.")

    reason: str = Field(
        min_length=1,
        max_length=LONGEST_REASON,
        description="For the arbiter and the history.",
        examples=["Not received"],
    )


class DismissalTerms(_Request):
    """Why no ruling is needed."""

    model_config = _example(reason="Buyer and vendor have agreed.")

    reason: str = Field(
        min_length=1,
        max_length=LONGEST_REASON,
        description="For the shop and the history.",
        examples=["Agreed"],
    )


class WriteOffTerms(_Request):
    """Where the coins of a payout went."""

    model_config = _example(reason="Paid to the vendor by the service before it was restored: see its old log.")

    reason: str = Field(
        min_length=1,
        max_length=1_000,  # it is kept as the payout's trouble
        description="What you found out, for the history.",
        examples=["Paid before the restore"],
    )


class ExtendTerms(_Request):
    """How long the buyer may take instead."""

    model_config = _example(deadline=_EXAMPLE_TIME)

    deadline: Deadline = Field(description="Later than now and than the present deadline, at most a year from now.")


class RulingTerms(_Request):
    """How the arbiter splits everything that came. The two add up to 10,000."""

    model_config = _example(buyer_share=3000, vendor_share=7000)

    buyer_share: int = Field(ge=0, le=SHARES_TOTAL, description="Parts of 10,000.", examples=[3000])
    vendor_share: int = Field(ge=0, le=SHARES_TOTAL, description="Parts of 10,000.", examples=[7000])


# --- answers ---------------------------------------------------------------------------------------------------------


class FieldProblem(_Answer):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(_Answer):
    """An error: RFC 9457 problem details. `code` is stable, and for programs; the sentences are for people."""

    type: str = Field(examples=["urn:monero-escrow:problem:wrong_state"])
    title: str = Field(examples=["Wrong state"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["An escrow that is settled does not take 'dispute'."])
    code: str = Field(examples=["wrong_state"])
    what_to_do: str = Field(examples=["Read the escrow's current state and decide anew."])
    instance: str | None = Field(default=None, examples=["urn:monero-escrow:request:5f2b8e0c"])
    errors: list[FieldProblem] | None = Field(default=None, description="For requests whose fields are wrong.")


class Commission(_Answer):
    """The marketplace's part of what the vendor gets."""

    address: str
    parts: int


class EscrowSummary(_Answer):
    """An escrow as lists show it."""

    escrow_id: str = Field(examples=[_EXAMPLE_ID])
    order_id: str = Field(examples=["order-1001"])
    shop_id: str = Field(examples=["acme"])
    state: State
    waits_for: str = Field(description="Whom or what it waits for, as a sentence.")
    trouble: str | None = Field(description="Why the last step did not work, if it did not; it is tried again.")
    amount: str = Field(examples=["1.25"])
    amount_piconero: str = Field(examples=["1250000000000"])
    deposit_address: str | None = Field(description="None while the three wallets are being set up.")
    payment_uri: str | None = Field(description="The same as a Monero URI, for QR codes and wallets.")
    deposit_deadline: str | None = Field(examples=[_EXAMPLE_TIME])
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
    created_at: str = Field(examples=[_EXAMPLE_TIME])
    updated_at: str = Field(examples=[_EXAMPLE_TIME])


class Deposit(_Answer):
    """One output that came to the escrow's address."""

    txid: str
    amount: str
    amount_piconero: str
    height: int
    status: OutputStatus
    unlock_time: int
    payout: int | None = Field(description="The number of the payout that spends it.")


class Payment(_Answer):
    """What one address receives: net of the network fee once that is known, before it until then."""

    address: str
    amount: str
    amount_piconero: str


class Payout(_Answer):
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


class HistoryEntry(_Answer):
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


class BatchAnswer(_Answer):
    """What came of one order: its escrow, or why it was refused."""

    status: int = Field(
        examples=[201],
        description="As a request of its own would have been answered: 201 made, 200 known already, 202 its address "
        "comes later, or a problem's status.",
    )
    escrow: Escrow | None
    problem: Problem | None


class BatchAnswers(_Answer):
    """One answer an order, in the order in which they were sent."""

    answers: list[BatchAnswer]


class EscrowPage(_Answer):
    """Escrows, newest first. `next_cursor` asks for the next page; null on the last."""

    escrows: list[EscrowSummary]
    next_cursor: str | None


class OutboxEvent(_Answer):
    """Something that happened to an escrow. Ids only grow."""

    id: int
    type: str = Field(examples=["escrow.deposit_complete"])
    escrow_id: str
    at: str
    data: dict[str, Any]


class EventPage(_Answer):
    """Events in order. Send `next_after` as `after` to hear of what comes next."""

    events: list[OutboxEvent]
    next_after: int


class RpcPool(_Answer):
    """The wallet-rpc processes: total = free + busy + sick."""

    total: int
    free: int
    busy: int = Field(description="Leased by work under way.")
    sick: int = Field(description="Not to be used, or resting after a call without an answer.")


class Capacity(_Answer):
    """What could begin this moment."""

    max_concurrent_escrows: int = Field(description="Set-ups that could begin at once, each on three free processes.")


class Stock(_Answer):
    """Finished wallets that wait for orders: an order that finds one has its address at once."""

    target: int
    ready: int
    under_an_hour: int = Field(description="How many were finished less than an hour ago.")
    under_a_day: int = Field(description="How many of the others less than a day ago.")
    older: int
    oldest_seconds: int | None = Field(description="How long ago the oldest was finished.")


class HealthReason(_Answer):
    """Why the service is not healthy, and what a person can do about it."""

    code: str = Field(examples=["no_daemon"], description="Stable; docs/runbook.md has a section for each.")
    reason: str
    what_to_do: str
    status: str = Field(examples=["degraded"], description="How bad it is by itself: degraded or critical.")


class Health(_Answer):
    """How the service stands, for its operator."""

    status: str = Field(examples=["healthy"], description="healthy, degraded or critical: the worst of its reasons.")
    reasons: list[HealthReason] = Field(description="Why it is not healthy, the worst first.")
    rpc_pool: RpcPool
    capacity: Capacity
    stock: Stock | None = Field(description="null when the database did not say.")
    deposits: str = Field(examples=["watched"], description="watched, or waiting for a daemon.")
    version: str


class Probe(_Answer):
    """For load balancers and supervisors."""

    status: str = Field(examples=["ok"], description="ok or unavailable.")
