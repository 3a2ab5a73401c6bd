"""Whether the service is healthy, degraded or critical, and what a person can do about it: a pure judgement.

Critical means that something stops for all: no escrow can be set up, or nothing can be recorded. Degraded: something is
not as it should be, and the rest goes on. Every reason has a stable code, a sentence, and what to do; docs/runbook.md
has a section for each code. Nothing here asks anybody: who observes is `web/health.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from monero_escrow.core.roles import Role

SET_UP_LATE_SECONDS: Final = 900.0
"""A set-up takes seconds, and waits its turn for minutes."""
PAYOUT_LATE_SECONDS: Final = 10_800.0
"""A payout is signed within minutes and settled ten blocks later."""
SCAN_LATE_BLOCKS: Final = 10


class Status(StrEnum):
    """How it stands, the best first."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why it is not healthy."""

    code: str
    sentence: str
    what_to_do: str
    status: Status = Status.DEGRADED


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen. The defaults are those of a service that has nothing to complain of.

    `sick` and `quarantined` are slots by name, and why; `busy_roles` those without a free slot while one is usable.
    `database_trouble`, `daemon_trouble` and `second_place_trouble` are sentences, None when there is none.
    `longest_*_seconds` is how long the longest waiting escrow has been in that state.
    """

    roles_without_slots: tuple[Role, ...] = ()
    busy_roles: tuple[Role, ...] = ()
    sick: Mapping[str, str] = field(default_factory=dict)
    quarantined: Mapping[str, str] = field(default_factory=dict)
    stock_ready: int = 0
    database_trouble: str | None = None
    daemon_trouble: str | None = None
    second_place_trouble: str | None = None
    scan_lag_blocks: int = 0
    payouts_held: int = 0
    longest_set_up_seconds: float = 0.0
    longest_payout_seconds: float = 0.0


def judge(seen: Observed) -> tuple[Status, tuple[Reason, ...]]:
    """The worst of all reasons, and the reasons, the worst first."""
    order = list(Status)
    reasons = sorted(_reasons(seen), key=lambda reason: -order.index(reason.status))
    return (reasons[0].status if reasons else Status.HEALTHY), tuple(reasons)


def _reasons(seen: Observed) -> Iterator[Reason]:
    yield from _of_the_database(seen)
    yield from _of_the_slots(seen)
    yield from _of_the_chain(seen)
    yield from _of_the_escrows(seen)


def _of_the_database(seen: Observed) -> Iterator[Reason]:
    if seen.database_trouble is not None:
        yield Reason(
            "database_silent",
            seen.database_trouble,
            "See that the database's disk has free space and, for a server, that it runs and can be reached. Nothing "
            "is lost: what was acknowledged is recorded.",
            Status.CRITICAL,
        )
    if seen.second_place_trouble is not None:
        yield Reason(
            "no_second_place",
            seen.second_place_trouble,
            "Mount or repair the folder BACKUP_URL names: no new address is shown before its keys lie there.",
        )


def _of_the_slots(seen: Observed) -> Iterator[Reason]:
    for role in seen.roles_without_slots:
        yield Reason(
            "no_usable_slot",
            f"No usable wallet-rpc process serves the {role}s: no escrow can be set up.",
            "Start the processes of MONERO_RPC_URLS, or see why the service's own do not start (GET /admin/fleet).",
            Status.CRITICAL,
        )
    for name, why in seen.sick.items():
        yield Reason(
            "slot_sick",
            f"{name} is not used: {why}",
            "See that process's log. It is looked at again by itself, and serves as soon as it is found to be well.",
        )
    for name, why in seen.quarantined.items():
        yield Reason(
            "slot_quarantined",
            f"{name} rests: {why}.",
            "Wait, or restart that process: it comes back at once when the restart is seen, else after "
            "QUARANTINE_SECONDS.",
        )
    if seen.busy_roles and not seen.roles_without_slots and seen.stock_ready == 0:
        yield Reason(
            "no_slot_free",
            f"No set-up can begin this moment: no process is free for {', '.join(seen.busy_roles)}.",
            "Nothing if it passes: orders wait their turn. If it lasts, add processes (MONERO_RPC_URLS, "
            "FLEET_MAX_TRIOS) or a larger STOCK_TARGET.",
        )


def _of_the_chain(seen: Observed) -> Iterator[Reason]:
    if seen.daemon_trouble is not None:
        yield Reason(
            "no_daemon",
            seen.daemon_trouble,
            "Check MONERO_DAEMON_URL and that monerod runs and is synchronised; deposits and payouts wait for it.",
        )
    elif seen.scan_lag_blocks > SCAN_LATE_BLOCKS:
        yield Reason(
            "scan_late",
            f"{seen.scan_lag_blocks} blocks were not scanned for deposits yet.",
            "Nothing if the number falls, as after a start. Else see the log for scan_failed, and whether the daemon "
            "answers get_block.",
        )


def _of_the_escrows(seen: Observed) -> Iterator[Reason]:
    if seen.payouts_held > 0:
        held = "1 payout waits" if seen.payouts_held == 1 else f"{seen.payouts_held} payouts wait"
        yield Reason(
            "payouts_held",
            f"{held} for a person.",
            "Read the escrow's `trouble`, do what it says, then resume, replace, call off or write off the payout "
            "(docs/recovery.md).",
        )
    elif seen.longest_payout_seconds > PAYOUT_LATE_SECONDS:
        yield Reason(
            "payout_late",
            f"A payout has been under way for {seen.longest_payout_seconds / 3600:.1f} hours.",
            "Read the escrow's `trouble`: mostly a daemon or a wallet process is away, or the network is full.",
        )
    if seen.longest_set_up_seconds > SET_UP_LATE_SECONDS:
        yield Reason(
            "set_up_late",
            f"An order has waited for its address for {seen.longest_set_up_seconds / 60:.0f} minutes.",
            "Read the escrow's `trouble`. Without one it waits for slots: add processes, or a larger STOCK_TARGET.",
        )
