"""Every metric there is: name, kind, labels, and what it says. Data, and nothing else.

`metrics.py` makes instruments of those that are counted as work goes on; those read at the moment of a scrape
(`READ_AT_SCRAPE`) are filled in above (`web/gauges.py`). docs/metrics.md is generated from here, and the alerts and the
dashboard in deploy/ are held to it by tests.

Names follow Prometheus: one prefix, base units (seconds, bytes; blocks are counted), `_total` on counters. A label's
values come from a short list in the code, never from a caller, an order or the network: so no id, address, shop, URL or
amount can ever be one, and the number of series is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PREFIX: Final = "monero_escrow_"


class Kind(StrEnum):
    """Prometheus's kinds, as they are used here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Of(StrEnum):
    """What a number is about. Several nodes tell the same of the database: take `max`, never `sum`, of those."""

    NODE = "this node"
    DATABASE = "the whole database"


_MOMENTS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALLS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_WAITS: Final = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_DAYS: Final = (10, 60, 300, 900, 3_600, 10_800, 43_200, 86_400, 259_200, 604_800, 2_592_000)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. `name` is without the prefix, and of a counter without `_total`; `buckets` are a histogram's."""

    name: str
    kind: Kind
    what: str
    labels: tuple[str, ...] = ()
    of: Of = Of.NODE
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """As Prometheus lists it."""
        return f"{PREFIX}{self.name}" + ("_total" if self.kind is Kind.COUNTER else "")

    @property
    def series(self) -> tuple[str, ...]:
        """The names that a query may use."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.full_name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.full_name,)

    @property
    def help(self) -> str:
        """What it says, and of what."""
        return f"{self.what} Of {self.of}."


def _counter(name: str, what: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, what, labels)


def _histogram(name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, what, labels, buckets=buckets)


def _gauge(name: str, what: str, *labels: str, of: Of = Of.NODE) -> Metric:
    return Metric(name, Kind.GAUGE, what, labels, of)


# --- counted as work goes on ------------------------------------------------------------------------------------------

SET_UP_SECONDS = _histogram("set_up_seconds", "How long set-ups took that came to a finished trio.", _WAITS)
SET_UP_ROUND_SECONDS = _histogram(
    "set_up_round_seconds", "How long each round of a set-up took, for all three wallets side by side.", _WAITS, "round"
)
SET_UPS = _counter(
    "set_ups", "Set-ups that ended: result is ok or failed, purpose is order or stock.", "purpose", "result"
)
SET_UPS_UNDER_WAY = _gauge("set_ups_under_way", "Set-ups that hold a trio of slots this moment.")
ORDER_TO_ADDRESS_SECONDS = _histogram(
    "order_to_address_seconds", "From an order to its deposit address, out of stock or not.", (*_MOMENTS, 60, 300, 900)
)
WALLETS_CREATED = _counter("wallets_created", "Wallets made on a process, those rebuilt by replay included.")
WALLET_CREATION_FAILURES = _counter("wallet_creation_failures", "Wallets whose making failed, or got no answer.")
WALLET_CLOSES = _counter("wallet_close_attempts", "Times a process was told to close its wallet.")
WALLET_CLOSE_FAILURES = _counter("wallet_close_failures", "Of those, the times it did not, or gave no answer.")
REPLAYS = _counter(
    "wallet_replays", "Wallets rebuilt from their stored key and messages: no file was where it was opened."
)
LEASE_WAIT_SECONDS = _histogram("lease_wait_seconds", "How long work waited for the slots it was given.", _WAITS)
LEASE_REFUSALS = _counter("lease_refusals", "Work that got no slot: none came free in time, or there is none.")
RPC_SECONDS = _histogram(
    "rpc_seconds", "How long calls to Monero's programs took, answered or not.", _CALLS, "program", "method"
)
RPC_ERRORS = _counter(
    "rpc_errors",
    "Calls to Monero's programs without a good answer; cause is the error's code. Some refusals are a plain answer, "
    "such as no_wallet_open to whoever asks whether one is.",
    "program",
    "method",
    "cause",
)
RETRIES = _counter(
    "step_retries", "Steps of an escrow that failed and are tried again; cause is the error's code.", "cause"
)
FAILOVERS = _counter("failovers", "Of those, steps that are taken up on another slot, for theirs did not answer.")
TAKEOVERS = _counter(
    "takeovers", "Escrows that this node took over, for the lease of the node that worked on them had ended."
)
STATE_SECONDS = _histogram("state_seconds", "How long escrows were in the state they have left.", _DAYS, "state")
DEPOSITS_SEEN = _counter("deposits_seen", "Outputs above dust that were found at a deposit address in a block.")
DEPOSITS_CONFIRMED = _counter("deposits_confirmed", "Outputs that became deep enough to count.")
PAYOUTS = _counter(
    "payouts", "Payouts that came to a state: result is decided, broadcast, settled, held and so on.", "kind", "result"
)
STALE_SIGNATURE_REPAIRS = _counter(
    "stale_signature_repairs", "Payout steps the wallets refused or disagreed on, tried again with fresh infos."
)
AUDIT_WRITES = _counter("audit_writes", "Rows committed to the audit trail.")
DATABASE_SECONDS = _histogram(
    "database_seconds",
    "From handing work to the database to its answer, the wait for a turn included.",
    _MOMENTS,
    "kind",
)
DATABASE_ERRORS = _counter(
    "database_errors", "Work the database did not take; cause is the error's code.", "kind", "cause"
)
KEY_DENIALS = _counter(
    "key_denials",
    "Requests refused for their key: none or not valid (scope none), or of a scope that may not.",
    "scope",
)
RATE_LIMITED = _counter(
    "rate_limited",
    "Requests answered 429: limit is key, address, key_orders, address_orders, or attempts (too many wrong keys).",
    "limit",
)
CONNECTIONS_CLOSED = _counter(
    "connections_closed",
    "Connections closed on callers: cause is slow (a head, or reading an answer), crowded (to make room for a new one) "
    "or refused (none could make room).",
    "cause",
)

# --- read at the moment of a scrape -----------------------------------------------------------------------------------

BUILD = _gauge("build_info", "Always 1; what runs.", "version", "python", "network", "database")
SLOTS = _gauge(
    "slots", "Wallet-rpc processes, each in one state: free, busy, sick, quarantined or draining.", "role", "state"
)
SLOTS_TOTAL = _gauge("slots_configured", "Wallet-rpc processes in the pool, whatever their state.", "role")
UTILISATION = _gauge("slots_utilisation_ratio", "Busy processes among those that could be used, 0 to 1.", "role")
LEASES_WAITING = _gauge("leases_waiting", "Requests for a slot of this role that wait.", "role")
LONGEST_LEASE_WAIT = _gauge("leases_longest_wait_seconds", "How long the first of those has waited.", "role")
STOCK = _gauge(
    "stock_trios", "Finished trios that wait for an order, by how long ago they were made.", "age", of=Of.DATABASE
)
STOCK_TARGET = _gauge("stock_target_trios", "STOCK_TARGET.")
ESCROWS = _gauge("escrows", "Escrows by state.", "state", of=Of.DATABASE)
OLDEST_SECONDS = _gauge(
    "escrows_oldest_seconds",
    "How long the longest waiting escrow has been in a state that the service itself should end: setting_up or "
    "paying_out.",
    "state",
    of=Of.DATABASE,
)
IN_TROUBLE = _gauge("escrows_in_trouble", "Escrows whose last step failed and is tried again.", of=Of.DATABASE)
PAYOUTS_HELD = _gauge("payouts_held", "Payouts that wait for a person.", of=Of.DATABASE)
ORDERED = _gauge("escrows_ordered_xmr", "What the open escrows were ordered for.", of=Of.DATABASE)
IN_ESCROW = _gauge("escrows_held_xmr", "What came to the open escrows, with enough confirmations.", of=Of.DATABASE)
SCAN_LAG = _gauge("scan_lag_blocks", "Blocks the daemon has that were not scanned for deposits.", of=Of.DATABASE)
CHAIN_HEIGHT = _gauge("chain_height_blocks", "Blocks the daemon had when this node last asked it.")
DAEMON_ANSWERED = _gauge(
    "daemon_last_answer_timestamp_seconds", "When the daemon last answered as it should; 0: not since the start."
)
DATABASE_READ = _gauge("database_read_success", "1 if what is told of the whole database was read; 0: it is left out.")
DATABASE_READ_AT = _gauge(
    "database_read_timestamp_seconds", "When that was read: several scrapes may share one reading."
)

COUNTED: Final = (
    SET_UP_SECONDS,
    SET_UP_ROUND_SECONDS,
    SET_UPS,
    SET_UPS_UNDER_WAY,
    ORDER_TO_ADDRESS_SECONDS,
    WALLETS_CREATED,
    WALLET_CREATION_FAILURES,
    WALLET_CLOSES,
    WALLET_CLOSE_FAILURES,
    REPLAYS,
    LEASE_WAIT_SECONDS,
    LEASE_REFUSALS,
    RPC_SECONDS,
    RPC_ERRORS,
    RETRIES,
    FAILOVERS,
    TAKEOVERS,
    STATE_SECONDS,
    DEPOSITS_SEEN,
    DEPOSITS_CONFIRMED,
    PAYOUTS,
    STALE_SIGNATURE_REPAIRS,
    AUDIT_WRITES,
    DATABASE_SECONDS,
    DATABASE_ERRORS,
    KEY_DENIALS,
    RATE_LIMITED,
    CONNECTIONS_CLOSED,
)

READ_AT_SCRAPE: Final = (
    BUILD,
    SLOTS_TOTAL,
    SLOTS,
    UTILISATION,
    LEASES_WAITING,
    LONGEST_LEASE_WAIT,
    STOCK,
    STOCK_TARGET,
    ESCROWS,
    OLDEST_SECONDS,
    IN_TROUBLE,
    PAYOUTS_HELD,
    ORDERED,
    IN_ESCROW,
    SCAN_LAG,
    CHAIN_HEIGHT,
    DAEMON_ANSWERED,
    DATABASE_READ,
    DATABASE_READ_AT,
)

ALL: Final = COUNTED + READ_AT_SCRAPE
