"""The HTTP API put together: routers, errors, limits. Runs nothing: the service composes the conductor and stops it."""

from __future__ import annotations

from fastapi import FastAPI

from monero_escrow import __version__
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.web import (
    batch,
    decisions,
    docs_page,
    escrows,
    events,
    evidence,
    fleet,
    health,
    metrics,
    nodes,
    orders,
    overview,
    payouts,
    reload,
    rescan,
)
from monero_escrow.web.dependencies import give_conductor
from monero_escrow.web.door import AtTheDoor, give_door
from monero_escrow.web.forwarded import Forwarded
from monero_escrow.web.limits import BodyLimit, RequestContext
from monero_escrow.web.openapi import use_problem_media_type
from monero_escrow.web.pages.install import install_pages
from monero_escrow.web.problems import install_problems

_DESCRIPTION = """\
2-of-3 Monero multisig escrow for shops and marketplaces: for each order a wallet of buyer, vendor and arbiter, its \
deposit watched, and paid out by release, refund or ruling.

Amounts in requests are XMR as decimal strings; answers give piconero (1 XMR = 10^12) as strings of digits besides. \
Times are ISO 8601. Errors are problem details (RFC 9457) with a stable `code` and what to do about it; every answer \
has an X-Request-ID that the service's log knows too."""

_TAGS = [
    {"name": "orders", "description": "From an order to a deposit address."},
    {"name": "escrows", "description": "What there is to see."},
    {
        "name": "decisions",
        "description": "What shops and arbiters decide; which state allows what is docs/api.md's table.",
    },
    {"name": "events", "description": "What happened, for shops that poll."},
    {"name": "operation", "description": "For whoever runs the service."},
]


def create_app(conductor: Conductor) -> FastAPI:
    """The API over this conductor, which the caller starts and stops."""
    app = FastAPI(
        title="monero-escrow",
        version=__version__,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        docs_url=None,  # ours needs no foreign host: docs_page.py
        redoc_url=None,
        redirect_slashes=False,
    )
    tallies = give_conductor(app, conductor)
    install_problems(app)
    use_problem_media_type(app)
    for room in (
        orders,
        batch,
        escrows,
        decisions,
        evidence,
        payouts,
        rescan,
        events,
        health,
        overview,
        metrics,
        fleet,
        reload,
        nodes,
        docs_page,
    ):
        app.include_router(room.router)
    door = give_door(app, conductor.ctx)
    install_pages(app, conductor, tallies)
    settings = conductor.ctx.settings
    app.add_middleware(BodyLimit, body_seconds=settings.slow_caller_seconds)
    app.add_middleware(AtTheDoor, door=door, hosts=settings.allowed_hosts)
    app.add_middleware(RequestContext)  # what it adds, every answer has
    app.add_middleware(Forwarded, trusted=settings.trusted_proxies)  # the outermost: all others know who calls
    return app
