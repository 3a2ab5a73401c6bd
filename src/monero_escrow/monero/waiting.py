"""Waiting for something another process does: look again until it is so, or the time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

POLL_SECONDS: Final = 0.05


async def until(
    condition: Callable[[], Awaitable[bool]], *, limit_seconds: float, poll_seconds: float = POLL_SECONDS
) -> None:
    """Return as soon as `condition` holds; `TimeoutError` when it did not within `limit_seconds`."""
    async with asyncio.timeout(limit_seconds):
        while not await condition():  # noqa: ASYNC110 - what is awaited happens in another process, which tells nobody
            await asyncio.sleep(poll_seconds)
