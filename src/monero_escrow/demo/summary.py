"""The end of the demo: what was paid to whom, as the buyer's and the vendor's own wallets read it, beside the plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from monero_escrow.core.money import XMR_DECIMALS, format_xmr
from monero_escrow.core.words import short
from monero_escrow.demo.board import seconds
from monero_escrow.demo.failures import DemoFailedError
from monero_escrow.demo.orders import Outcome, took
from monero_escrow.demo.service_process import ApiKeys
from monero_escrow.monero.programs import MoneroPrograms

_COLUMN_GAP: Final = (0, 2, 0, 0)

_WHAT_YOU_SAW: Final = (
    "Each order got a Monero address that belongs to three wallets, of which any two can spend. Two of them had been "
    "made ahead and waited in stock; the third was made when it was asked for. The buyer paid to it from a wallet of "
    "their own; once the payment was ten blocks deep, the shop released it, refunded it, or let the arbiter rule. Two "
    "wallets then signed the payout, the second only after comparing it with the plan, and the amounts above were read "
    "from the chain by the receivers' own wallets. Here the service ran all three wallets: whoever runs it like that "
    "holds all three keys."
)
_WITH_NODES: Final = (
    "It ran as {nodes} nodes on one PostgreSQL. One was killed while it worked on an order, and the other {left} went "
    "on with it: from the database alone, for its wallets' files had gone with it (docs/nodes.md)."
)
_READ_ON: Final = (
    "Read on: README.md (custody, configuration), docs/architecture.md (how it works), `monero-escrow serve --help`."
)


def show_summary(
    console: Console, outcomes: Sequence[Outcome], total_seconds: float, programs: str, *, nodes: int = 1
) -> bool:
    """Print it; True when everything is equal to the piconero."""
    console.print()
    console.print(_payouts(outcomes))
    console.print()
    console.print(_receipts(outcomes))
    console.print()
    exact = all(outcome.exact for outcome in outcomes)
    verdict = "Every amount is equal to the plan, to the piconero." if exact else "Something differs from the plan."
    console.print(f"{verdict} {len(outcomes)} orders in {seconds(total_seconds)}, Monero {programs}.", highlight=False)
    console.print()
    console.print(f"What you saw: {_WHAT_YOU_SAW}", highlight=False, markup=False)
    if nodes > 1:
        console.print(_WITH_NODES.format(nodes=nodes, left=nodes - 1), highlight=False, markup=False)
    console.print(_READ_ON, highlight=False, markup=False)
    return exact


def _payouts(outcomes: Sequence[Outcome]) -> Table:
    table = _table("order", "address", "payout txid")
    for heading in ("init-escrow", "paid in (XMR)", "network fee"):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        table.add_row(
            f"#{outcome.order.number} {outcome.order.ended}",
            short(outcome.escrow.deposit_address or ""),
            short(outcome.payout.txid or ""),
            took(outcome.init_seconds),
            _xmr(outcome.escrow.amount_piconero),
            format_xmr(outcome.payout.fee_piconero or 0),
        )
    return table


def _receipts(outcomes: Sequence[Outcome]) -> Table:
    """Plan beside receipt; a line more where the plan itself is wrong."""
    table = _table("order", "who")
    for heading in ("plan (XMR)", "received (XMR)"):
        table.add_column(heading, justify="right")
    table.add_column("equal")
    for outcome in outcomes:
        for party in outcome.parties:
            table.add_row(
                f"#{outcome.order.number} {outcome.order.ended}",
                party.party,
                _xmr(party.planned_piconero),
                _xmr(party.received_piconero),
                _mark(party.exact),
            )
        paid_out = sum(outcome.payout.payments.values()) + (outcome.payout.fee_piconero or 0)
        if not outcome.adds_up:
            table.add_row("", "all + fee", _xmr(outcome.escrow.amount_piconero), _xmr(paid_out), _mark(False))
        if not outcome.as_agreed:
            table.add_row("", "the plan is not what was decided", "", "", _mark(False))
    return table


def show_rehearsed(
    console: Console, outcomes: Sequence[Outcome], total_seconds: float, programs: MoneroPrograms
) -> bool:
    """Print what was paid and the verdict; True for a pass."""
    console.print()
    console.print(_receipts(outcomes))
    console.print()
    exact = all(outcome.exact for outcome in outcomes)
    what = "an order was set up, paid, disputed, ruled, and paid out to the piconero" if exact else "the amounts differ"
    where = f"Monero {programs.version} in {programs.folder}, {seconds(total_seconds)}"
    verdict = f"{'PASS' if exact else 'FAIL'}: {what}. {where}."
    console.print(verdict, highlight=False, markup=False, soft_wrap=True)
    return exact


def show_kept(console: Console, *, api_url: str, keys: ApiKeys, escrow_id: str, wallet_url: str, folder: Path) -> None:
    """What one can do while everything is left running."""
    lines = (
        "",
        "Everything is left running. Open",
        "",
        f"  {api_url}/admin",
        "",
        "Order #4 waits for the arbiter. Sign in with the arbiter's key, read what the parties say under",
        "Disputes, rule it, and watch it settle; blocks are mined as needed. The operator's key opens all else;",
        "who ruled is under Audit.",
        "",
        f"  operator key   {keys.operator}",
        f"  arbiter key    {keys.arbiter}",
        f"  shop key       {keys.shop}",
        f"  API docs       {api_url}/docs",
        f"  order #4       {api_url}/api/escrows/{escrow_id}",
        f"  buyer's wallet {wallet_url}/json_rpc (has coins; no login)",
        f"  logs           {folder}",
        "",
        "Ctrl-C stops all of it and removes the folder.",
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_failure(console: Console, failure: DemoFailedError, folder: Path | None) -> None:
    """The step, the reason, what to do, and where the logs are."""
    console.print()
    console.print(f"The demo failed at: {failure.step}", style="red", highlight=False, markup=False)
    console.print(failure.message, highlight=False, markup=False, soft_wrap=True)
    console.print(f"What to do: {failure.what_to_do}", highlight=False, markup=False, soft_wrap=True)
    if folder is not None:
        console.print(f"The logs are kept in {folder}", highlight=False, markup=False, soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=_COLUMN_GAP, header_style="dim")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _xmr(amount_piconero: int) -> str:
    """All twelve decimals, so that the columns can be compared by eye."""
    if amount_piconero == 0:
        return "0"
    whole, _, decimals = format_xmr(amount_piconero).partition(".")
    return f"{whole}.{decimals.ljust(XMR_DECIMALS, '0')}"


def _mark(equal: bool) -> str:
    return "[green]✓[/]" if equal else "[red]✗[/]"
