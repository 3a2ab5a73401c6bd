"""The pages put into the application."""

from __future__ import annotations

from fastapi import FastAPI

from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.tally import TallyReader
from monero_escrow.web.live import Live
from monero_escrow.web.pages import audit, disputes, escrows, fleet, held, overview, sign_in, static
from monero_escrow.web.pages.audit_run import TrailVerification


def install_pages(app: FastAPI, conductor: Conductor, tallies: TallyReader) -> None:
    """Add /admin and what is under it. Runs nothing: whoever serves the application runs `live_of(app)` beside it."""
    app.state.live = Live(conductor.ctx, tallies, overview.draw)
    app.state.trail_verification = TrailVerification(conductor.ctx)
    for room in (static, sign_in, overview, escrows, held, disputes, fleet, audit):
        app.include_router(room.router)


def close_pages(app: FastAPI) -> None:
    """The service ends: let go of everybody who watches, and of what was begun for them."""
    live_of(app).close()
    verification: TrailVerification = app.state.trail_verification
    verification.close()


def live_of(app: FastAPI) -> Live:
    """What keeps the overview up to date."""
    live: Live = app.state.live
    return live
