"""`monero-escrow escrow`: what the database says of escrows, for an operator on the machine."""

from __future__ import annotations

import getpass
import json
from typing import Annotated

from cyclopts import App, Parameter, validators
from rich.console import Console
from rich.table import Table

from monero_escrow.cli.database import goes_on, in_database, when
from monero_escrow.cli.options import Json
from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import format_xmr
from monero_escrow.escrows.context import short
from monero_escrow.escrows.held import to_replace, to_resume
from monero_escrow.escrows.views import EscrowView, escrow_view

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
            row.id, f"{row.shop_id}/{row.order_id}", row.state, amount, when(row.created_at), row.trouble or ""
        )
    Console().print(table)


@escrow_app.command
def show(escrow_id: str, /, *, json_output: Json = False) -> None:
    """One escrow: where it is, what it waits for, its deposits, payouts and history."""
    view = in_database(lambda tx: escrow_view(tx, escrow_id))
    if json_output:
        print(json.dumps(_as_json(view)))
        return
    escrow, console = view.escrow, Console()
    console.print(f"[bold]{escrow.id}[/bold]  order {escrow.order_id} of {escrow.shop_id}")
    console.print(f"{escrow.state}: {view.waits_for}")
    amount, counted = format_xmr(escrow.terms.amount_piconero), format_xmr(view.deposits.counted_piconero)
    console.print(f"{amount} XMR asked, {counted} XMR deposited at {short(escrow.deposit_address or '-')}")
    outputs = Table("deposit", "XMR", "height", "status")
    for output in view.outputs:
        outputs.add_row(short(output.txid), format_xmr(output.amount_piconero), str(output.height), output.status)
    payouts = Table("payout", "kind", "state", "txid", "XMR", "fee")
    for payout in view.payouts:
        fee = "" if payout.fee_piconero is None else format_xmr(payout.fee_piconero)
        total = format_xmr(payout.plan.total_piconero)
        payouts.add_row(str(payout.number), payout.plan.kind, payout.state, short(payout.txid or ""), total, fee)
    history = Table("when", "who", "what", "state")
    for row in view.history:
        history.add_row(when(row.at), row.actor, row.action, row.to_state or "")
    for table in (outputs, payouts, history):
        if table.row_count:
            console.print(table)


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
    take_up, actor = to_replace if replace else to_resume, f"operator:{getpass.getuser()}"
    in_database(lambda tx: take_up(escrow_id, number, actor, tx.nodes.now())(tx), writes=True, wakes=escrow_id)
    print(f"Payout {number} is taken up again; {goes_on()}")


def _as_json(view: EscrowView) -> dict[str, object]:
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
            {"at": when(row.at), "actor": row.actor, "action": row.action, "to": row.to_state} for row in view.history
        ],
        "steps": [
            {"at": when(row["intended_at"]), "name": row["name"], "role": row["role"], "result": row["result"]}
            for row in view.steps
        ],
    }
