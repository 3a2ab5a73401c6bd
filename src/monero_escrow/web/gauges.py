"""What is read at the moment of a scrape: the slots as they stand, and the tally of the database.

From what the service knows to Prometheus's families; the names and what they mean are `telemetry/catalogue.py`'s.
Nothing here waits, and nothing asks a process, the daemon or the database.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monero_escrow import __version__
from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import PICONERO_PER_XMR
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.tally import Reading
from monero_escrow.store.tally import Tally
from monero_escrow.telemetry import catalogue
from monero_escrow.web.fleet import state_of
from monero_escrow.web.schemas import SlotState

Labels = TypeVar("Labels", bound=tuple[str, ...])

HOUR_SECONDS: Final = 3_600
DAY_SECONDS: Final = 86_400

_STATES: Final[Mapping[SlotState, str]] = {
    "free": "free",
    "leased": "busy",
    "sick": "sick",
    "resting": "quarantined",
    "draining": "draining",
}
_SERVICES_OWN: Final = (State.SETTING_UP, State.PAYING_OUT)
"""States that the service itself should end; in the others it waits for the buyer, the shop or the arbiter."""


class Scrape(Collector):
    """One answer: what was counted, and what is read now. `reading` is None when the database did not answer."""

    def __init__(self, ctx: Context, reading: Reading | None) -> None:
        self._ctx = ctx
        self._reading = reading

    def collect(self) -> Iterable[Metric]:
        """Every family there is, each once."""
        yield from self._ctx.metrics.registry.collect()
        yield from _of_the_node(self._ctx)
        yield _family(catalogue.DATABASE_READ, {(): float(self._reading is not None)})
        if self._reading is not None:
            yield _family(catalogue.DATABASE_READ_AT, {(): self._reading.at})
            yield from _of_the_database(self._ctx, self._reading.tally)


def stock_by_age(ages_seconds: Iterable[float]) -> dict[str, int]:
    """How many finished trios are how old."""
    ages = list(ages_seconds)
    hour, day = (sum(age < limit for age in ages) for limit in (HOUR_SECONDS, DAY_SECONDS))
    return {"under_an_hour": hour, "under_a_day": day - hour, "older": len(ages) - day}


def _of_the_node(ctx: Context) -> Iterator[Metric]:
    settings, database = ctx.settings, "sqlcipher" if ctx.settings.database_url is None else "postgresql"
    built = (__version__, platform.python_version(), settings.monero_network.value, database)
    yield _family(catalogue.BUILD, {built: 1})
    yield from _of_the_slots(ctx)
    yield _family(catalogue.STOCK_TARGET, {(): settings.stock_target})
    if ctx.daemon is not None:
        yield _family(catalogue.CHAIN_HEIGHT, {(): ctx.tip.height})
        yield _family(catalogue.DAEMON_ANSWERED, {(): ctx.tip.seen_at})


def _of_the_slots(ctx: Context) -> Iterator[Metric]:
    leases = {slot: lease for lease in ctx.pool.leases for slot in lease.slots.values()}
    counts: Counter[tuple[Role, str]] = Counter(
        (slot.role, _STATES[state_of(slot, leases.get(slot))]) for slot in ctx.pool.slots
    )
    by_state = {(role.value, state): counts[role, state] for role in ROLES for state in _STATES.values()}
    total = {(role.value,): sum(counts[role, state] for state in _STATES.values()) for role in ROLES}
    loads = ctx.pool.load()
    busy = {(role.value,): load.leased / load.usable if load.usable else 0.0 for role, load in loads.items()}
    yield _family(catalogue.SLOTS_TOTAL, total)
    yield _family(catalogue.SLOTS, by_state)
    yield _family(catalogue.UTILISATION, busy)
    yield _family(catalogue.LEASES_WAITING, {(role.value,): load.waiting for role, load in loads.items()})
    waits = {(role.value,): load.longest_wait_seconds for role, load in loads.items()}
    yield _family(catalogue.LONGEST_LEASE_WAIT, waits)


def _of_the_database(ctx: Context, tally: Tally) -> Iterator[Metric]:
    stock = stock_by_age(tally.stock_ages_seconds)
    yield _family(catalogue.STOCK, {(age,): count for age, count in stock.items()})
    yield _family(catalogue.ESCROWS, {(state.value,): count for state, count in tally.escrows.items()})
    longest = {(state.value,): tally.longest_seconds.get(state, 0.0) for state in _SERVICES_OWN}
    yield _family(catalogue.OLDEST_SECONDS, longest)
    yield _family(catalogue.IN_TROUBLE, {(): tally.in_trouble})
    yield _family(catalogue.PAYOUTS_HELD, {(): tally.held})
    yield _family(catalogue.ORDERED, {(): tally.ordered_piconero / PICONERO_PER_XMR})
    yield _family(catalogue.IN_ESCROW, {(): tally.in_escrow_piconero / PICONERO_PER_XMR})
    if ctx.daemon is not None:
        yield _family(catalogue.SCAN_LAG, {(): scan_lag_blocks(ctx, tally)})


def scan_lag_blocks(ctx: Context, tally: Tally) -> int:
    """Blocks the daemon had when it was last asked that were not scanned; 0 before both are known."""
    if tally.scanned_height == 0 or ctx.tip.height == 0:
        return 0
    return max(0, ctx.tip.height - tally.scanned_height)


def _family(row: catalogue.Metric, values: Mapping[Labels, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(row.full_name, row.help, labels=row.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
