"""How often who may ask: a bucket for each key and each address, in this node's memory, so that no request waits.

What is allowed is `core/buckets.py`'s to say; here are the buckets, by the settings. Nothing of a set-up that was
acknowledged is looked at: a limit refuses requests, and never takes anything back. What other nodes let through comes
from `nodes/shares.py`, a second or so later; without a database each node keeps the limits by itself.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Final

from monero_escrow.clock import Clock
from monero_escrow.config import Settings
from monero_escrow.core.buckets import Level, Rate, full, given_back, refilled, take, taken_elsewhere
from monero_escrow.nodes.shares import Admitted
from monero_escrow.telemetry.metrics import Metrics
from monero_escrow.web.problems import TooManyRequestsError

REQUESTS_AT_ONCE_SECONDS: Final = 10.0
ORDERS_AT_ONCE_SECONDS: Final = 60.0
_MOST_BUCKETS: Final = 50_000
"""A bucket is some 400 bytes. Of more, those that were asked for longest ago are forgotten, as if full."""
_IPV6_NETWORK_BITS: Final = 64


class Limit(StrEnum):
    """What is limited; also the label of the metric."""

    KEY = "key"
    ADDRESS = "address"
    KEY_ORDERS = "key_orders"
    ADDRESS_ORDERS = "address_orders"


@dataclass(slots=True)
class _Bucket:
    limit: Limit
    level: Level
    made: int
    taken: float = 0.0
    """Here, since it was made."""


Claim = tuple[Limit, str]
"""Whose bucket of which limit: a key's id, or an address as `source_of` has it."""


@dataclass(slots=True)
class RateLimits:
    """The buckets of one node. A limit whose setting is 0 is off."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    _rates: dict[Limit, Rate] = field(init=False)
    _buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        wanted = {
            Limit.KEY: (self.settings.rate_limit_requests, REQUESTS_AT_ONCE_SECONDS),
            Limit.ADDRESS: (self.settings.rate_limit_address_requests, REQUESTS_AT_ONCE_SECONDS),
            Limit.KEY_ORDERS: (self.settings.rate_limit_orders / 60, ORDERS_AT_ONCE_SECONDS),
            Limit.ADDRESS_ORDERS: (self.settings.rate_limit_address_orders / 60, ORDERS_AT_ONCE_SECONDS),
        }
        self._rates = {
            limit: Rate(per_second, max(1.0, per_second * seconds))
            for limit, (per_second, seconds) in wanted.items()
            if per_second > 0
        }

    def has(self, claims: Sequence[Claim]) -> bool:
        """Whether any of these limits is on."""
        return any(limit in self._rates for limit, _ in claims)

    def charge(self, claims: Sequence[Claim], cost: float = 1) -> None:
        """Take `cost` out of each bucket, or out of none. Raises TooManyRequestsError."""
        now = self.clock.monotonic()
        for done, (limit, who) in enumerate(claims):
            rate = self._rates.get(limit)
            if rate is None or cost <= 0:
                continue
            bucket = self._bucket(limit, who, rate, now)
            bucket.level, wait_seconds = take(rate, bucket.level, now, cost)
            if wait_seconds > 0:
                self.give_back(claims[:done], cost)
                self.metrics.rate_limited.labels(limit.value).inc()
                raise TooManyRequestsError("More was asked for than the limits allow.", retry_after=wait_seconds)
            bucket.taken += cost

    def give_back(self, claims: Sequence[Claim], cost: float) -> None:
        """What was charged was for nothing new."""
        now = self.clock.monotonic()
        for limit, who in claims:
            bucket = self._buckets.get(_name(limit, who))
            if bucket is not None:
                bucket.level = given_back(self._rates[limit], bucket.level, now, cost)
                bucket.taken -= cost

    @contextmanager
    def charged(self, claims: Sequence[Claim], cost: float) -> Iterator[None]:
        """For the block `cost` is charged, and given back if it fails. Raises TooManyRequestsError."""
        self.charge(claims, cost)
        try:
            yield
        except BaseException:
            self.give_back(claims, cost)
            raise

    # --- what nodes tell one another (the port of nodes/shares.py) ---

    def admitted(self, most: int) -> Mapping[str, Admitted]:
        """What was taken here from the `most` buckets of most concern: those with least in them that are not full."""
        now = self.clock.monotonic()
        open_ones: list[tuple[float, str, _Bucket]] = []
        for name, bucket in list(self._buckets.items()):
            rate = self._rates[bucket.limit]
            tokens = refilled(rate, bucket.level, now).tokens
            if tokens >= rate.capacity:
                del self._buckets[name]  # full is as good as none
            elif bucket.taken > 0:
                open_ones.append((tokens / rate.capacity, name, bucket))
        open_ones.sort(key=lambda one: one[:2])
        return {name: Admitted(bucket.made, bucket.taken) for _, name, bucket in open_ones[:most]}

    def taken_elsewhere(self, name: str, cost: float) -> None:
        """Another node let so much through. A name that is none of a limit here is left alone."""
        limit_name, _, who = name.partition(":")
        limit = next((limit for limit in self._rates if limit == limit_name), None)
        if limit is not None and cost != 0:
            now, rate = self.clock.monotonic(), self._rates[limit]
            bucket = self._bucket(limit, who, rate, now)
            bucket.level = taken_elsewhere(rate, bucket.level, now, cost)

    def count_anew(self) -> None:
        """From here on `admitted` tells of what is taken from now on."""
        for bucket in self._buckets.values():
            bucket.made, bucket.taken = next(self._numbers), 0.0

    def _bucket(self, limit: Limit, who: str, rate: Rate, now: float) -> _Bucket:
        name = _name(limit, who)
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(limit, full(rate, now), next(self._numbers))
            if len(self._buckets) > _MOST_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        return bucket


def source_of(address: str) -> str:
    """Whose requests count together: an IPv4 address, or the /64 of an IPv6 one, which is what one caller is given."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, _IPV6_NETWORK_BITS), strict=False))


def _name(limit: Limit, who: str) -> str:
    return f"{limit}:{who}"
