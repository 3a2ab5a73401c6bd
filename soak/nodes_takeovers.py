"""What a node held when it was struck, and how long that took to be somebody else's: asked of PostgreSQL itself.

A takeover has happened when another claim stands on the escrow: its fence has grown. What the struck node had finished
at that moment, and only not given back, nobody has to take over, and it is not counted. It was struck in the middle of
a step if the journal has one that was begun and not ended; else it waited for a slot, or was between two steps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

SET_UP: Final = "set-up"
PAYOUT: Final = "payout"
LOOK: Final = "look"
"""Everything else that is done for an escrow, such as confirming a deposit."""

_LOOK_EVERY_SECONDS: Final = 0.05
_LIMIT_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 5

_HELD: Final = """
    SELECT e.id, n.name, e.node_id, e.fence, e.state = 'setting_up' AS is_set_up,
           EXISTS (SELECT 1 FROM payouts p WHERE p.escrow_id = e.id AND p.state IN ('decided', 'signed')) AS pays_out,
           ARRAY(SELECT s.id FROM steps s WHERE s.escrow_id = e.id AND s.ended_at IS NULL) AS open_steps
    FROM escrows e JOIN nodes n ON n.id = e.node_id
    WHERE e.due_at <= extract(epoch FROM clock_timestamp())"""
_NOW: Final = """
    SELECT e.id, e.node_id, e.fence, n.name, COALESCE(e.due_at <= extract(epoch FROM clock_timestamp()), false) AS due
    FROM escrows e LEFT JOIN nodes n ON n.id = e.node_id WHERE e.id = ANY(%s)"""
_FINISHED: Final = "SELECT count(*) AS finished FROM steps WHERE name IN ('gate', 'submit') AND result = 'ok'"


@dataclass(frozen=True, slots=True)
class Held:
    """A claim of a node on an escrow that is due. `session` is that run of the node."""

    escrow_id: str
    name: str
    session: str
    fence: int
    work: str
    open_steps: frozenset[int]

    @property
    def in_step(self) -> bool:
        """Whether a step was begun and is not ended."""
        return bool(self.open_steps)


@dataclass(frozen=True, slots=True)
class Takeover:
    """`seconds` from the fault to the next claim; `by` is the node that has it. `alone`: no other fault meanwhile."""

    work: str
    fault: str
    seconds: float
    by: str
    alone: bool
    in_step: bool


class Takeovers:
    """Watches claims with the administrator's own connection, past every node. `url` is of the escrows' database."""

    def __init__(self, url: str) -> None:
        self.seen: list[Takeover] = []
        self.never: list[str] = []
        """A sentence for each claim that nobody took over in time."""
        self.not_needed = 0
        self._left_open: set[int] = set()
        """Steps that a struck node began: nobody ends them any more."""
        self._url = url
        self._connection: psycopg.AsyncConnection[dict[str, Any]] | None = None
        self._asking = asyncio.Lock()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def count(self, work: str | None = None) -> int:
        """How many takeovers of this work; without one, of set-ups and payouts."""
        return sum(takeover.work in ((SET_UP, PAYOUT) if work is None else (work,)) for takeover in self.seen)

    async def held(self) -> list[Held]:
        """All that nodes work on now."""
        return [self._held(row) for row in await self._ask(_HELD)]

    def _held(self, row: Mapping[str, Any]) -> Held:
        steps = frozenset(row["open_steps"]) - self._left_open
        work = SET_UP if row["is_set_up"] else PAYOUT if row["pays_out"] else LOOK
        return Held(row["id"], row["name"], row["node_id"], row["fence"], work, steps)

    async def held_by_struck(self, name: str) -> list[Held]:
        """All that this node worked on when it was struck. To be asked once."""
        held = [claim for claim in await self.held() if claim.name == name]
        self._left_open.update(*(claim.open_steps for claim in held))
        return held

    async def finished(self) -> int:
        """How many set-ups and payouts have ever been finished."""
        return int((await self._ask(_FINISHED))[0]["finished"])

    async def watch(self, held: Sequence[Held], fault: str, since: float, alone: Callable[[], bool]) -> None:
        """Until each is another's, or needs nobody. `since` is the fault's moment, by time.monotonic()."""
        waiting = {claim.escrow_id: claim for claim in held}
        while waiting and time.monotonic() < since + _LIMIT_SECONDS:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            for row in await self._ask(_NOW, [list(waiting)]):
                claim = waiting[row["id"]]
                if row["fence"] > claim.fence:
                    seconds = time.monotonic() - since
                    self.seen.append(Takeover(claim.work, fault, seconds, row["name"] or "", alone(), claim.in_step))
                    del waiting[row["id"]]
                elif not row["due"]:
                    self.not_needed += 1
                    del waiting[row["id"]]
        self.never += [f"{claim.escrow_id} ({claim.work}) of {claim.name} ({fault})" for claim in waiting.values()]

    async def _ask(self, question: str, values: Sequence[object] | None = None) -> list[Mapping[str, Any]]:
        """Ask until there is an answer: PostgreSQL may be being restarted."""
        async with self._asking:
            while True:
                try:
                    if self._connection is None:
                        self._connection = await psycopg.AsyncConnection.connect(
                            self._url,
                            autocommit=True,
                            connect_timeout=_CONNECT_SECONDS,
                            row_factory=psycopg.rows.dict_row,
                        )
                    return list(await (await self._connection.execute(question, values)).fetchall())
                except psycopg.OperationalError:
                    await self.aclose()
                    await asyncio.sleep(_LOOK_EVERY_SECONDS)
