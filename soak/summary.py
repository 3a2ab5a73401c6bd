"""What the soak prints at its end: who was killed at what, what was spoilt, what became of the orders, what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from monero_escrow.core.money import format_xmr
from soak.books import Findings
from soak.orders import Order
from soak.storm import ANY_MOMENT, DAEMON, METHODS, SERVICE, SLOT, Storm


def show(
    storm: Storm,
    orders: Sequence[Order],
    findings: Findings,
    settled_seconds: float | None,
    took_seconds: float,
    seed: int,
) -> None:
    """Print it."""
    kinds = (SERVICE, SLOT, DAEMON)
    print(f"\n{'kill -9 at':28}" + "".join(f"{kind:>12}" for kind in kinds))
    for method in (*METHODS, ANY_MOMENT):
        print(f"  {method:26}" + "".join(f"{storm.struck[kind, method] or '·':>12}" for kind in kinds))
    sums = [sum(storm.struck[kind, method] for method in (*METHODS, ANY_MOMENT)) for kind in kinds]
    print(f"  {'together':26}" + "".join(f"{count:>12}" for count in sums))
    print(f"  of the wallet-rpc processes, {storm.disks_lost} lost their wallet files with it")
    print(f"  {storm.restarted_after_cut} more were started anew after a call of theirs was cut off")
    print("\ncalls spoilt between the service and")
    for (kind, word), count in sorted(storm.spoilt.items()):
        print(f"  {kind}: {count} {word}")
    show_orders(orders, findings, settled_seconds)
    print(
        f"\nlost {len(findings.lost)}, doubled {len(findings.doubled)}, other differences {len(findings.differences)}; "
        f"{storm.strikes} kills and {storm.spoilt.total()} spoilt calls in {took_seconds:.0f} s; seed {seed}"
    )


def show_orders(orders: Sequence[Order], findings: Findings, settled_seconds: float | None) -> None:
    """What became of the orders, and a line for everything that differs."""
    print("\norders")
    ended = Counter((order.kind.name, order.finished) for order in orders)
    for (name, finished), count in sorted(ended.items()):
        print(f"  {count:4} {name}{'' if finished else ': NOT FINISHED'}")
    print(f"  {findings.deposits} deposits, {findings.payouts} payouts, {findings.signatures} signed transactions")
    print(f"  {format_xmr(findings.paid_out_piconero)} XMR paid out, {format_xmr(findings.fees_piconero)} XMR fees")
    if settled_seconds is None:
        print("  Not everything settled in time:")
        for order in orders:
            if not order.finished:
                print(f"    {order.order_id} ({order.kind.name}): {order.now}")
    else:
        print(f"  everything settled {settled_seconds:.0f} s after the last fault")
    for sentence in (*findings.lost, *findings.doubled, *findings.differences):
        print(f"  ! {sentence}")
