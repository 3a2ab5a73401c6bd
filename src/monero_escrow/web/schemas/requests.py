"""What callers send. Checked whole before a use case sees anything of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_serializer,
)

from monero_escrow.core.errors import EscrowError
from monero_escrow.core.money import PARTS_OF_WHOLE, parse_xmr
from monero_escrow.core.payout import SHARES_TOTAL, FeeBearer
from monero_escrow.escrows.evidence import LONGEST_TEXT
from monero_escrow.web.schemas.shapes import EXAMPLE_TIME, Request, example

LONGEST_REASON: Final = 2_000
MOST_ORDERS: Final = 1_000


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
    WithJsonSchema({"type": "string", "format": "date-time", "examples": [EXAMPLE_TIME]}),
]
"""A time as requests state it, read into seconds since the epoch."""


class CommissionTerms(Request):
    """The marketplace's part of what the vendor gets."""

    address: str = Field(description="Where the commission is paid.")
    parts: int = Field(ge=1, lt=PARTS_OF_WHOLE, description="Parts of 10,000: 250 is 2.5 per cent.", examples=[250])


class NewOrder(Request):
    """An order for which an escrow is wanted."""

    model_config = example(
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

    model_config = example(
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


class NewBatch(Request):
    """Orders for which escrows are wanted. What is no order is refused in its place."""

    orders: list[Annotated[BatchOrder, WrapValidator(_or_as_sent)]] = Field(
        min_length=1, max_length=MOST_ORDERS, description=f"1 to {MOST_ORDERS:,} orders."
    )


class NoTerms(Request):
    """An action that needs nothing said: `{}`, or no body."""


class RescanTerms(Request):
    """From where on to look once more."""

    model_config = example(from_height=3_100_000)

    from_height: int | None = Field(
        default=None, ge=0, le=500_000_000, description="Scan from this block on again; none: only its wallet looks."
    )


class DisputeTerms(Request):
    """Why the arbiter is asked."""

    model_config = example(reason="The parcel was empty.")

    reason: str = Field(
        min_length=1,
        max_length=LONGEST_REASON,
        description="For the arbiter and the history.",
        examples=["Not received"],
    )


class DismissalTerms(Request):
    """Why no ruling is needed."""

    model_config = example(reason="Buyer and vendor have agreed.")

    reason: str = Field(
        min_length=1,
        max_length=LONGEST_REASON,
        description="For the shop and the history.",
        examples=["Agreed"],
    )


class EvidenceTerms(Request):
    """What one party says."""

    model_config = example(party="buyer", text="The parcel was empty; the scale at the post...")

    party: Literal["buyer", "vendor"] = Field(description="Whose word it is.")
    text: str = Field(min_length=1, max_length=LONGEST_TEXT, description="Plain text; shown to the arbiter as it is.")


class WriteOffTerms(Request):
    """Where the coins of a payout went."""

    model_config = example(reason="Paid to the vendor by the service before it was restored: see its old log.")

    reason: str = Field(
        min_length=1,
        max_length=1_000,  # it is kept as the payout's trouble
        description="What you found out, for the history.",
        examples=["Paid before the restore"],
    )


class ExtendTerms(Request):
    """How long the buyer may take instead."""

    model_config = example(deadline=EXAMPLE_TIME)

    deadline: Deadline = Field(description="Later than now and than the present deadline, at most a year from now.")


class RulingTerms(Request):
    """How the arbiter splits everything that came. The two add up to 10,000."""

    model_config = example(buyer_share=3000, vendor_share=7000, reason="Both are to blame in part.")

    buyer_share: int = Field(ge=0, le=SHARES_TOTAL, description="Parts of 10,000.", examples=[3000])
    vendor_share: int = Field(ge=0, le=SHARES_TOTAL, description="Parts of 10,000.", examples=[7000])
    reason: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_REASON,
        description="Why, for the shop and the history; may be left out.",
        examples=["Half of it is missing"],
    )

    @model_serializer(mode="wrap")
    def _as_sent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a reason it is the request that it was before there were reasons: an old one can be repeated."""
        return {name: value for name, value in serialize(self).items() if name != "reason" or value is not None}
