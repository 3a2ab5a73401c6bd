"""GET /admin/overview: what the operator's overview page says, for terminals and scripts.

The page and this share one look at the service, taken once in two seconds at most, however many ask (`live.py`),
and one judgement of it (`board.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request

from monero_escrow.core.life_cycle import State
from monero_escrow.core.words import iso_time, percentile
from monero_escrow.web import board
from monero_escrow.web.auth import OperatorCaller
from monero_escrow.web.live import Live, Sample, SetUp
from monero_escrow.web.openapi import problem_answers
from monero_escrow.web.schemas import Overview, OverviewReason, SetUpTimes, Verdict

router = APIRouter(tags=["operation"])


@router.get(
    "/admin/overview",
    summary="Everything at a glance",
    response_model=Overview,
    responses=problem_answers(401, 403, 503),
)
async def overview(_: OperatorCaller, request: Request) -> Overview:
    """Is money safe, does work flow, and why not: what the page `/admin` and `monero-escrow top` show."""
    live: Live = request.app.state.live
    return overview_of(await live.sample())


def overview_of(sample: Sample) -> Overview:
    """A sample as the API tells it."""
    money, work, people = board.verdicts(sample)
    return Overview(
        at=iso_time(sample.at),
        money=_verdict(money),
        work=_verdict(work),
        people=_verdict(people),
        health=sample.health,
        fleet=sample.fleet,
        escrows={state: sample.states.get(state, 0) for state in State},
        failing=sample.failing,
        coins=board.coins_line(sample),
        queue=board.queue_line(sample),
        stock=board.stock_line(sample),
        set_ups=_times(sample.set_ups),
        utilisation=[round(point.share, 3) for point in sample.usage],
    )


def _verdict(verdict: board.Verdict) -> Verdict:
    reasons = [OverviewReason(text=reason.text, escrow_id=reason.escrow_id) for reason in verdict.reasons]
    return Verdict(question=verdict.question, grade=verdict.grade, answer=verdict.answer, reasons=reasons)


def _times(set_ups: Sequence[SetUp]) -> SetUpTimes | None:
    took = [set_up.seconds for set_up in set_ups]
    if not took:
        return None
    half, most = (round(percentile(took, percent), 2) for percent in (50, 90))
    return SetUpTimes(count=len(took), half_within_seconds=half, nine_of_ten_within_seconds=most)
