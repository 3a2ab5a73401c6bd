"""Healthy, degraded or critical: the table of what is seen and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from monero_escrow.core.health import (
    PAYOUT_LATE_SECONDS,
    SCAN_LATE_BLOCKS,
    SET_UP_LATE_SECONDS,
    Observed,
    Status,
    judge,
)
from monero_escrow.core.roles import ROLES, Role

HEALTHY, DEGRADED, CRITICAL = Status
RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"

TABLE = {
    "nothing to complain of": (Observed(), HEALTHY, []),
    "no process of a role": (Observed(roles_without_slots=(Role.VENDOR,)), CRITICAL, ["no_usable_slot"]),
    "no process at all": (Observed(roles_without_slots=ROLES), CRITICAL, ["no_usable_slot"] * 3),
    "all busy, nothing in stock": (Observed(busy_roles=ROLES), DEGRADED, ["no_slot_free"]),
    "all busy, one in stock": (Observed(busy_roles=ROLES, stock_ready=1), HEALTHY, []),
    "busy because there is none": (
        Observed(busy_roles=(Role.BUYER,), roles_without_slots=(Role.BUYER,)),
        CRITICAL,
        ["no_usable_slot"],
    ),
    "a sick process": (Observed(sick={"buyer@h:1": "Gone."}), DEGRADED, ["slot_sick"]),
    "a process that rests": (Observed(quarantined={"buyer@h:1": "a call may run"}), DEGRADED, ["slot_quarantined"]),
    "no daemon": (Observed(daemon_trouble="It is away."), DEGRADED, ["no_daemon"]),
    "no daemon, so that nothing can be scanned": (
        Observed(daemon_trouble="It is away.", scan_lag_blocks=1000),
        DEGRADED,
        ["no_daemon"],
    ),
    "the scan a little behind": (Observed(scan_lag_blocks=SCAN_LATE_BLOCKS), HEALTHY, []),
    "the scan far behind": (Observed(scan_lag_blocks=SCAN_LATE_BLOCKS + 1), DEGRADED, ["scan_late"]),
    "no database": (Observed(database_trouble="It is silent."), CRITICAL, ["database_silent"]),
    "no second place": (Observed(second_place_trouble="It is not there."), DEGRADED, ["no_second_place"]),
    "a held payout": (Observed(payouts_held=1), DEGRADED, ["payouts_held"]),
    "a held payout, long under way": (
        Observed(payouts_held=2, longest_payout_seconds=10 * PAYOUT_LATE_SECONDS),
        DEGRADED,
        ["payouts_held"],
    ),
    "a payout in time": (Observed(longest_payout_seconds=PAYOUT_LATE_SECONDS), HEALTHY, []),
    "a late payout": (Observed(longest_payout_seconds=PAYOUT_LATE_SECONDS + 1), DEGRADED, ["payout_late"]),
    "a set-up in time": (Observed(longest_set_up_seconds=SET_UP_LATE_SECONDS), HEALTHY, []),
    "a late set-up": (Observed(longest_set_up_seconds=SET_UP_LATE_SECONDS + 1), DEGRADED, ["set_up_late"]),
    "several things, the worst first": (
        Observed(sick={"buyer@h:1": "Gone."}, payouts_held=1, roles_without_slots=(Role.BUYER,)),
        CRITICAL,
        ["no_usable_slot", "slot_sick", "payouts_held"],
    ),
}


@pytest.mark.parametrize(("seen", "status", "codes"), TABLE.values(), ids=TABLE.keys())
def test_what_is_seen_is_judged_as_the_table_says(seen: Observed, status: Status, codes: list[str]) -> None:
    judged, reasons = judge(seen)
    assert judged is status
    assert [reason.code for reason in reasons] == codes


def test_every_reason_is_a_sentence_says_what_to_do_and_has_a_section_in_the_runbook() -> None:
    runbook = RUNBOOK.read_text()
    for seen, _, _ in TABLE.values():
        for reason in judge(seen)[1]:
            assert reason.sentence.endswith(".")
            assert reason.what_to_do.endswith((".", ")."))
            assert f"`{reason.code}`" in runbook
