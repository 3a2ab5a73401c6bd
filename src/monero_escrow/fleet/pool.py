"""The pool: slots are leased for work, never for waiting, and always come back.

A lease asks for one slot of each role it names, all or nothing, in fair order (`core/placement.py` decides; this
carries it out). The mutable state is three collections: the free slots of each class, who waits, and the open leases.

Slots join (`add`) and leave (`drain`) while work goes on. A draining slot is handed out no more; it is gone when nobody
holds it any longer and no call to it can still run.

A slot whose call was given up on rests, sick or not, until that call cannot run any more: for the quarantine, or until
its process is seen to have been started anew. Then it is inspected. A managed one leaves instead: its process is ours
to end, and the call with it. Whoever leases gets only processes that are the ones inspected.

Cancellation: a waiter who is cancelled after being handed slots gives them back before the cancellation goes on; a
holder gives back on leaving the `async with`, which awaits nothing. So leased + free + sick = all, after anything.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from monero_escrow.clock import Clock
from monero_escrow.core.growth import ClassLoad
from monero_escrow.core.placement import assign
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.fleet.deadlines import Deadlines
from monero_escrow.fleet.instance import until_restarted, why_not_as_inspected
from monero_escrow.fleet.leases import Lease, LeaseLostError, NoSlotFreeError, Waiter, no_usable_slot
from monero_escrow.fleet.slot import PoolStats, Slot

__all__ = ["Lease", "LeaseLostError", "NoSlotFreeError", "SlotPool"]

_ABANDONED = "a call to it was given up on and may still run"


class SlotPool:
    """Leases over a set of slots. One instance an event loop; nothing here awaits while it changes its state."""

    def __init__(self, slots: Iterable[Slot], clock: Clock, *, quarantine_seconds: float) -> None:
        self._clock = clock
        self._quarantine_seconds = quarantine_seconds
        self._slots = list(slots)
        self._free: dict[Role, deque[Slot]] = {role: deque() for role in ROLES}
        self._waiting: deque[Waiter] = deque()
        self._deadlines = Deadlines(clock)
        self._leases: set[Lease] = set()
        self._wake_ups: set[asyncio.Task[None]] = set()
        self._unexamined: set[Slot] = set()
        self._to_look_at = asyncio.Event()
        self._expected: Counter[Role] = Counter()
        self._gone: dict[Slot, asyncio.Event] = {}
        self.on_drain: Callable[[Slot], None] = lambda _slot: None
        """Told of every slot that begins to drain, before anybody who waits for its class is turned away."""
        for slot in self._slots:
            if slot.sick is None:
                self._free[slot.role].append(slot)

    def __repr__(self) -> str:
        stats = self.stats()
        return (
            f"<SlotPool {stats.total} slots: {stats.free} free, {stats.leased} leased, {stats.sick} sick; "
            f"{len(self._waiting)} waiting>"
        )

    @asynccontextmanager
    async def lease(self, roles: frozenset[Role], work: str, *, wait_seconds: float) -> AsyncIterator[Lease]:
        """Hold one slot of each role for the length of the block.

        Raises NoSlotFreeError when there is no usable slot of a class at all, or none came free in `wait_seconds`.
        """
        lease = await self._acquire_as_inspected(roles, work, wait_seconds)
        try:
            yield lease
        except asyncio.CancelledError:
            for role in lease.slots.keys() - lease.suspects.keys():
                lease.suspect(role, "Work on it was cut off, and may have left a wallet open.")
            raise
        finally:
            self._give_back(lease)

    async def _acquire_as_inspected(self, roles: frozenset[Role], work: str, wait_seconds: float) -> Lease:
        """A slot whose process is another one by now, or does not answer, is left to the next inspection."""
        ends_at = self._clock.monotonic() + wait_seconds
        while True:
            lease = await self._acquire(roles, work, max(0.0, ends_at - self._clock.monotonic()))
            try:
                reasons = await _why_not_as_inspected(lease)
            except BaseException:
                self._give_back(lease)
                raise
            if not any(reasons):
                return lease
            for role, reason in zip(lease.slots, reasons, strict=True):
                if reason is not None:
                    lease.suspect(role, reason)
            self._give_back(lease)

    async def _acquire(self, roles: frozenset[Role], work: str, wait_seconds: float) -> Lease:
        for role in roles:
            if not self.has_usable_slot(role):
                raise no_usable_slot(role)
        waiter = Waiter(roles, work, self._clock.monotonic(), asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._hand_out()
        if waiter.granted.done():
            return waiter.granted.result()
        deadline = self._deadlines.add(wait_seconds, partial(self._give_up, waiter, wait_seconds))
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise
        finally:
            self._deadlines.cancel(deadline)

    def _give_up(self, waiter: Waiter, wait_seconds: float) -> None:
        if waiter.waits:
            self._waiting.remove(waiter)
            busy = ", ".join(sorted(waiter.roles))
            waiter.granted.set_exception(NoSlotFreeError(f"No slot came free in {wait_seconds:g} s for: {busy}."))
            self._hand_out()  # whoever it stood in the way of may be served now

    def _withdraw(self, waiter: Waiter) -> None:
        """The waiter was cancelled, perhaps in the very moment it was served."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif waiter.granted.done() and not waiter.granted.cancelled() and waiter.granted.exception() is None:
            self._give_back(waiter.granted.result())
            return
        self._hand_out()

    def _hand_out(self) -> None:
        """Serve everybody who can be served now."""
        if not self._waiting:
            return
        waiting = ((waiter, waiter.roles) for waiter in self._waiting if waiter.waits)
        for grant in assign(waiting, self._free):
            for role, slot in grant.slots.items():
                self._free[role].remove(slot)
                slot.fence += 1
            fences = {role: slot.fence for role, slot in grant.slots.items()}
            lease = Lease(grant.ticket.work, grant.slots, fences, self._clock.monotonic())
            self._leases.add(lease)
            self._waiting.remove(grant.ticket)
            grant.ticket.granted.set_result(lease)

    def _give_back(self, lease: Lease) -> None:
        """Take the slots back (round robin), and serve whoever waits for them."""
        if lease.over:
            return
        lease.over = True
        self._leases.discard(lease)
        for role, slot in lease.slots.items():
            slot.fence += 1
            slot.sick = lease.suspects.get(role, slot.sick)
            self._put_back(slot)
        self._hand_out()

    def _put_back(self, slot: Slot) -> None:
        """To the end of its class's row; to rest if a call was abandoned, sick or not; nowhere while it is sick; and
        out of the pool if it drains."""
        if slot.rpc.abandoned and slot.managed:
            slot.sick = slot.sick or f"{_ABANDONED}."
            self.drain(slot)
        if slot.draining and (slot.managed or not slot.rpc.abandoned):
            self._leave(slot)
            return
        if slot.sick is not None:
            self._unexamined.add(slot)
        if slot.rpc.abandoned:
            self._rest(slot)
        elif slot.sick is None:
            self._free[slot.role].append(slot)
        else:
            self._to_look_at.set()

    def _rest(self, slot: Slot) -> None:
        """A call without an answer may still run, even after the next holder's: let it run out first."""
        slot.resting_because = _ABANDONED
        slot.rests_until = self._clock.monotonic() + self._quarantine_seconds
        # Only if it is certain that the call went to the process with this mark, its end is the call's end.
        mark = slot.mark if slot.mark is not None and slot.mark in slot.rpc.abandoned_marks else None
        task = asyncio.create_task(self._return_after_rest(slot, mark))
        self._wake_ups.add(task)
        task.add_done_callback(self._wake_ups.discard)

    async def _return_after_rest(self, slot: Slot, mark: str | None) -> None:
        if mark is None:
            await self._clock.sleep(self._quarantine_seconds)
        else:
            await until_restarted(slot, mark, self._clock, slot.rests_until)
        # The call may have left a wallet open, and a process that was started anew may be another program.
        slot.sick = slot.sick or "It has rested and has not been looked at since."
        slot.rpc.forget_abandoned()
        slot.resting_because = None
        self._put_back(slot)
        self._hand_out()

    def mark_sick(self, slot: Slot, reason: str) -> None:
        """The slot is not handed out again; a lease that holds it keeps it until it is given back.

        Whoever waits for a class that has no usable slot left is told at once, and stands in nobody's way.
        """
        slot.sick = reason
        self._unexamined.discard(slot)
        if slot in self._free[slot.role]:
            self._free[slot.role].remove(slot)
        self._turn_away_if_in_vain(slot.role)

    def _turn_away_if_in_vain(self, role: Role) -> None:
        """Tell whoever waits for a class that has no usable slot, and let those behind them pass."""
        if self.has_usable_slot(role):
            return
        for waiter in [waiter for waiter in self._waiting if role in waiter.roles and waiter.waits]:
            self._waiting.remove(waiter)
            waiter.granted.set_exception(no_usable_slot(role))
        self._hand_out()

    def mark_well(self, slot: Slot) -> None:
        """A slot that was sick serves again, unless it has left."""
        if slot.sick is None or slot not in self._slots:
            return
        slot.sick = None
        self._unexamined.discard(slot)
        if slot not in self._leased() and slot.resting_because is None:
            self._put_back(slot)
            self._hand_out()

    def add(self, slot: Slot) -> None:
        """A slot joins. One without `sick` serves at once; the others wait to be looked at."""
        if slot.draining or slot in self._slots:
            raise ValueError(f"{slot.name} cannot join: it is in the pool, or on its way out of one.")
        self._slots.append(slot)
        self._put_back(slot)
        self._hand_out()

    def drain(self, slot: Slot) -> None:
        """The slot is never handed out again; a lease that holds it keeps it. It leaves as soon as nobody does.

        One that rests leaves after its rest: were its process to join again, the call that was given up on might still
        run. Draining a slot that drains, or is not in the pool, does nothing.
        """
        if slot.draining or slot not in self._slots:
            return
        slot.draining = True
        self._unexamined.discard(slot)
        if slot in self._free[slot.role]:
            self._free[slot.role].remove(slot)
        self.on_drain(slot)
        if slot not in self._leased() and slot.resting_because is None:
            self._leave(slot)
        self._turn_away_if_in_vain(slot.role)

    def _leave(self, slot: Slot) -> None:
        """Out of the pool, once; whoever waits for that is told."""
        if slot in self._slots:
            self._slots.remove(slot)
        if (gone := self._gone.pop(slot, None)) is not None:
            gone.set()

    async def until_gone(self, slot: Slot) -> None:
        """Return when a slot that drains has left the pool; at once if it is not in it."""
        if slot in self._slots:
            await self._gone.setdefault(slot, asyncio.Event()).wait()

    @contextmanager
    def expecting(self, role: Role) -> Iterator[None]:
        """A slot of this class is on its way: meanwhile whoever wants one waits, and is not turned away."""
        self._expected[role] += 1
        try:
            yield
        finally:
            self._expected[role] -= 1
            self._turn_away_if_in_vain(role)

    def idle_slots(self) -> tuple[Slot, ...]:
        """Slots that could be leased this moment."""
        return tuple(slot for row in self._free.values() for slot in row)

    def sick_slots(self) -> tuple[Slot, ...]:
        """Slots that wait to be looked at: not used, not held, and not resting.

        A resting one is left alone: the call that was given up on may keep its process busy for minutes.
        """
        leased = self._leased()
        return tuple(
            slot
            for slot in self._slots
            if slot.sick is not None and slot not in leased and slot.resting_because is None
        )

    async def until_there_is_one_to_look_at(self, at_most_seconds: float) -> None:
        """Return as soon as a slot has come back sick from a lease or a rest, or after so many seconds."""
        timer = asyncio.create_task(self._clock.sleep(at_most_seconds))
        came_back = asyncio.create_task(self._to_look_at.wait())
        try:
            await asyncio.wait([timer, came_back], return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            came_back.cancel()
        self._to_look_at.clear()

    def _leased(self) -> set[Slot]:
        return {slot for lease in self._leases for slot in lease.slots.values()}

    def has_usable_slot(self, role: Role) -> bool:
        """One that is not known to be bad: it may be busy, rest, wait to be looked at, or be on its way.

        A suspect one that rests counts as well: whoever waits for it has it when it is well, while whoever is turned
        away comes back later than that.
        """
        if self._expected[role]:
            return True
        of_role = (slot for slot in self._slots if slot.role is role and not slot.draining)
        return any(slot.sick is None or slot in self._unexamined for slot in of_role)

    def load(self) -> Mapping[Role, ClassLoad]:
        """How much each class has to do this moment; draining slots are in none of the numbers."""
        leased, now = self._leased(), self._clock.monotonic()
        loads = {}
        for role in ROLES:
            slots = [slot for slot in self._slots if slot.role is role and not slot.draining]
            waits = [now - waiter.since for waiter in self._waiting if role in waiter.roles and waiter.waits]
            loads[role] = ClassLoad(
                slots=len(slots),
                leased=sum(slot in leased for slot in slots),
                usable=sum(slot.sick is None and slot.resting_because is None for slot in slots),
                waiting=len(waits),
                longest_wait_seconds=max(waits, default=0.0),
            )
        return loads

    def stats(self) -> PoolStats:
        """How the slots stand this moment."""
        free_by_role = {role: len(slots) for role, slots in self._free.items()}
        free, leased = sum(free_by_role.values()), sum(len(lease.slots) for lease in self._leases)
        return PoolStats(len(self._slots), free, leased, len(self._slots) - free - leased, free_by_role)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Every slot, draining ones too: the configured URLs in their order, then as they joined."""
        return tuple(self._slots)

    @property
    def leases(self) -> frozenset[Lease]:
        """The leases that are held this moment."""
        return frozenset(self._leases)

    @property
    def leftovers(self) -> tuple[Slot, ...]:
        """Slots beyond whole trios: used only as spares of their class."""
        staying = {role: [slot for slot in self._slots if slot.role is role and not slot.draining] for role in ROLES}
        trios = min(len(slots) for slots in staying.values())
        return tuple(slot for slots in staying.values() for slot in slots[trios:])

    async def aclose(self) -> None:
        """Stop waking rested slots. Leases are not broken."""
        for task in self._wake_ups:
            task.cancel()
        await asyncio.gather(*self._wake_ups, return_exceptions=True)
        await self._deadlines.aclose()


async def _why_not_as_inspected(lease: Lease) -> Sequence[str | None]:
    """Of each slot. Side by side only where there are several: a task costs more than all the rest of a lease."""
    slots = list(lease.slots.values())
    if len(slots) == 1:
        return [await why_not_as_inspected(slots[0])]
    return await asyncio.gather(*(why_not_as_inspected(slot) for slot in slots))
