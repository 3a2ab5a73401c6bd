"""GET /metrics: what Prometheus reads, for whoever has METRICS_TOKEN or an operator's key.

It is answered whatever does not: what is told of the database is left out when the database is silent, and the rest is
still told. (An operator's key is looked up in the database; METRICS_TOKEN is not.)
"""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from monero_escrow.web.auth import MetricsReader
from monero_escrow.web.dependencies import TheConductor, TheTally
from monero_escrow.web.gauges import Scrape
from monero_escrow.web.openapi import problem_answers

router = APIRouter(tags=["operation"])


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problem_answers(401, 403, 503)},
)
async def metrics(_: MetricsReader, conductor: TheConductor, tallies: TheTally) -> Response:
    """Every metric of docs/metrics.md, in Prometheus's text format. Holds no id, address, amount or shop."""
    scrape = Scrape(conductor.ctx, await tallies.read())
    return Response(generate_latest(scrape), media_type=CONTENT_TYPE_PLAIN_0_0_4)
