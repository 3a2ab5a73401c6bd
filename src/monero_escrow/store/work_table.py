"""Who works on what: claims of escrows and duties, each with a fence that only grows.

A claim holds as long as its node's lease does. After that anybody takes the work over, under the next fence; whatever
the earlier holder still writes names a fence that is not there any more, and is undone by the database.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, update

from monero_escrow.core.errors import EscrowError
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout_states import UNDER_WAY
from monero_escrow.store import schema
from monero_escrow.store.database_time import database_now
from monero_escrow.store.node_table import living, taking_up

SCAN: Final = "scan"
"""The duty of scanning the chain."""

_e, _d, _n = schema.escrows, schema.duties, schema.nodes
_WORK_STATES = (State.SETTING_UP, State.PAYING_OUT)


class ClaimLostError(EscrowError):
    """The work belongs to another node by now: whoever still holds on to it must stop. Nothing was written."""

    code = "claim_lost"
    what_to_do = "Nothing: another node goes on with it."


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one node to work on one escrow (or duty) until its lease ends or the claim is given back.

    `taken_over`: another node had it, whose lease ended in the middle of the work.
    """

    subject: str
    node_id: str
    fence: int
    taken_over: bool = field(default=False, compare=False)


class WorkTable:
    """Claims in the `escrows` and `duties` tables, in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim_due(self, node_id: str, node_name: str, now: float, limit: int, *, home_seconds: float) -> list[Claim]:
        """Claim escrows that are due and nobody's: set-ups and payouts first, then the longest waiting.

        Whose wallets' files another node has that takes up work is left to that one for `home_seconds`. Rows that
        others are claiming this very moment are passed over.
        """
        at_home = or_(_at_home(node_name), _e.c.due_at <= now - home_seconds)
        ready = and_(_e.c.due_at <= now, self._nobodys(_e.c.node_id), at_home)
        work = self._pick(and_(ready, _e.c.state.in_(_WORK_STATES)), limit)
        looks = self._pick(and_(ready, _e.c.state.not_in(_WORK_STATES)), limit - len(work)) if limit > len(work) else {}
        return self._take(work | looks, node_id, node_name)

    def _pick(self, wanted: ColumnElement[bool], limit: int) -> dict[str, str | None]:
        """Escrows, and the node whose lease on them ended, if they are not simply nobody's."""
        query = select(_e.c.id, _e.c.node_id).where(wanted).order_by(_e.c.due_at).limit(limit)
        rows = self._connection.execute(query.with_for_update(skip_locked=True))
        return {row.id: row.node_id for row in rows}

    def _take(self, picked: Mapping[str, str | None], node_id: str, node_name: str) -> list[Claim]:
        """From here on their wallets' files are on this node."""
        if not picked:
            return []
        escrow_ids = list(picked)
        taken = update(_e).where(_e.c.id.in_(escrow_ids)).values(node_id=node_id, home=node_name, fence=_e.c.fence + 1)
        rows = self._connection.execute(taken.returning(_e.c.id, _e.c.fence))
        fences = {row.id: row.fence for row in rows}
        return [
            Claim(escrow_id, node_id, fences[escrow_id], taken_over=last_node is not None)
            for escrow_id, last_node in picked.items()
        ]

    def _nobodys(self, holder: ColumnElement[str | None]) -> ColumnElement[bool]:
        return or_(holder.is_(None), holder.not_in(living()))

    def next_due_at(self, node_name: str, *, home_seconds: float) -> float | None:
        """When this node may claim something next: as `claim_due` says, so that nobody asks again and again meanwhile.

        Two looks at the beginning of the index, and not one at all of it.
        """
        nobodys = self._nobodys(_e.c.node_id)
        first: float | None = self._connection.scalar(select(func.min(_e.c.due_at)).where(nobodys))
        if first is None:
            return None
        at_home = and_(nobodys, _e.c.due_at <= first + home_seconds, _at_home(node_name))
        mine: float | None = self._connection.scalar(select(func.min(_e.c.due_at)).where(at_home))
        return first + home_seconds if mine is None else mine

    def seconds_to_next_lapse(self, node_id: str) -> float | None:
        """How long until the lease of another node ends, unless it is renewed; None if there is no other node."""
        now = database_now()
        others = and_(_n.c.id != node_id, _n.c.lease_until > now)
        seconds: float | None = self._connection.scalar(select(func.min(_n.c.lease_until) - now).where(others))
        return seconds

    def require(self, claim: Claim) -> None:
        """Lock the escrow, and raise ClaimLostError unless the claim still holds. Goes before whatever is written."""
        same = (_e.c.id == claim.subject, _e.c.node_id == claim.node_id, _e.c.fence == claim.fence)
        if self._connection.execute(select(_e.c.id).where(*same).with_for_update()).first() is None:
            raise ClaimLostError(f"Another node works on {claim.subject}.")

    def give_back(self, claim: Claim) -> None:
        """The work is over; if somebody else has it by now, it stays theirs."""
        same = (_e.c.id == claim.subject, _e.c.fence == claim.fence)
        self._connection.execute(update(_e).where(*same).values(node_id=None))

    def keep_only(self, node_id: str, escrow_ids: Collection[str]) -> None:
        """The node works on these and on nothing else."""
        others = and_(_e.c.node_id == node_id, _e.c.id.not_in(list(escrow_ids)))
        self._connection.execute(update(_e).where(others).values(node_id=None))

    def pull_back(self, now: float, *, work_seconds: float, look_seconds: float) -> None:
        """Nothing is ever due later than so many seconds from now: what is, a wrong clock put off, and is due at once.

        A mere look may be put off longer than work.
        """
        under_way = _e.c.id.in_(select(schema.payouts.c.escrow_id).where(schema.payouts.c.state.in_(UNDER_WAY)))
        works = or_(_e.c.state == State.SETTING_UP, under_way, _e.c.failures > 0)
        horizon = case((works, work_seconds), else_=look_seconds)
        put_off = and_(_e.c.due_at > now + work_seconds, _e.c.due_at > now + horizon)
        self._connection.execute(update(_e).where(put_off).values(due_at=now, wakes=_e.c.wakes + 1))

    # --- duties ---

    def claim_duty(self, name: str, node_id: str) -> Claim | None:
        """Take up a duty that is nobody's, or take it up again; None while another living node has it."""
        taken = (
            update(_d)
            .where(_d.c.name == name, or_(self._nobodys(_d.c.node_id), _d.c.node_id == node_id))
            .values(node_id=node_id, fence=_d.c.fence + 1)
            .returning(_d.c.fence)
        )
        fence: int | None = self._connection.scalar(taken)
        return None if fence is None else Claim(name, node_id, fence)

    def require_duty(self, claim: Claim) -> None:
        """Lock the duty, and raise ClaimLostError unless the claim still holds."""
        same = (_d.c.name == claim.subject, _d.c.node_id == claim.node_id, _d.c.fence == claim.fence)
        if self._connection.execute(select(_d.c.name).where(*same).with_for_update()).first() is None:
            raise ClaimLostError(f"Another node does the {claim.subject}.")

    def give_duty_back(self, claim: Claim) -> None:
        """Another node may take it up at once."""
        same = (_d.c.name == claim.subject, _d.c.fence == claim.fence)
        self._connection.execute(update(_d).where(*same).values(node_id=None))


def _at_home(node_name: str) -> ColumnElement[bool]:
    """Whose wallets' files are on this node, or on none that takes up work; or with which that one did not get on."""
    return or_(_e.c.home.is_(None), _e.c.home == node_name, _e.c.failures > 0, _e.c.home.not_in(taking_up()))
