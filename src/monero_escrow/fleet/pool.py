"""The pool: slots are leased for work, never for waiting, and always come back.

A lease asks for one slot of each role it names, all or nothing, in fair order (`core/placement.py` decides; this
carries it out). The mutable state is three collections: the free slots of each class, who waits, and the open leases.

A slot whose call was given up on rests, sick or not, until that call cannot run any more: for the quarantine, or until
its process is seen to have been started anew. Then it is inspected. Whoever leases gets only processes that are the
ones inspected.

Cancellation: a waiter who is cancelled after being handed slots gives them back before the cancellation goes on; a
holder gives back on leaving the `async with`, which awaits nothing. So leased + free + sick = all, after anything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from monero_escrow.clock import Clock
from monero_escrow.core.errors import EscrowError, UnavailableError
from monero_escrow.core.placement import assign
from monero_escrow.core.roles import ROLES, TRIO, Role
from monero_escrow.fleet.instance import until_restarted, why_not_as_inspected
from monero_escrow.fleet.slot import PoolStats, Slot


class LeaseLostError(EscrowError):
    """The lease is over: whoever still holds on to it must stop. Nothing was sent."""

    code = "lease_lost"
    what_to_do = "Nothing: the work is taken up again under a new lease."


class NoSlotFreeError(UnavailableError):
    """No slot came free in time."""

    code = "no_slot_free"
    what_to_do = "Wait, or add wallet-rpc processes: three carry one set-up at a time."


@dataclass(slots=True, eq=False)
class Lease:
    """The right to one slot of each role, until it is given back. `fences` only grow, slot by slot."""

    work: str
    slots: Mapping[Role, Slot]
    fences: Mapping[Role, int]
    since: float
    _over: bool = field(default=False, repr=False)
    _suspects: dict[Role, str] = field(default_factory=dict, repr=False)

    def slot(self, role: Role) -> Slot:
        """The slot leased for a role, if the lease still holds. Raises LeaseLostError."""
        slot = self.slots[role]
        if self._over or slot.fence != self.fences[role]:
            raise LeaseLostError(f"The lease of {slot.name} is over.")
        return slot

    def suspect(self, role: Role, reason: str) -> None:
        """Something is wrong with a slot: when the lease ends it is looked at before anybody gets it again."""
        self._suspects[role] = reason


@dataclass(slots=True, eq=False)
class _Waiter:
    roles: frozenset[Role]
    work: str
    granted: asyncio.Future[Lease]


class SlotPool:
    """Leases over a set of slots. One instance an event loop; nothing here awaits while it changes its state."""

    def __init__(self, slots: Iterable[Slot], clock: Clock, *, quarantine_seconds: float) -> None:
        self._clock = clock
        self._quarantine_seconds = quarantine_seconds
        self._slots = list(slots)
        self._free: dict[Role, deque[Slot]] = {role: deque() for role in ROLES}
        self._waiting: deque[_Waiter] = deque()
        self._leases: set[Lease] = set()
        self._wake_ups: set[asyncio.Task[None]] = set()
        self._unexamined: set[Slot] = set()
        self._to_look_at = asyncio.Event()
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
            for role in lease.slots.keys() - lease._suspects.keys():
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
                reasons = await asyncio.gather(*(why_not_as_inspected(slot) for slot in lease.slots.values()))
            except BaseException:
                self._give_back(lease)
                raise
            for role, reason in zip(lease.slots, reasons, strict=True):
                if reason is not None:
                    lease.suspect(role, reason)
            if not any(reasons):
                return lease
            self._give_back(lease)

    async def _acquire(self, roles: frozenset[Role], work: str, wait_seconds: float) -> Lease:
        for role in roles:
            if not self.has_usable_slot(role):
                raise _no_usable_slot(role)
        waiter = _Waiter(roles, work, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._hand_out()
        if waiter.granted.done():
            return waiter.granted.result()
        timer = asyncio.create_task(self._give_up(waiter, wait_seconds))
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise
        finally:
            timer.cancel()

    async def _give_up(self, waiter: _Waiter, wait_seconds: float) -> None:
        await self._clock.sleep(wait_seconds)
        if not waiter.granted.done():
            self._waiting.remove(waiter)
            busy = ", ".join(sorted(waiter.roles))
            waiter.granted.set_exception(NoSlotFreeError(f"No slot came free in {wait_seconds:g} s for: {busy}."))
            self._hand_out()  # whoever it stood in the way of may be served now

    def _withdraw(self, waiter: _Waiter) -> None:
        """The waiter was cancelled, perhaps in the very moment it was served."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif waiter.granted.done() and not waiter.granted.cancelled() and waiter.granted.exception() is None:
            self._give_back(waiter.granted.result())
            return
        self._hand_out()

    def _hand_out(self) -> None:
        """Serve everybody who can be served now."""
        waiting = [(waiter, waiter.roles) for waiter in self._waiting if not waiter.granted.done()]
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
        if lease._over:
            return
        lease._over = True
        self._leases.discard(lease)
        for role, slot in lease.slots.items():
            slot.fence += 1
            slot.sick = lease._suspects.get(role, slot.sick)
            self._put_back(slot)
        self._hand_out()

    def _put_back(self, slot: Slot) -> None:
        """To the end of its class's row; to rest if a call was abandoned, sick or not; nowhere while it is sick."""
        if slot.rpc.abandoned:
            self._rest(slot)
        elif slot.sick is None:
            self._free[slot.role].append(slot)
        else:
            self._unexamined.add(slot)
            self._to_look_at.set()

    def _rest(self, slot: Slot) -> None:
        """A call without an answer may still run, even after the next holder's: let it run out first."""
        slot.resting_because = "a call to it was given up on and may still run"
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
        if not self.has_usable_slot(slot.role):
            for waiter in [waiter for waiter in self._waiting if slot.role in waiter.roles]:
                if not waiter.granted.done():
                    self._waiting.remove(waiter)
                    waiter.granted.set_exception(_no_usable_slot(slot.role))
            self._hand_out()

    def mark_well(self, slot: Slot) -> None:
        """A slot that was sick serves again."""
        if slot.sick is None:
            return
        slot.sick = None
        self._unexamined.discard(slot)
        if slot not in self._leased() and slot.resting_because is None:
            self._put_back(slot)
            self._hand_out()

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
        """One that is not known to be bad: it may be busy, rest, or wait to be looked at."""
        return any(slot.role is role and (slot.sick is None or slot in self._unexamined) for slot in self._slots)

    def stats(self) -> PoolStats:
        """How the slots stand this moment."""
        free_by_role = {role: len(slots) for role, slots in self._free.items()}
        free, leased = sum(free_by_role.values()), sum(len(lease.slots) for lease in self._leases)
        return PoolStats(len(self._slots), free, leased, len(self._slots) - free - leased, free_by_role)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Every slot, in the order of the configured URLs."""
        return tuple(self._slots)

    @property
    def leases(self) -> frozenset[Lease]:
        """The leases that are held this moment."""
        return frozenset(self._leases)

    @property
    def leftovers(self) -> tuple[Slot, ...]:
        """Slots beyond whole trios: used only as spares of their class."""
        return tuple(self._slots[len(self._slots) // len(TRIO) * len(TRIO) :])

    async def aclose(self) -> None:
        """Stop waking rested slots. Leases are not broken."""
        for task in self._wake_ups:
            task.cancel()
        await asyncio.gather(*self._wake_ups, return_exceptions=True)


def _no_usable_slot(role: Role) -> NoSlotFreeError:
    return NoSlotFreeError(f"No usable wallet-rpc process serves the {role}s.")
