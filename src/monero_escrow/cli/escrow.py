"""`monero-escrow escrow`: what the database says of escrows, for an operator on the machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter, validators
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from monero_escrow.cli.database import actor, goes_on, in_database
from monero_escrow.cli.options import Json
from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import format_xmr
from monero_escrow.core.words import lasting, moment, short
from monero_escrow.escrows.held import to_replace, to_resume
from monero_escrow.escrows.timeline import Chapter, operator_can, timeline
from monero_escrow.escrows.views import EscrowView, escrow_view
from monero_escrow.store.records import Scope
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.access import actions_now

Limit = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1000))]

escrow_app = App(name="escrow", help="Look at escrows, and take up payouts that are held.")


@escrow_app.command(name="list")
def list_escrows(*, state: State | None = None, limit: Limit = 50, json_output: Json = False) -> None:
    """The newest escrows.

    Parameters
    ----------
    state
        Only those in this state.
    limit
        At most so many.
    """
    states = None if state is None else frozenset({state})
    found = in_database(lambda tx: tx.escrows.page(shop_id=None, states=states, before=None, limit=limit))
    if json_output:
        rows = [
            {
                "escrow_id": row.id,
                "shop_id": row.shop_id,
                "order_id": row.order_id,
                "state": row.state,
                "amount_piconero": str(row.terms.amount_piconero),
                "trouble": row.trouble,
            }
            for row in found
        ]
        print(json.dumps(rows))
        return
    table = Table("escrow", "order", "state", "XMR", "created", "trouble", box=None, pad_edge=False)
    for column in table.columns[:-1]:
        column.no_wrap = True
    for row in found:
        amount = format_xmr(row.terms.amount_piconero)
        table.add_row(
            row.id, f"{row.shop_id}/{row.order_id}", row.state, amount, moment(row.created_at), row.trouble or ""
        )
    Console().print(table)


@escrow_app.command
def show(escrow_id: str, /, *, operations: bool = True, json_output: Json = False) -> None:
    """One escrow: where it is, what it waits for, what can be done, its deposits and payouts, and its story.

    Parameters
    ----------
    operations
        Tell of every step on the wallets as well.
    """

    def read(tx: Transaction) -> tuple[EscrowView, list[Chapter], float]:
        view = escrow_view(tx, escrow_id)
        return view, timeline(tx, view), tx.nodes.now()

    view, story, now = in_database(read)
    if json_output:
        print(json.dumps(_as_json(view, story)))
        return
    escrow, console = view.escrow, Console()
    console.print(f"[bold]{escrow.id}[/bold]  order {escape(escrow.order_id)} of {escrow.shop_id}", highlight=False)
    lasted = lasting(now - view.since)
    console.print(f"[bold]{escrow.state}[/bold], for {lasted}: {escape(view.waits_for)}", highlight=False)
    for scope in (Scope.SHOP, Scope.ARBITER):
        if actions := actions_now(view, scope):
            console.print(f"  the {scope} may: {', '.join(actions)}", highlight=False)
    for sentence in operator_can(view):
        console.print(f"  the operator: {escape(sentence)}", highlight=False)
    amount, counted = format_xmr(escrow.terms.amount_piconero), format_xmr(view.deposits.counted_piconero)
    console.print(f"{amount} XMR asked, {counted} XMR deposited at {short(escrow.deposit_address or '-')}")
    for table in (_deposits(view), _payouts(view), _story(story, operations)):
        if table.row_count:
            console.print(table)


def _deposits(view: EscrowView) -> Table:
    table = Table("deposit", "XMR", "height", "status", box=None, pad_edge=False)
    for output in view.outputs:
        table.add_row(short(output.txid), format_xmr(output.amount_piconero), str(output.height), output.status)
    return table


def _payouts(view: EscrowView) -> Table:
    table = Table("payout", "kind", "state", "txid", "XMR", "fee", box=None, pad_edge=False)
    for payout in view.payouts:
        fee = "" if payout.fee_piconero is None else format_xmr(payout.fee_piconero)
        total = format_xmr(payout.plan.total_piconero)
        table.add_row(str(payout.number), payout.plan.kind, payout.state, short(payout.txid or ""), total, fee)
    return table


def _story(story: Sequence[Chapter], operations: bool) -> Table:
    """When, how long after what came before, who, what, and what became of it."""
    table = Table("when (UTC)", "after", "took", "who", "what", "state", box=None, pad_edge=False)
    for column in table.columns[:3]:
        column.no_wrap = True
    before: float | None = None
    for one in story:
        if one.operation and one.trouble is None and not operations:
            continue
        after = "" if before is None else lasting(one.at - before)
        what = one.what if one.trouble is None else f"{one.what}: {one.trouble}"
        style = "red" if one.trouble else "dim" if one.operation else None
        took = "" if one.seconds is None else lasting(one.seconds)
        table.add_row(moment(one.at), after, took, one.who, escape(what), one.state or "", style=style)
        before = one.at
    return table


@escrow_app.command
def resume_payout(escrow_id: str, number: int, /, *, replace: bool = False) -> None:
    """Take up a payout that is held, after you have looked at what stopped it (`escrow show` says it).

    It cannot pay twice: whatever is signed for a payout spends the same output, and the network is asked first.

    Parameters
    ----------
    number
        Which of the escrow's payouts, counted from 1.
    replace
        Sign another transaction instead of going on with the one that was signed before.
    """
    take_up, who = to_replace if replace else to_resume, actor()
    in_database(lambda tx: take_up(escrow_id, number, who, tx.nodes.now())(tx), writes=True, wakes=escrow_id)
    print(f"Payout {number} is taken up again; {goes_on()}")


def _as_json(view: EscrowView, story: Sequence[Chapter]) -> dict[str, object]:
    escrow = view.escrow
    return {
        "escrow_id": escrow.id,
        "shop_id": escrow.shop_id,
        "order_id": escrow.order_id,
        "state": escrow.state,
        "waits_for": view.waits_for,
        "amount_piconero": str(escrow.terms.amount_piconero),
        "counted_piconero": str(view.deposits.counted_piconero),
        "deposits": [
            {"txid": row.txid, "amount_piconero": str(row.amount_piconero), "height": row.height, "status": row.status}
            for row in view.outputs
        ],
        "payouts": [
            {"number": row.number, "kind": row.plan.kind, "state": row.state, "txid": row.txid, "trouble": row.trouble}
            for row in view.payouts
        ],
        "history": [
            {"at": moment(row.at), "actor": row.actor, "action": row.action, "to": row.to_state} for row in view.history
        ],
        "shop_may": actions_now(view, Scope.SHOP),
        "arbiter_may": actions_now(view, Scope.ARBITER),
        "operator_can": operator_can(view),
        "timeline": [{**asdict(one), "at": moment(one.at)} for one in story],
        "steps": [
            {"at": moment(row["intended_at"]), "name": row["name"], "role": row["role"], "result": row["result"]}
            for row in view.steps
        ],
    }
