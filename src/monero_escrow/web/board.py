"""What the overview says, from a sample: is money safe, does work flow, and which process does what. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.core.words import lasting
from monero_escrow.web.live import Sample
from monero_escrow.web.schemas import FleetAnswer, FleetClass, FleetSlot


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is not as it should be, and the escrow to look at, if it is one."""

    text: str
    escrow_id: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a question that an operator has: `grade` is good, warning or bad."""

    question: str
    grade: str
    answer: str
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """One process on the board: `note` says what it does, or why it does nothing."""

    name: str
    place: str
    state: str
    note: str


@dataclass(frozen=True, slots=True)
class RoleBoard:
    """The processes of one role."""

    role: Role
    load: FleetClass
    cells: tuple[Cell, ...]

    @property
    def summary(self) -> str:
        """In one line."""
        free = sum(cell.state == "free" for cell in self.cells)
        parts = [f"{self.load.leased} leased", f"{free} free"]
        out = sum(cell.state in ("sick", "resting", "draining") for cell in self.cells)
        if out:
            parts.append(f"{out} out of use")
        if self.load.starting:
            parts.append(f"{self.load.starting} starting")
        return ", ".join(parts)


def verdicts(sample: Sample) -> tuple[Verdict, Verdict]:
    """Is money safe, and does work flow: each with every reason against it."""
    return _money(sample), _work(sample)


def _money(sample: Sample) -> Verdict:
    reasons = [Reason(f"Payout {held.number} waits for you: {held.trouble}", held.escrow_id) for held in sample.held]
    if sample.held:
        return Verdict("Is money safe?", "bad", "A payout is held, and pays nobody until you decide.", tuple(reasons))
    if sample.health.deposits != "watched":
        waits = Reason("Deposits are not seen and payouts not sent until a daemon answers. Nothing is lost meanwhile.")
        return Verdict("Is money safe?", "warning", "Yes, but it stands still.", (waits,))
    return Verdict("Is money safe?", "good", "Yes. Deposits are watched, and no payout waits for you.")


def _work(sample: Sample) -> Verdict:
    reasons = list(_obstacles(sample))
    if sample.health.status == "critical":
        return Verdict("Does work flow?", "bad", "No: nothing can be set up until something is done.", tuple(reasons))
    if reasons:
        return Verdict("Does work flow?", "warning", "Yes, but not everything is as it should be.", tuple(reasons))
    return Verdict("Does work flow?", "good", "Yes. Every role has a process to work with.")


def _obstacles(sample: Sample) -> Iterator[Reason]:
    for found in sample.health.reasons:
        yield Reason(f"{found.reason} {found.what_to_do}")
    if sample.failing:
        many = "escrow's last step" if sample.failing == 1 else "escrows' last steps"
        yield Reason(f"{sample.failing} {many} did not work; it is tried again. The list of escrows shows the reasons.")


def role_boards(fleet: FleetAnswer) -> tuple[RoleBoard, ...]:
    """The processes by role, each role's in their order."""
    cells: dict[Role, list[Cell]] = {role: [] for role in ROLES}
    for slot in fleet.slots:
        cells[slot.role].append(Cell(slot.name, slot.name.partition("@")[2], slot.state, _note(slot)))
    return tuple(RoleBoard(role, fleet.classes[role], tuple(cells[role])) for role in ROLES)


def _note(slot: FleetSlot) -> str:
    if slot.work is not None:
        return f"{slot.work}, {lasting(round(slot.leased_seconds or 0))}"
    match slot.state:
        case "sick" if slot.next_look_seconds is not None:
            return f"{slot.reason} Looked at again in {lasting(slot.next_look_seconds)}."
        case "resting":
            return f"{slot.reason}; {lasting(slot.rests_seconds)} at most."
        case "draining":
            return "leaves when nobody holds it"
        case _:
            return slot.reason or ""


def queue_line(sample: Sample) -> str:
    """Who waits for processes this moment."""
    waiting = {role: sample.fleet.classes[role] for role in ROLES if sample.fleet.classes[role].waiting}
    set_ups = sample.states.get(State.SETTING_UP, 0)
    under_way = "No set-up is under way." if not set_ups else f"{set_ups} under way or waiting."
    if not waiting:
        return f"{under_way} Nobody waits for a process."
    longest = lasting(max(load.longest_wait_seconds for load in waiting.values()))
    asked = ", ".join(f"{load.waiting} for {role}s" for role, load in waiting.items())
    return f"{under_way} Waiting for processes: {asked}; the longest for {longest}."


def stock_line(sample: Sample) -> str:
    """The wallets that wait for an order."""
    stock = sample.health.stock
    if stock is None:
        return "Nobody knows this moment: the database does not answer."
    if stock.target == 0 and stock.ready == 0:
        return "None are kept (STOCK_TARGET is 0): each order waits for its set-up."
    oldest = f", the oldest for {lasting(stock.oldest_seconds)}" if stock.oldest_seconds is not None else ""
    return f"{stock.ready} of {stock.target} wait for an order{oldest}."
