"""/admin: how the service stands this moment, and /admin/live, the same as it changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.web import board
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.live import Fragments, Live, Sample
from monero_escrow.web.pages import ROOT, charts
from monero_escrow.web.pages.answers import HEADERS, PageRoute, fill, go_to, page
from monero_escrow.web.pages.session import AnyViewer, OperatorViewer, find_viewer

router = APIRouter(prefix=ROOT, include_in_schema=False, route_class=PageRoute)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its name, and where it leads."""

    name: str
    value: int
    link: str | None = None


def state_figures(sample: Sample) -> tuple[Figure, ...]:
    """How many escrows are in each state, those that go on first."""
    states = sorted(State, key=lambda state: state in CLOSED_STATES)
    return tuple(Figure(state, sample.states.get(state, 0), f"{ROOT}/escrows?state={state}") for state in states)


def draw(sample: Sample) -> Fragments:
    """The parts of the overview that change by themselves."""
    return {
        "verdict": fill("parts/verdict.html", verdicts=board.verdicts(sample)),
        "figures": fill(
            "parts/figures.html",
            states=state_figures(sample),
            coins=board.coins_line(sample),
            stock=board.stock_line(sample),
            queue=board.queue_line(sample),
        ),
        "board": fill("parts/board.html", roles=board.role_boards(sample.fleet)),
        "charts": fill(
            "parts/charts.html",
            charts=[charts.usage_chart(sample.at, sample.usage), charts.set_up_chart(sample.at, sample.set_ups)],
            width=charts.WIDTH,
            height=charts.HEIGHT,
        ),
        "as_of": fill("parts/as_of.html", at=sample.at, version=sample.health.version),
    }


@router.get("")
async def overview(request: Request, viewer: AnyViewer) -> Response:
    """Everything at a glance; an arbiter's glance is at the disputes."""
    if not viewer.is_operator:
        return go_to(f"{ROOT}/disputes")
    live: Live = request.app.state.live
    return page("overview.html", viewer, parts=await live.fragments())


@router.get("/live")
async def follow(request: Request, conductor: TheConductor, _: OperatorViewer) -> Response:
    """Server-sent events, one a part of the overview that has changed, until the session is over."""
    live: Live = request.app.state.live
    live.require_room()

    async def is_welcome() -> bool:
        viewer = await find_viewer(request, conductor)
        return viewer is not None and viewer.is_operator

    return StreamingResponse(
        _events(live.follow(is_welcome)), media_type="text/event-stream", headers={**HEADERS, "X-Accel-Buffering": "no"}
    )


async def _events(changes: AsyncIterator[Fragments]) -> AsyncIterator[str]:
    """As the browser reads them: a name, the lines of a text, an empty line."""
    async for fragments in changes:
        for name, html in fragments.items():
            data = "".join(f"data: {line}\n" for line in html.splitlines())
            yield f"event: {name}\n{data}\n"
