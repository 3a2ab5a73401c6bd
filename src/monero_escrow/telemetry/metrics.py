"""What is counted while work goes on: one `Metrics` a service, handed down to whoever has something to count.

It has a registry of its own, so that two services in one process (tests make many) never count for each other. The
layers above observe; nothing here knows an escrow, a slot or a table. Counting never fails and never waits. What an
observation carries is a duration, or a label from a short list: never an id, an address or a text from outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from monero_escrow.clock import Clock
from monero_escrow.telemetry import catalogue
from monero_escrow.telemetry.catalogue import PREFIX, Metric

# When a series began: the text format shows it as one more metric beside each, which no convention asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

WALLET_RPC: Final = "wallet_rpc"
MONEROD: Final = "monerod"

ORDER: Final = "order"
STOCK: Final = "stock"

OK: Final = "ok"
FAILED: Final = "failed"

NO_SCOPE: Final = "none"


class Metrics:
    """The instruments of one service. Those without labels show from the start, at 0."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        self.set_up_seconds = self._histogram(catalogue.SET_UP_SECONDS)
        self.set_up_round_seconds = self._histogram(catalogue.SET_UP_ROUND_SECONDS)
        self.set_ups = self._counter(catalogue.SET_UPS)
        self.set_ups_under_way = self._gauge(catalogue.SET_UPS_UNDER_WAY)
        self.order_to_address_seconds = self._histogram(catalogue.ORDER_TO_ADDRESS_SECONDS)
        self.wallets_created = self._counter(catalogue.WALLETS_CREATED)
        self.wallet_creation_failures = self._counter(catalogue.WALLET_CREATION_FAILURES)
        self.wallet_closes = self._counter(catalogue.WALLET_CLOSES)
        self.wallet_close_failures = self._counter(catalogue.WALLET_CLOSE_FAILURES)
        self.replays = self._counter(catalogue.REPLAYS)
        self.lease_wait_seconds = self._histogram(catalogue.LEASE_WAIT_SECONDS)
        self.lease_refusals = self._counter(catalogue.LEASE_REFUSALS)
        self.rpc_seconds = self._histogram(catalogue.RPC_SECONDS)
        self.rpc_errors = self._counter(catalogue.RPC_ERRORS)
        self.retries = self._counter(catalogue.RETRIES)
        self.failovers = self._counter(catalogue.FAILOVERS)
        self.takeovers = self._counter(catalogue.TAKEOVERS)
        self.state_seconds = self._histogram(catalogue.STATE_SECONDS)
        self.deposits_seen = self._counter(catalogue.DEPOSITS_SEEN)
        self.deposits_confirmed = self._counter(catalogue.DEPOSITS_CONFIRMED)
        self.payouts = self._counter(catalogue.PAYOUTS)
        self.stale_signature_repairs = self._counter(catalogue.STALE_SIGNATURE_REPAIRS)
        self.audit_writes = self._counter(catalogue.AUDIT_WRITES)
        self.database_seconds = self._histogram(catalogue.DATABASE_SECONDS)
        self.database_errors = self._counter(catalogue.DATABASE_ERRORS)
        self.key_denials = self._counter(catalogue.KEY_DENIALS)
        self.rate_limited = self._counter(catalogue.RATE_LIMITED)
        self.connections_closed = self._counter(catalogue.CONNECTIONS_CLOSED)

    def _counter(self, row: Metric) -> Counter:
        return Counter(f"{PREFIX}{row.name}", row.help, row.labels, registry=self.registry)

    def _gauge(self, row: Metric) -> Gauge:
        return Gauge(f"{PREFIX}{row.name}", row.help, row.labels, registry=self.registry)

    def _histogram(self, row: Metric) -> Histogram:
        return Histogram(f"{PREFIX}{row.name}", row.help, row.labels, registry=self.registry, buckets=row.buckets)

    def rpc_call(self, program: str, method: str, seconds: float, outcome: str) -> None:
        """A call to `program` (WALLET_RPC or MONEROD) ended; `outcome` is "ok" or the error's code (`CallHook`)."""
        self.rpc_seconds.labels(program, method).observe(seconds)
        if outcome != OK:
            self.rpc_errors.labels(program, method, outcome).inc()

    @contextmanager
    def one_set_up(self, purpose: str, clock: Clock) -> Iterator[None]:
        """The block is a set-up, for an ORDER or the STOCK; one that raises has failed."""
        began = clock.monotonic()
        self.set_ups_under_way.inc()
        try:
            yield
        except BaseException:
            self.set_ups.labels(purpose, FAILED).inc()
            raise
        finally:
            self.set_ups_under_way.dec()
        self.set_ups.labels(purpose, OK).inc()
        self.set_up_seconds.observe(clock.monotonic() - began)

    @contextmanager
    def wallet_creation(self) -> Iterator[None]:
        """The block makes one wallet; one that raises has not, or nobody knows."""
        try:
            yield
        except BaseException:
            self.wallet_creation_failures.inc()
            raise
        self.wallets_created.inc()

    @contextmanager
    def wallet_close(self) -> Iterator[None]:
        """The block closes one wallet."""
        self.wallet_closes.inc()
        try:
            yield
        except BaseException:
            self.wallet_close_failures.inc()
            raise
