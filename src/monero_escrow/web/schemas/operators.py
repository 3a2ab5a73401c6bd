"""What operators and their programs are answered: health, the fleet, the nodes, and how everything stands."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import Role
from monero_escrow.web.schemas.shapes import EXAMPLE_TIME, Answer

SlotState = Literal["free", "leased", "sick", "resting", "draining"]


class RpcPool(Answer):
    """The wallet-rpc processes: total = free + busy + sick."""

    total: int
    free: int
    busy: int = Field(description="Leased by work under way.")
    sick: int = Field(description="Not to be used, or resting after a call without an answer.")


class Capacity(Answer):
    """What could begin this moment."""

    max_concurrent_escrows: int = Field(description="Set-ups that could begin at once, each on three free processes.")


class Stock(Answer):
    """Finished wallets that wait for orders: an order that finds one has its address at once."""

    target: int
    ready: int
    under_an_hour: int = Field(description="How many were finished less than an hour ago.")
    under_a_day: int = Field(description="How many of the others less than a day ago.")
    older: int
    oldest_seconds: int | None = Field(description="How long ago the oldest was finished.")


class HealthReason(Answer):
    """Why the service is not healthy, and what a person can do about it."""

    code: str = Field(examples=["no_daemon"], description="Stable; docs/runbook.md has a section for each.")
    reason: str
    what_to_do: str
    status: str = Field(examples=["degraded"], description="How bad it is by itself: degraded or critical.")


class Health(Answer):
    """How the service stands, for its operator."""

    status: str = Field(examples=["healthy"], description="healthy, degraded or critical: the worst of its reasons.")
    reasons: list[HealthReason] = Field(description="Why it is not healthy, the worst first.")
    rpc_pool: RpcPool
    capacity: Capacity
    stock: Stock | None = Field(description="null when the database did not say.")
    deposits: str = Field(examples=["watched"], description="watched, or waiting for a daemon.")
    version: str


class Probe(Answer):
    """For load balancers and supervisors."""

    status: str = Field(examples=["ok"], description="ok or unavailable.")


class FleetSlot(Answer):
    """One process."""

    name: str = Field(examples=["vendor@127.0.0.1:18083"])
    role: Role
    managed: bool = Field(description="The service started it, and ends it; else it is one of MONERO_RPC_URLS.")
    state: SlotState = Field(
        description="free; leased; sick: not used until it is found to be well; resting: a call to it was given up on "
        "and may still run; draining: it leaves as soon as nobody holds it."
    )
    work: str | None = Field(description="What it is leased for, also while it drains.")
    leased_seconds: float | None = Field(description="For how long.")
    reason: str | None = Field(description="Why it is sick or rests.")
    next_look_seconds: float | None = Field(description="In how many seconds a sick one is inspected again.")
    rests_seconds: float | None = Field(description="For how many seconds at most a resting one still rests.")
    memory_bytes: int | None = Field(description="Resident memory of a managed one.")


class FleetClass(Answer):
    """The processes of one role, draining ones not counted."""

    slots: int
    leased: int
    usable: int = Field(description="Leased or free: neither sick nor resting.")
    starting: int = Field(description="On their way, those included that are tried again after a failed start.")
    waiting: int = Field(description="Requests that wait for one.")
    longest_wait_seconds: float
    utilisation: float | None = Field(
        description="How much of the time they were leased in the last minute, 0 to 1; null until the class has had "
        "its size for a minute, and without processes of the service's own.",
        examples=[0.4],
    )
    trouble: str | None = Field(description="Why the last start failed, if the class still lacks a process for it.")


class FleetLimits(Answer):
    """Between what the service keeps the number of its own processes."""

    min_trios: int
    max_trios: int
    memory_max_bytes: int
    memory_bytes: int = Field(description="What they use now.")
    quiet_seconds: float


class FleetStep(Answer):
    """What was done about the fleet's size, or could not be done, and why."""

    at: str = Field(examples=[EXAMPLE_TIME])
    started: list[Role]
    stopped: list[Role]
    not_larger: list[Role] = Field(description="Roles that should have more processes and cannot.")
    reason: str = Field(examples=["buyer +1: 3 wait, the first for 2 s"])


class FleetAnswer(Answer):
    """All processes, how much they have to do, and how their number came to be. The latest step is the last."""

    classes: dict[Role, FleetClass]
    slots: list[FleetSlot]
    own: FleetLimits | None = Field(description="null when the service runs no processes of its own.")
    steps: list[FleetStep]


class Reload(Answer):
    """What a reload did. Processes are named by role and place: `vendor@127.0.0.1:18083`."""

    joined: list[str] = Field(description="Processes that were new on the list, and now serve or wait to be looked at.")
    draining: list[str] = Field(description="Processes that are no longer on it: each leaves when its last lease ends.")
    sick: dict[str, str] = Field(description="Those of the joined that cannot be used yet, and why.")
    min_trios: int = Field(description="Trios of the service's own that are always kept.")
    max_trios: int = Field(description="Trios of its own that it grows to; 0: it runs none.")


class Node(Answer):
    """One node. Times go by the database's clock."""

    name: str = Field(examples=["escrow-1"])
    alive: bool = Field(description="Its lease holds. Else it is silent, and the others do its work.")
    draining: bool = Field(description="It finishes what it works on and takes up nothing new.")
    version: str = Field(examples=["0.1.0"])
    slots: int = Field(description="Its wallet-rpc processes.")
    working_on: int = Field(description="Escrows it works on this moment.")
    started_at: str = Field(examples=[EXAMPLE_TIME])
    seen_at: str = Field(description="When it last renewed its lease.", examples=[EXAMPLE_TIME])
    lease_until: str = Field(examples=[EXAMPLE_TIME])


class Nodes(Answer):
    """All nodes, by name."""

    nodes: list[Node] = Field(description="Empty when the database is a file, which serves one service alone.")


class OverviewReason(Answer):
    """Why something is not as it should be."""

    text: str
    escrow_id: str | None = Field(description="The escrow to look at, if it is one.")


class Verdict(Answer):
    """The answer to a question that an operator has."""

    question: str = Field(examples=["Is money safe?"])
    grade: str = Field(examples=["good"], description="good, warning or bad.")
    answer: str
    reasons: list[OverviewReason]


class SetUpTimes(Answer):
    """How long the set-ups of the last six hours took, from their beginning to the address."""

    count: int
    half_within_seconds: float
    nine_of_ten_within_seconds: float


class Overview(Answer):
    """How everything stands this moment."""

    at: str = Field(examples=[EXAMPLE_TIME])
    money: Verdict
    work: Verdict
    people: Verdict
    health: Health
    fleet: FleetAnswer
    escrows: dict[State, int] = Field(description="How many are in each state.")
    failing: int = Field(description="Escrows whose last step did not work and is tried again.")
    coins: str = Field(description="How much lies in escrow, and how much may, as a sentence.")
    queue: str = Field(description="Who waits for processes, as a sentence.")
    stock: str = Field(description="The finished wallets that wait for orders, as a sentence.")
    set_ups: SetUpTimes | None = Field(description="null when none ended in the last six hours.")
    utilisation: list[float] = Field(
        description="How much of the slots' time was leased, 0 to 1: a number a minute of the last six hours, the "
        "latest last."
    )
