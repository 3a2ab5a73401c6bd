"""What the service gives account of besides its orders: its runs, its settings, its processes; and signed checkpoints.

Processes come, go and fall sick in memory, where no transaction is; a look every few seconds writes what has become of
them into the node's chain of the audit trail. A change of the settings shows in the row of the next start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog
from pydantic import SecretStr

from monero_escrow import __version__
from monero_escrow.config import Settings
from monero_escrow.core.errors import EscrowError
from monero_escrow.escrows.context import SERVICE, Context
from monero_escrow.fleet.slot import Slot
from monero_escrow.jitter import jittered
from monero_escrow.store.audit_checkpoints import sign_all

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 10.0
CHECKPOINT_SECONDS: Final = 600.0
_MAY_CARRY_A_SECRET: Final = frozenset("@?")  # a URL's login, or what stands in its query


@asynccontextmanager
async def noted_end(ctx: Context) -> AsyncIterator[None]:
    """After the block the end of this run is noted, if the database can still be told."""
    try:
        yield
    finally:
        try:
            await ctx.store.write(lambda tx: tx.audit.add(SERVICE, "service_ended", ctx.clock.now()))
        except EscrowError as error:
            log.warning("end_not_noted", code=error.code, reason=error.message)


async def note_start(ctx: Context) -> None:
    """This node's work begins, with this version and these settings."""
    detail = {"version": __version__, "settings": set_by_people(ctx.settings)}
    await ctx.store.write(lambda tx: tx.audit.add(SERVICE, "service_started", ctx.clock.now(), detail=detail))


def set_by_people(settings: Settings) -> dict[str, str]:
    """The settings that were set, as an auditor may see them: of what may hold a secret, only that it was set."""
    values = {name: getattr(settings, name) for name in sorted(settings.model_fields_set)}
    return {name: _shown(name, value) for name, value in values.items() if value is not None}


def _shown(name: str, value: object) -> str:
    if isinstance(value, SecretStr) or "key" in name or _MAY_CARRY_A_SECRET & set(str(value)):
        return "set"
    return str(value)[:500]


async def keep_account(ctx: Context) -> None:
    """Until cancelled: note the start, and what becomes of the processes; sign where the chains of the trail stand.

    Signing does not wait for the notes: where this node's own chain ends with what is not ours, all others are signed.
    """
    fleet, start_is_noted = FleetAccount(), False
    next_checkpoint = ctx.clock.monotonic() + jittered(CHECKPOINT_SECONDS)
    while True:
        try:
            if not start_is_noted:
                await note_start(ctx)
                start_is_noted = True
            await note_fleet(ctx, fleet)
        except EscrowError as error:  # the next look is soon enough, and finds what this one did
            log.warning("account_waits", code=error.code, reason=error.message)
        try:
            if ctx.clock.monotonic() >= next_checkpoint:
                await sign_all(ctx.store, lambda _tx: ctx.clock.now())
                next_checkpoint = ctx.clock.monotonic() + jittered(CHECKPOINT_SECONDS)
        except EscrowError as error:
            log.warning("checkpoint_waits", code=error.code, reason=error.message)
        await ctx.clock.sleep(jittered(LOOK_SECONDS))


@dataclass(slots=True)
class FleetAccount:
    """The processes as they were last told of: by name, None for a well one, else why it is sick."""

    told: Mapping[str, str | None] = field(default_factory=dict)

    def news(self, now: Mapping[str, str | None]) -> dict[str, object]:
        """What is different; empty if nothing is."""
        joined, left = sorted(now.keys() - self.told.keys()), sorted(self.told.keys() - now.keys())
        sick = {name: why for name, why in now.items() if why is not None and self.told.get(name) is None}
        well = sorted(name for name, why in now.items() if why is None and self.told.get(name) is not None)
        return {
            name: value for name, value in (("joined", joined), ("left", left), ("sick", sick), ("well", well)) if value
        }


async def note_fleet(ctx: Context, account: FleetAccount) -> None:
    """Write what has become of the processes since the last look."""
    now = {slot.name: _why_sick(slot) for slot in ctx.pool.slots if not slot.draining}
    if news := account.news(now):
        await ctx.store.write(lambda tx: tx.audit.add(SERVICE, "fleet_changed", ctx.clock.now(), detail=news))
        account.told = now


def _why_sick(slot: Slot) -> str | None:
    return None if slot.sick is None else slot.sick[:200]
