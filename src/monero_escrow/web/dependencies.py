"""What endpoints are handed beside their input: the conductor the service composed."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Request
from pydantic import SecretStr

from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.tally import TallyReader


def give_conductor(app: FastAPI, conductor: Conductor) -> TallyReader:
    """Make this the conductor of every request to `app`; answers who counts for all of them. Raises SettingsError."""
    tallies = TallyReader(conductor.ctx)
    app.state.metrics_token = conductor.ctx.settings.token_of_metrics()
    app.state.conductor, app.state.tallies = conductor, tallies
    return tallies


async def _conductor_of(request: Request) -> Conductor:
    conductor: Conductor = request.app.state.conductor
    return conductor


async def _tallies_of(request: Request) -> TallyReader:
    tallies: TallyReader = request.app.state.tallies
    return tallies


async def _metrics_token_of(request: Request) -> SecretStr | None:
    token: SecretStr | None = request.app.state.metrics_token
    return token


TheMetricsToken = Annotated[SecretStr | None, Depends(_metrics_token_of)]
"""An endpoint's parameter of this type is METRICS_TOKEN, or what its file held at the start."""

TheTally = Annotated[TallyReader, Depends(_tallies_of)]
"""An endpoint's parameter of this type reads how much there is of everything, once for all who ask."""

TheConductor = Annotated[Conductor, Depends(_conductor_of)]
"""An endpoint's parameter of this type is the service's conductor; its `ctx` holds the ports."""
