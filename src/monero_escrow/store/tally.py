"""How much there is of everything, for whoever watches the service: a few numbers, whatever the database holds.

Each statement is answered from an index that is as long as what is open, but for the number of closed escrows, which is
counted over the small index made for it. Nothing here names an escrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, literal, select

from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.core.payout_states import PayoutState
from monero_escrow.store import schema
from monero_escrow.store.scan_table import ScanTable
from monero_escrow.store.trio_table import TrioTable

_e, _o, _p = schema.escrows, schema.outputs, schema.payouts
_HELD = literal(PayoutState.HELD.value, literal_execute=True)  # SQLite takes a partial index for no parameter
_OPEN = [state.value for state in State if state not in CLOSED_STATES]


@dataclass(frozen=True, slots=True)
class Tally:
    """The numbers of one moment, of the whole database.

    `longest_seconds`: how long the longest waiting escrow of each open state has been in it. `in_trouble`: open escrows
    whose last step failed. `held`: payouts that wait for a person. `stock_ages_seconds`: the oldest first.
    `scanned_height`: how many blocks have been scanned for deposits; 0 before the first scan. Of the open escrows,
    `ordered_piconero` is what they were ordered for, and `in_escrow_piconero` what came to them with enough
    confirmations, also what counts for no order.
    """

    escrows: Mapping[State, int]
    longest_seconds: Mapping[State, float]
    in_trouble: int
    held: int
    stock_ages_seconds: tuple[float, ...]
    scanned_height: int
    ordered_piconero: int
    in_escrow_piconero: int


def take_tally(connection: Connection, scan: ScanTable, trios: TrioTable, now: float) -> Tally:
    """Count what there is now (seconds since the epoch)."""
    all_states = select(_e.c.state, func.count()).group_by(_e.c.state)
    counts = dict.fromkeys(State, 0) | {State(state): count for state, count in connection.execute(all_states)}
    since = select(_e.c.state, func.min(_e.c.updated_at)).where(_e.c.state.in_(_OPEN)).group_by(_e.c.state)
    longest = {State(state): max(0.0, now - at) for state, at in connection.execute(since)}
    failing = select(func.count()).where(_e.c.state.in_(_OPEN), _e.c.failures > 0)
    held = select(func.count()).where(_p.c.state == _HELD)
    ordered = select(func.sum(_e.c.amount_piconero)).where(_e.c.state.in_(_OPEN))
    came = select(func.sum(_o.c.amount_piconero)).join(_e, _o.c.escrow_id == _e.c.id)
    came = came.where(_e.c.state.in_(_OPEN), _o.c.status != OutputStatus.PENDING.value)
    return Tally(
        escrows=counts,
        longest_seconds=longest,
        in_trouble=connection.scalar(failing) or 0,
        held=connection.scalar(held) or 0,
        stock_ages_seconds=tuple(trios.stock_ages(now)),
        scanned_height=scan.chain_height(),
        ordered_piconero=int(connection.scalar(ordered) or 0),
        in_escrow_piconero=int(connection.scalar(came) or 0),
    )
