"""What the overview says, from a sample: is money safe, does work flow, and which process does what. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import format_xmr
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.core.words import lasting, many, moment
from monero_escrow.store.records import EscrowRecord
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


def verdicts(sample: Sample) -> tuple[Verdict, Verdict, Verdict]:
    """Is money safe, does work flow, and who is waited for: each with every reason against it."""
    return _money(sample), _work(sample), _people(sample)


def _money(sample: Sample) -> Verdict:
    reasons = [Reason(f"Payout {held.number} waits for you: {held.trouble}", held.escrow_id) for held in sample.held]
    if sample.held:
        return Verdict("Is money safe?", "bad", "A payout is held, and pays nobody until you decide.", tuple(reasons))
    if sample.health.deposits != "watched":
        waits = Reason("Deposits are not seen and payouts not sent until a daemon answers. Nothing is lost meanwhile.")
        return Verdict("Is money safe?", "warning", "Yes, but it stands still.", (waits,))
    return Verdict("Is money safe?", "good", "Yes. Deposits are watched, and no payout is held.")


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


def _people(sample: Sample) -> Verdict:
    disputes, shorts = sample.states.get(State.DISPUTED, 0), sample.states.get(State.SHORT, 0)
    waited_for = [
        f"{who} about {many(number, what)}"
        for who, number, what in (
            ("you", len(sample.held), "held payout"),
            ("an arbiter", disputes, "dispute"),
            ("a shop", shorts, "short deposit"),
        )
        if number
    ]
    question = "Who is waited for?"
    if not waited_for:
        return Verdict(question, "good", "Nobody. No dispute is open, and no deposit stayed short.")
    answer = "; ".join(waited_for)
    reasons = tuple(_waits(escrow) for escrow in sample.waiting)
    return Verdict(question, "warning", f"{answer[:1].upper()}{answer[1:]}.", reasons)


def _waits(escrow: EscrowRecord) -> Reason:
    what = "in dispute" if escrow.state is State.DISPUTED else "short"
    since, amount = moment(escrow.updated_at), format_xmr(escrow.terms.amount_piconero)
    return Reason(f"Order {escrow.order_id} of {escrow.shop_id}: {amount} XMR, {what} since {since} UTC.", escrow.id)


def coins_line(sample: Sample) -> str:
    """How much lies in escrow, of how much was ordered, and how much may."""
    if sample.tally is None:
        return "Nobody knows this moment: the database does not answer."
    came, ordered = map(format_xmr, (sample.tally.in_escrow_piconero, sample.tally.ordered_piconero))
    limit = sample.limits.at_once_piconero
    most = "" if limit is None else f" New ones are taken up to {format_xmr(limit)} XMR together."
    if sample.tally.ordered_piconero == 0:
        return f"None: no escrow is open.{most}"
    return f"{came} XMR in escrow. The open escrows were ordered for {ordered} XMR.{most}"


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
