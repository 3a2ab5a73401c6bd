"""What the soak of several nodes prints at its end: faults, takeovers and their times, orders, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from soak.books import Findings
from soak.nodes_storm import NODE_FAULTS, SERVER_FAULTS, NodesStorm
from soak.nodes_takeovers import LOOK, PAYOUT, SET_UP, Takeover, Takeovers
from soak.nodes_world import LEASE_SECONDS, NodesWorld
from soak.orders import Order
from soak.summary import show_orders

AIM_SECONDS: Final = LEASE_SECONDS + 5.0


def show(
    world: NodesWorld,
    storm: NodesStorm,
    takeovers: Takeovers,
    orders: Sequence[Order],
    findings: Findings,
    settled_seconds: float | None,
    took_seconds: float,
    seed: int,
) -> None:
    """Print it."""
    print("\nfaults")
    for kind in (*NODE_FAULTS, *SERVER_FAULTS):
        print(f"  {storm.struck[kind]:4} {kind}")
    print(f"  {storm.struck_together:4} of them while another one lasted")
    print(f"\n{'takeovers (s from the fault)':40}{'number':>8}{'p50':>8}{'p99':>8}{'longest':>9}")
    for work in (SET_UP, PAYOUT, LOOK):
        for kind in NODE_FAULTS:
            _row(f"{work}, {kind}", [t for t in takeovers.seen if (t.work, t.fault) == (work, kind)])
    counted = [takeover for takeover in takeovers.seen if takeover.work != LOOK]
    _row("set-ups and payouts together", counted)
    _row("of these, in the middle of a step", [takeover for takeover in counted if takeover.in_step])
    _row("of these, with no other fault meanwhile", [takeover for takeover in counted if takeover.alone])
    late = [takeover for takeover in counted if takeover.seconds > AIM_SECONDS]
    print(f"  {len(late)} took more than the lease of {LEASE_SECONDS} s and 5 s:")
    for takeover in late:
        print(
            f"    {takeover.seconds:.1f} s: {takeover.work}, {takeover.fault}{'' if takeover.alone else ', not alone'}"
        )
    print(f"  {takeovers.not_needed} more had been finished, and nobody had to take them over")
    lapsed, refused = (sum(node.told(words) for node in world.nodes) for words in ("node_lapsed", "Another node works"))
    print(f"  {lapsed} times a node let go of everything, and {refused} late writes were refused by their fence")
    show_orders(orders, findings, settled_seconds)
    print(
        f"\nlost {len(findings.lost)}, doubled {len(findings.doubled)}, other differences {len(findings.differences)}; "
        f"{len(counted)} takeovers and {storm.struck.total()} faults in {took_seconds:.0f} s; seed {seed}"
    )


def _row(name: str, some: Sequence[Takeover]) -> None:
    seconds = sorted(takeover.seconds for takeover in some)
    if not seconds:
        print(f"  {name:38}{'·':>8}")
        return
    p50, p99 = (seconds[min(len(seconds) - 1, int(part * len(seconds)))] for part in (0.50, 0.99))
    print(f"  {name:38}{len(seconds):>8}{p50:>8.1f}{p99:>8.1f}{seconds[-1]:>9.1f}")
