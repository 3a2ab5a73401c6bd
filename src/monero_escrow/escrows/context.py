"""What every use case works with, and the small things they share."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import structlog

from monero_escrow.clock import Clock
from monero_escrow.config import Settings
from monero_escrow.core.address import Network
from monero_escrow.core.errors import UnavailableError
from monero_escrow.core.fees import FeeRate
from monero_escrow.core.life_cycle import Event, State, transition
from monero_escrow.core.roles import Role
from monero_escrow.fleet.fleet import Fleet
from monero_escrow.fleet.leases import Lease, NoSlotFreeError
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.monero.ports import Daemon, DaemonInfo
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.store import Store
from monero_escrow.store.transaction import Transaction
from monero_escrow.store.trio_table import NOBODY, Maker
from monero_escrow.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

# Monero takes a block whose time is up to two hours ahead (CRYPTONOTE_BLOCK_FUTURE_TIME_LIMIT).
_MINERS_CLOCKS_SECONDS = 7_200.0

SERVICE = "service"
"""How the audit trail names the service itself."""


class DaemonUnavailableError(UnavailableError):
    """There is no daemon, or none whose word about the chain can be taken."""

    code = "daemon_unavailable"
    what_to_do = "Check MONERO_DAEMON_URL and that monerod is synchronised; deposits and payouts wait for it."


@dataclass(slots=True)
class ChainTip:
    """How far the chain was when the daemon was last asked, for those who need it roughly, and at once.

    0 until it was. The last word counts, not the highest: a chain that was replaced may be shorter. `seen_at` is when
    (seconds since the epoch).
    """

    height: int = 0
    seen_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Context:
    """The ports a use case acts through. `nudge` tells the conductor that an escrow has something to do at once.

    `fleet` is for whoever operates it; work leases its slots by `lease`. `require_work` raises when this node cannot be
    sure any more that nobody else does the same work; `maker` says which node this is, `takes_up` whether it begins
    anything new (one that drains does not).
    """

    settings: Settings
    store: Store
    pool: SlotPool
    daemon: Daemon | None
    clock: Clock
    nudge: Callable[[str], None] = field(default=lambda _escrow_id: None)
    entropy: Callable[[int], bytes] = field(default=os.urandom, repr=False)
    tip: ChainTip = field(default_factory=ChainTip)
    fleet: Fleet | None = field(default=None, repr=False)
    require_work: Callable[[], None] = field(default=lambda: None, repr=False)
    maker: Callable[[], Maker] = field(default=lambda: NOBODY, repr=False)
    takes_up: Callable[[], bool] = field(default=lambda: True, repr=False)
    metrics: Metrics = field(default_factory=Metrics, repr=False)

    @asynccontextmanager
    async def lease(self, roles: frozenset[Role], work: str, *, wait_seconds: float) -> AsyncIterator[Lease]:
        """Slots of the pool, as long as what they are leased for is this service's to do. Raises NoSlotFreeError."""
        asked_at = self.clock.monotonic()
        async with AsyncExitStack() as stack:
            try:
                lease = await stack.enter_async_context(self.pool.lease(roles, work, wait_seconds=wait_seconds))
            except NoSlotFreeError:
                self.metrics.lease_refusals.inc()
                raise
            self.metrics.lease_wait_seconds.observe(self.clock.monotonic() - asked_at)
            lease.require_work = self.require_work
            yield lease

    async def chain(self) -> tuple[Daemon, DaemonInfo]:
        """A daemon that is synchronised with the right network, and how it stands.

        Raises DaemonUnavailableError: a daemon that lags would show deposits and payouts that are not, or hide some.
        """
        daemon, info = await self.daemon_of_our_network()
        if not info.synchronized:
            raise DaemonUnavailableError(
                f"The daemon is not synchronised: block {info.height} of {info.target_height}."
            )
        await self._require_recent_tip(daemon)
        return daemon, info

    async def _require_recent_tip(self, daemon: Daemon) -> None:
        """A daemon that lost its peers still calls itself synchronised, but its last block grows old.

        A clock of ours that is far ahead looks the same, and no deadline passes by it; one far behind shows as well.
        """
        if self.settings.monero_network is Network.REGTEST:
            return  # a private chain stands still until somebody mines
        age = self.clock.now() - (await daemon.get_last_block_header()).timestamp_seconds
        if age > self.settings.tip_age_seconds:
            raise DaemonUnavailableError(f"The daemon's last block is {age / 3600:.1f} hours old.")
        if age < -max(self.settings.tip_age_seconds, _MINERS_CLOCKS_SECONDS):
            raise DaemonUnavailableError(
                f"The daemon's last block is {-age / 3600:.1f} hours in the future.",
                what_to_do="Set this machine's clock: deadlines go by it, and nothing is decided by a wrong one.",
            )

    async def fee_rate(self) -> FeeRate:
        """What the daemon says payouts cost, at the priority of the settings. Raises DaemonUnavailableError."""
        daemon, _ = await self.chain()
        estimate = await daemon.get_fee_estimate()
        by_priority = estimate.fees_piconero or (estimate.per_byte_piconero,)
        per_byte = by_priority[min(self.settings.fee_priority, len(by_priority)) - 1]
        return FeeRate(per_byte, estimate.quantization_mask)

    async def daemon_of_our_network(self) -> tuple[Daemon, DaemonInfo]:
        """A daemon of the right network, however far it is. Raises DaemonUnavailableError."""
        if self.daemon is None:
            raise DaemonUnavailableError("No daemon is configured.")
        info = await self.daemon.get_info()
        if info.network is not self.settings.monero_network:
            raise DaemonUnavailableError(f"The daemon serves {info.network}, not {self.settings.monero_network}.")
        self.tip.height, self.tip.seen_at = info.height, self.clock.now()
        return self.daemon, info


def new_id() -> str:
    """A random identifier: 96 bits, 24 hex digits."""
    return secrets.token_hex(12)


def move(
    tx: Transaction,
    escrow: EscrowRecord,
    event: Event,
    actor: str,
    now: float,
    *,
    detail: dict[str, object] | None = None,
    published: dict[str, object] | None = None,
    **values: object,
) -> State:
    """Take an escrow along the life cycle: new state, audit row and event for the shop, in the caller's transaction.

    `values` are other columns that change with it; `published` goes into the event alone, for the history holds no full
    addresses and txids. Raises WrongStateError.
    """
    row = transition(escrow.state, event)
    tx.escrows.change(escrow.id, expected=escrow.state, now=now, state=row.next_state, **values)
    tx.audit.add(
        actor,
        event.value,
        now,
        escrow_id=escrow.id,
        from_state=escrow.state.value,
        to_state=row.next_state.value,
        detail=detail,
    )
    was, seconds = escrow.state.value, max(0.0, now - escrow.updated_at)
    tx.measure(lambda metrics: metrics.state_seconds.labels(was).observe(seconds))
    tx.after_commit(
        lambda: log.info(
            event.value, escrow_id=escrow.id, actor=actor, was=escrow.state.value, now=row.next_state.value
        )
    )
    data = {"order_id": escrow.order_id, "from_state": escrow.state.value, "state": row.next_state.value}
    tx.outbox.add(
        escrow.shop_id, escrow.id, f"escrow.{event.value}", {**data, **(detail or {}), **(published or {})}, now
    )
    return row.next_state
