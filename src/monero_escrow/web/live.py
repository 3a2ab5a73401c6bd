"""One look at the service for everybody who watches: a sample is taken when somebody asks, and shared.

However many people look at the overview, the service is asked once in two seconds, and its page is drawn once; for
whoever asks the API, none is drawn. How it looks is not known here. What the charts show is kept in memory: how busy
the slots were is noted by `run()`, how long set-ups took is read from the database as they end, also those of before
this start and those of other nodes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from monero_escrow.core.errors import EscrowError, UnavailableError
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.mainnet import ValueLimits, value_limits
from monero_escrow.escrows.tally import TallyReader
from monero_escrow.jitter import jittered
from monero_escrow.store.records import EscrowRecord, PayoutRecord
from monero_escrow.store.tally import Tally
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.fleet import fleet_now
from monero_escrow.web.health import health_of
from monero_escrow.web.schemas import FleetAnswer, Health

SAMPLE_SECONDS: Final = 2.0
HEALTH_SECONDS: Final = 4.0
OBSERVE_SECONDS: Final = 5.0
POINT_SECONDS: Final = 60.0
HISTORY_SECONDS: Final = 6 * 3600.0
MOST_HELD: Final = 20
MOST_WAITING: Final = 20
MOST_VIEWERS: Final = 50
_MOST_SET_UPS: Final = 5_000

WAIT_FOR_A_DECISION: Final = (State.DISPUTED, State.SHORT)

Fragments = Mapping[str, str]
"""Parts of the page by name, as HTML."""


class TooManyViewersError(UnavailableError):
    """More pages are open than one service keeps up to date."""

    code = "too_many_viewers"
    what_to_do = "Close some; pages without live updates can be read all the same."


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of the slots' time was leased, 0 to 1, in the minute that ended then."""

    at: float
    share: float


@dataclass(frozen=True, slots=True)
class SetUp:
    """A set-up that ended then, and how many seconds after it was begun."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Sample:
    """How the service stood at one moment; times are seconds since the epoch.

    `waiting` are escrows that wait for a decision of an arbiter or a shop, the longest first, `MOST_WAITING` at most.
    `tally` may be some seconds older; None: the database did not say in time.
    """

    at: float
    health: Health
    fleet: FleetAnswer
    states: Mapping[State, int]
    failing: int
    held: tuple[PayoutRecord, ...]
    waiting: tuple[EscrowRecord, ...]
    tally: Tally | None
    limits: ValueLimits
    usage: tuple[Usage, ...]
    set_ups: tuple[SetUp, ...]


@dataclass(frozen=True, slots=True)
class _Rows:
    """What one transaction reads for a sample."""

    states: Mapping[State, int]
    failing: int
    held: list[PayoutRecord]
    waiting: list[EscrowRecord]
    set_ups: list[tuple[float, float]]


class Live:
    """Samples of one service, and the parts of a page drawn from the latest."""

    def __init__(self, ctx: Context, tallies: TallyReader, draw: Callable[[Sample], Fragments]) -> None:
        self._ctx = ctx
        self._tallies = tallies
        self._draw = draw
        self._taking = asyncio.Lock()
        self._latest: Sample | None = None
        self._drawn: tuple[Sample, Fragments] | None = None
        self._taken_at = 0.0
        self._health: Health | None = None
        self._health_at = 0.0
        self._usage: deque[Usage] = deque(maxlen=int(HISTORY_SECONDS / POINT_SECONDS))
        self._set_ups: deque[SetUp] = deque(maxlen=_MOST_SET_UPS)
        self._closed = asyncio.Event()
        self._viewers = 0
        self.samples_taken = 0

    async def run(self) -> None:
        """Note how busy the slots are, until cancelled. Asks nobody anything."""
        shares: list[float] = []
        point_at = self._ctx.clock.now() + POINT_SECONDS
        while True:
            await self._ctx.clock.sleep(jittered(OBSERVE_SECONDS))
            stats, now = self._ctx.pool.stats(), self._ctx.clock.now()
            shares.append(stats.leased / stats.total if stats.total else 0.0)
            if now >= point_at:
                self._usage.append(Usage(now, sum(shares) / len(shares)))
                shares.clear()
                point_at = now + POINT_SECONDS

    def close(self) -> None:
        """The service ends: let go of everybody who watches, so that it need not wait for them."""
        self._closed.set()

    async def sample(self) -> Sample:
        """The latest sample; a new one if that is older than `SAMPLE_SECONDS`. Raises EscrowError."""
        async with self._taking:
            now = self._ctx.clock.monotonic()
            if self._latest is None or now - self._taken_at >= SAMPLE_SECONDS:
                self._latest, self._taken_at = await self._take(), now
            return self._latest

    async def fragments(self) -> Fragments:
        """The page of the latest sample, drawn once however many watch. Raises EscrowError."""
        sample = await self.sample()
        if self._drawn is None or self._drawn[0] is not sample:
            self._drawn = sample, self._draw(sample)
        return self._drawn[1]

    def require_room(self) -> None:
        """Raise TooManyViewersError if nobody else can be kept up to date."""
        if self._viewers >= MOST_VIEWERS:
            raise TooManyViewersError("Too many pages of this service are open.")

    async def follow(self, is_welcome: Callable[[], Awaitable[bool]]) -> AsyncIterator[Fragments]:
        """What of the page has changed, as it changes, until the service ends or the viewer is not welcome any more."""
        self._viewers += 1
        shown: dict[str, str] = {}
        try:
            while not self._closed.is_set():
                with suppress(EscrowError):  # the database is silent: the page says of when it is, and stays
                    if not await is_welcome():
                        return
                    fragments = await self.fragments()
                    changed = {name: html for name, html in fragments.items() if shown.get(name) != html}
                    shown.update(changed)
                    yield changed
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closed.wait(), SAMPLE_SECONDS)
        finally:
            self._viewers -= 1

    async def _take(self) -> Sample:
        now = self._ctx.clock.now()
        since = max(now - HISTORY_SECONDS, self._set_ups[-1].at if self._set_ups else 0.0)
        room = _MOST_SET_UPS

        def read(tx: Transaction) -> _Rows:
            return _Rows(
                states=tx.escrows.counts(),
                failing=tx.escrows.failing(),
                held=tx.payouts.held(MOST_HELD),
                waiting=tx.escrows.longest_in(WAIT_FOR_A_DECISION, MOST_WAITING),
                set_ups=tx.trios.set_ups_since(since, room),
            )

        rows = await self._ctx.store.read(read)
        reading = await self._tallies.read()
        self._set_ups.extend(SetUp(at, seconds) for at, seconds in rows.set_ups)
        while self._set_ups and self._set_ups[0].at < now - HISTORY_SECONDS:
            self._set_ups.popleft()
        self.samples_taken += 1
        return Sample(
            at=now,
            health=await self._health_lately(),
            fleet=fleet_now(self._ctx),
            states=rows.states,
            failing=rows.failing,
            held=tuple(rows.held),
            waiting=tuple(rows.waiting),
            tally=None if reading is None else reading.tally,
            limits=value_limits(self._ctx.settings),
            usage=tuple(self._usage),
            set_ups=tuple(self._set_ups),
        )

    async def _health_lately(self) -> Health:
        """It asks the daemon, which may take its time: not for every sample."""
        now = self._ctx.clock.monotonic()
        if self._health is None or now - self._health_at >= HEALTH_SECONDS:
            self._health, self._health_at = await health_of(self._ctx, self._tallies), now
        return self._health
