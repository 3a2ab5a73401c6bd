"""A payout from the decision to the broadcast, wallets closed at the decision, and how much of the time is ours.

Opened, refreshed, infos exchanged, proposed, judged, signed twice, submitted: real wallets on a private chain. The
times are the database's own, of the decision's row and of the row that says it was broadcast. Ours is the time in
which no call to any of Monero's programs was under way.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from monero_escrow.bench.books import payouts_of
from monero_escrow.bench.figures import Aim, Chart, Figure, Findings, On, Series, Unit, p50_and_p99, percentile
from monero_escrow.bench.gauges import cpu_seconds
from monero_escrow.bench.market import Market, market
from monero_escrow.bench.run import Run
from monero_escrow.bench.service_log import covered_seconds, logged_calls

_BROADCAST_LIMIT_SECONDS = 180.0
_TRIOS_OF_SLOTS = 2


async def measure(run: Run) -> Findings:
    """One release after another, each of an escrow of its own."""
    count = run.pick(1, 20)
    async with AsyncExitStack() as stack:
        place = await market(stack, run, trios=_TRIOS_OF_SLOTS)
        funded = await place.make_funded(count)
        pids, ours = place.fleet.pids, [place.service.process.pid]
        wallets_cpu, ours_cpu = cpu_seconds(pids), cpu_seconds(ours)
        spans = []
        for number, escrow_id in enumerate(funded):
            run.teller.say("releasing", number, count)
            spans.append(await _release(place, escrow_id))
        wallets_cpu, ours_cpu = cpu_seconds(pids) - wallets_cpu, cpu_seconds(ours) - ours_cpu
        calls = logged_calls(place.service.log, since=spans[0][0])
    seconds = [broadcast - decided for decided, broadcast in spans]
    own = [1 - covered_seconds(calls, *span) / (span[1] - span[0]) for span in spans]
    return Findings(
        figures=(
            *p50_and_p99("decision to broadcast, cold", seconds, Unit.SECONDS, On.REAL, (Aim(5), None)),
            Figure("of that, no call to Monero's programs, p50", percentile(own, 50), Unit.SHARE, On.REAL),
            Figure("the service's share of the CPU", ours_cpu / (ours_cpu + wallets_cpu), Unit.SHARE, On.REAL),
            Figure("CPU a payout, wallets", wallets_cpu / count, Unit.SECONDS, On.REAL),
        ),
        series=(Series("decision to broadcast", Unit.SECONDS, tuple(seconds)),),
        chart=Chart.CURVES,
        notes=(
            "A private chain of about a hundred blocks: a refresh takes longer where a wallet was closed for long.",
        ),
    )


async def _release(place: Market, escrow_id: str) -> tuple[float, float]:
    """When it was decided, and when its transaction was with the daemon."""
    await place.release(escrow_id)

    async def is_broadcast() -> bool:
        return all(payout.broadcast_at is not None for payout in await payouts_of(place.store, escrow_id))

    await place.run.until(is_broadcast, "a payout's broadcast", limit_seconds=_BROADCAST_LIMIT_SECONDS)
    payout = (await payouts_of(place.store, escrow_id))[0]
    return payout.decided_at, payout.broadcast_at or payout.decided_at
