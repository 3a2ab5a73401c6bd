"""/admin: how the service stands this moment, and /admin/live, the same as it changes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.pages import board, charts
from monero_escrow.web.pages.answers import HEADERS, PageRoute, fill, go_to, page
from monero_escrow.web.pages.live import Fragments, Live, Sample
from monero_escrow.web.pages.session import COOKIE_PATH, AnyViewer, OperatorViewer, find_viewer

router = APIRouter(prefix=COOKIE_PATH, include_in_schema=False, route_class=PageRoute)


def draw(sample: Sample) -> Fragments:
    """The parts of the overview that change by themselves."""
    return {
        "verdict": fill("parts/verdict.html", verdicts=board.verdicts(sample)),
        "figures": fill(
            "parts/figures.html",
            states=board.state_figures(sample),
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
        return go_to(f"{COOKIE_PATH}/disputes")
    live: Live = request.app.state.live
    _, fragments = await live.latest()
    return page("overview.html", viewer, parts=fragments)


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
