"""How long the conductor waits before it tries again what failed, and whether it still turns."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from unittest.mock import patch

import pytest

from monero_escrow.clock import SystemClock
from monero_escrow.core.errors import EscrowError, UnavailableError
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.monero.errors import ProcessUnreachableError, WalletFileLockedError
from monero_escrow.monero.waiting import until
from monero_escrow.nodes.claims import Horizons, SoleClaims
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.work_table import Claim
from unit.scripted import ScriptedDaemon, an_escrow

A_SLOT = ProcessUnreachableError("http://127.0.0.1:2", "refresh", "connection refused")
LOCKED = WalletFileLockedError("open_wallet", -1)
"""A slot that turned sick has the wallet open still, and is about to be replaced."""
THE_DAEMON = ProcessUnreachableError(ScriptedDaemon.url, "get_info", "connection refused")


async def after_failing(ctx: Context, error: EscrowError, times: int) -> tuple[float, EscrowRecord]:
    """How long the escrow waits after it failed so often, and the escrow."""

    async def fails(_ctx: Context, _escrow: EscrowRecord) -> None:
        raise error

    await an_escrow(ctx, State.AWAITING_DEPOSIT)
    with patch("monero_escrow.escrows.conductor.advance", fails):
        for _ in range(times):
            await Conductor(ctx)._advance(ctx, "escrow")
    escrow = await ctx.store.read(lambda tx: tx.escrows.get("escrow"))
    assert escrow.due_at is not None
    return escrow.due_at - ctx.clock.now(), escrow


@pytest.mark.parametrize("error", [A_SLOT, LOCKED])
async def test_when_a_process_fails_the_work_goes_on_at_once_with_another(ctx: Context, error: EscrowError) -> None:
    pause, escrow = await after_failing(ctx, error, 1)
    assert (pause, escrow.failures) == (0, 1)


@pytest.mark.parametrize("error", [A_SLOT, LOCKED])
async def test_when_processes_go_on_failing_nothing_spins(ctx: Context, error: EscrowError) -> None:
    pause, _ = await after_failing(ctx, error, 2)
    assert 1 <= pause <= 8


@pytest.mark.parametrize("error", [THE_DAEMON, UnavailableError("Not now.", what_to_do="Wait.")])
async def test_there_is_one_daemon_and_one_database_so_they_are_waited_for(ctx: Context, error: EscrowError) -> None:
    pause, escrow = await after_failing(ctx, error, 1)
    assert 0.5 <= pause <= 2
    assert escrow.trouble == error.public_message


async def test_what_is_taken_over_from_another_node_is_counted(ctx: Context) -> None:
    await an_escrow(ctx, State.SETTLED)
    conductor = Conductor(ctx)
    for taken_over in (False, True, True):
        await conductor._work_on(Claim("escrow", "", 0, taken_over=taken_over))
    assert ctx.metrics.registry.get_sample_value("monero_escrow_takeovers_total") == 2


class Claims(SoleClaims):
    """A database that answers with an error, and then not at all."""

    asked = 0

    async def take(self, limit: int, horizons: Horizons) -> list[Claim]:
        self.asked += 1
        if self.asked < 3:
            raise UnavailableError("Not now.")
        await asyncio.get_running_loop().create_future()
        return []


async def test_a_conductor_whose_question_is_never_answered_turns_no_more(ctx: Context) -> None:
    """An answer that is an error is one: it goes on turning."""
    claims = Claims(ctx.store, ctx.clock)
    conductor = Conductor(replace(ctx, daemon=None, clock=SystemClock()), claims)

    async def is_stuck() -> bool:
        return not conductor.turns

    with patch.multiple("monero_escrow.escrows.conductor", _STUCK_SECONDS=0.5, FIRST_PAUSE_SECONDS=0.01):
        assert conductor.turns
        running = asyncio.create_task(conductor.run())
        await until(is_stuck, limit_seconds=10)
        assert claims.asked == 3
        running.cancel()
