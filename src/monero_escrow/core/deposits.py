"""Which of the outputs sent to an escrow's address count as its deposit, and what they add up to.

An output counts only if its unlock_time is 0, it is not locked, it is above dust and has enough confirmations.
Everything else is named and shown, never hidden: no coin is stranded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from monero_escrow.core.life_cycle import Event

_MAX_BLOCK_NUMBER: Final = 500_000_000


class OutputStatus(StrEnum):
    """What an output is to the order. The values are stored: never rename one."""

    PENDING = "pending"
    """Mined or in the pool, without enough confirmations yet."""
    COUNTED = "counted"
    """Part of the deposit."""
    TIME_LOCKED = "time_locked"
    """Sent with an unlock_time, or mined to the address: it never counts, and cannot move yet."""
    RETURNABLE = "returnable"
    """Its time lock has run out: it still does not count, and goes back to the buyer once the escrow is closed."""
    DUST = "dust"
    """Not worth more than the dust limit: shown, and never spent by itself."""


@dataclass(frozen=True, slots=True)
class SeenOutput:
    """One output that a wallet of the escrow found on the chain.

    `public_key` is the output's one-time key, its identity: two outputs with the same key can be spent only once, and
    the wallet shows the larger. `height` is the block's; `unlock_time` is as the transaction states it (0 = none).
    """

    public_key: str
    txid: str
    amount_piconero: int
    height: int
    unlock_time: int
    unlocked: bool


@dataclass(frozen=True, slots=True)
class DepositRules:
    """Settings that decide what counts: confirmations (a block just mined has 1) and the dust limit.

    From `final_confirmations` on, nobody expects a reorganisation that takes it back.
    """

    confirmations: int = 10
    dust_piconero: int = 1_000_000_000
    final_confirmations: int = 30


def confirmations_of(height: int, chain_height: int) -> int:
    """How deep a block is; `chain_height` is the daemon's height, one more than the tip's block number."""
    return max(0, chain_height - height)


def status_of(output: SeenOutput, chain_height: int, rules: DepositRules) -> OutputStatus:
    """What this output is to the order at this height of the chain."""
    if output.amount_piconero <= rules.dust_piconero:
        return OutputStatus.DUST
    settled = output.unlocked and confirmations_of(output.height, chain_height) >= rules.confirmations
    if output.unlock_time != 0:
        return OutputStatus.RETURNABLE if settled else OutputStatus.TIME_LOCKED
    return OutputStatus.COUNTED if settled else OutputStatus.PENDING


def is_final(output: SeenOutput, chain_height: int, rules: DepositRules) -> bool:
    """Whether no reorganisation is expected to reach the output any more."""
    return confirmations_of(output.height, chain_height) >= rules.final_confirmations


def changes_at(
    status: OutputStatus, height: int, unlock_time: int, chain_height: int, rules: DepositRules, *, final: bool
) -> int | None:
    """How high the chain must be for an output to become something else, or final; None if only time will tell.

    Always more than `chain_height`. Dust stays dust, and nothing waits for it. An unlock_time may be a height or, from
    CRYPTONOTE_MAX_BLOCK_NUMBER on, a time by the miners' clocks, which no height says.
    """
    if status is OutputStatus.DUST:
        return None
    heights = [] if final else [height + rules.final_confirmations]
    if status is OutputStatus.PENDING:
        heights.append(height + rules.confirmations)
    elif status is OutputStatus.TIME_LOCKED and unlock_time < _MAX_BLOCK_NUMBER:
        heights.append(max(unlock_time, height + rules.confirmations))
    return max(min(heights), chain_height + 1) if heights else None


class Coverage(StrEnum):
    """How what came compares with what was asked for."""

    NOTHING = "nothing"
    SHORT = "short"
    EXACT = "exact"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Assessment:
    """Sums over an escrow's outputs, in piconero, and what they mean for an order of `amount_piconero`."""

    amount_piconero: int
    counted_piconero: int
    pending_piconero: int

    @property
    def coverage(self) -> Coverage:
        """Judged by what counts; pending coins do not."""
        if self.counted_piconero == 0:
            return Coverage.NOTHING
        if self.counted_piconero < self.amount_piconero:
            return Coverage.SHORT
        return Coverage.EXACT if self.counted_piconero == self.amount_piconero else Coverage.OVER

    @property
    def missing_piconero(self) -> int:
        """What would still have to come, after everything pending has counted."""
        return max(0, self.amount_piconero - self.counted_piconero - self.pending_piconero)

    @property
    def complete(self) -> bool:
        """The order's amount is there."""
        return self.counted_piconero >= self.amount_piconero


def assess(amount_piconero: int, outputs: Iterable[tuple[OutputStatus, int]]) -> Assessment:
    """Add up (status, amount in piconero) pairs for an order of `amount_piconero`."""
    sums = dict.fromkeys(OutputStatus, 0)
    for status, piconero in outputs:
        sums[status] += piconero
    return Assessment(amount_piconero, sums[OutputStatus.COUNTED], sums[OutputStatus.PENDING])


def taken_back(assessment: Assessment, funded_piconero: int | None) -> bool:
    """Whether the chain took back what made an escrow funded: less counts now than did then."""
    return funded_piconero is not None and assessment.counted_piconero < funded_piconero


def event_for(assessment: Assessment, *, deadline_passed: bool) -> Event | None:
    """What the deposits mean for an escrow that awaits them; None: go on waiting.

    Coins that are on their way when the deadline passes are waited for: they came in time.
    """
    if assessment.complete:
        return Event.DEPOSIT_COMPLETE
    if not deadline_passed or assessment.pending_piconero > 0:
        return None
    return Event.DEADLINE_PASSED_EMPTY if assessment.coverage is Coverage.NOTHING else Event.DEADLINE_PASSED_SHORT
