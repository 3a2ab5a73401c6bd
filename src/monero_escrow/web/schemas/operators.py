"""What operators and their programs are answered: health, capacity, stock."""

from __future__ import annotations

from pydantic import (
    Field,
)

from monero_escrow.web.schemas.shapes import Answer


class RpcPool(Answer):
    """The wallet-rpc processes: total = free + busy + sick."""

    total: int
    free: int
    busy: int = Field(description="Leased by work under way.")
    sick: int = Field(description="Not to be used, or resting after a call without an answer.")


class Capacity(Answer):
    """What could begin this moment."""

    max_concurrent_escrows: int = Field(description="Set-ups that could begin at once, each on three free processes.")


class Stock(Answer):
    """Finished wallets that wait for orders: an order that finds one has its address at once."""

    target: int
    ready: int
    under_an_hour: int = Field(description="How many were finished less than an hour ago.")
    under_a_day: int = Field(description="How many of the others less than a day ago.")
    older: int
    oldest_seconds: int | None = Field(description="How long ago the oldest was finished.")


class HealthReason(Answer):
    """Why the service is not healthy, and what a person can do about it."""

    code: str = Field(examples=["no_daemon"], description="Stable; docs/runbook.md has a section for each.")
    reason: str
    what_to_do: str
    status: str = Field(examples=["degraded"], description="How bad it is by itself: degraded or critical.")


class Health(Answer):
    """How the service stands, for its operator."""

    status: str = Field(examples=["healthy"], description="healthy, degraded or critical: the worst of its reasons.")
    reasons: list[HealthReason] = Field(description="Why it is not healthy, the worst first.")
    rpc_pool: RpcPool
    capacity: Capacity
    stock: Stock | None = Field(description="null when the database did not say.")
    deposits: str = Field(examples=["watched"], description="watched, or waiting for a daemon.")
    version: str


class Probe(Answer):
    """For load balancers and supervisors."""

    status: str = Field(examples=["ok"], description="ok or unavailable.")
