"""What every soak does: orders flow through a storm, and after it all of them have time to settle."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from soak.orders import Order, OrderFlow

_SAY_EVERY_SECONDS: Final = 5.0


async def storm_and_calm(
    flow: OrderFlow, storm: Coroutine[object, object, None], calm_seconds: float, say: Callable[[str], None]
) -> float | None:
    """Seconds from the last fault until everything had settled; None when it did not within `calm_seconds`."""
    flowing, blowing = asyncio.create_task(flow.flow()), asyncio.create_task(storm)
    try:
        await asyncio.wait([blowing, flowing], return_when=asyncio.FIRST_COMPLETED)
        if flowing.done():
            flowing.result()
        await blowing
        say("the storm is over: no further orders, no further faults")
        flow.close()
        calm_since = time.monotonic()
        await asyncio.wait([flowing], timeout=calm_seconds)
        if not flowing.done():
            return None
        flowing.result()
        return time.monotonic() - calm_since
    finally:
        for task in (blowing, flowing):
            task.cancel()
        await asyncio.wait([blowing, flowing])


async def tell_progress(struck: Callable[[], str], orders: Sequence[Order], say: Callable[[str], None]) -> None:
    """What has struck and where the orders are, every few seconds until cancelled."""
    while True:
        await asyncio.sleep(_SAY_EVERY_SECONDS)
        now = Counter(order.now for order in orders if not order.finished)
        under_way = ", ".join(f"{count} {what}" for what, count in sorted(now.items()))
        finished = sum(order.finished for order in orders)
        say(f"{struck()}; orders: {finished} finished, {under_way or 'none under way'}")
