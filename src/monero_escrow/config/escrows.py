"""Settings of escrows: how much is taken, when a deposit counts, what a payout may cost, how long waits are."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from monero_escrow.config.values import SettingsPart
from monero_escrow.core.money import InvalidAmountError, parse_xmr

UNLIMITED: Final = "unlimited"
NOTHING: Final = "0"


class EscrowSettings(SettingsPart):
    """Escrows: how much is taken, deposits, payouts, waits."""

    most_xmr_per_escrow: str | None = Field(
        default=None,
        description=f"An order for more is refused; in XMR, or `{UNLIMITED}`, as it is unless set, but 5 on mainnet.",
    )
    most_xmr_at_once: str | None = Field(
        default=None,
        description="An order is refused while the open escrows and it are for more than this together; in XMR, or "
        f"`{UNLIMITED}`. Unless set: 50 on mainnet, else {UNLIMITED}. 0: no orders are taken.",
    )
    deposit_confirmations: int = Field(
        default=10, ge=1, le=720, description="Blocks a deposit must be deep to count; Monero unlocks coins at 10."
    )
    payout_confirmations: int = Field(
        default=10, ge=1, le=720, description="Blocks a payout must be deep to be settled."
    )
    final_confirmations: int = Field(
        default=30,
        ge=1,
        le=1440,
        description="Blocks after which no reorganisation is expected to take back a deposit or a payout. Not less "
        "than the two above.",
    )
    deposit_window_seconds: float = Field(
        default=86_400, gt=0, le=31_536_000, description="Time a buyer has to pay, unless the order says otherwise."
    )
    dust_piconero: int = Field(
        default=1_000_000_000, ge=0, description="An output of at most this much is dust: shown, never counted."
    )
    most_fee_piconero: int = Field(
        default=100_000_000_000, gt=0, description="A payout whose network fee is higher is not signed."
    )
    fee_priority: Literal[1, 2, 3, 4] = Field(
        default=1, description="Monero's fee level of payouts, 1 (lowest) to 4; 1 is mined in the next blocks."
    )
    late_coins: Literal["refund", "ask"] = Field(
        default="refund",
        description="Coins that come after an escrow closed: go back to the buyer by themselves, or wait for the shop.",
    )
    stock_target: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="Finished wallet trios that wait for orders, made while slots are idle: an order that finds one "
        "has its address at once. 0: none.",
    )
    chain_poll_seconds: float = Field(default=2, gt=0, le=3600, description="How often the daemon is asked for news.")
    tip_age_seconds: float = Field(
        default=7200,
        ge=600,
        description="A daemon whose last block is older is not believed: it may have lost its peers.",
    )
    deposit_sweep_seconds: float = Field(
        default=86_400,
        gt=0,
        description="How often an escrow's wallet looks although the scan of blocks and pool saw nothing come to it: a "
        "net for what a scan may miss.",
    )
    watch_after_days: float = Field(
        default=30, ge=0, description="How long a closed escrow's address is watched for late coins."
    )
    request_wait_seconds: float = Field(
        default=120, gt=0, le=3600, description="How long init-escrow waits for the address before it answers 202."
    )

    @field_validator("most_xmr_per_escrow", "most_xmr_at_once")
    @classmethod
    def _check_limit(cls, limit: str | None) -> str | None:
        if limit is not None and limit not in (UNLIMITED, NOTHING):
            try:
                parse_xmr(limit)
            except InvalidAmountError as error:
                raise ValueError(f"is neither an amount such as 2.5 nor `{UNLIMITED}`: {error.message}") from None
        return limit

    @model_validator(mode="after")
    def _final_is_deepest(self) -> Self:
        if self.final_confirmations < max(self.deposit_confirmations, self.payout_confirmations):
            raise ValueError("FINAL_CONFIRMATIONS must not be less than DEPOSIT_CONFIRMATIONS and PAYOUT_CONFIRMATIONS")
        return self
