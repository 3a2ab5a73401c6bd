"""The HTTP server as it is set up here: what it bounds, and what it leaves to us.

h11 and not httptools: it bounds a request's head, where httptools takes headers without end. asyncio's own event loop:
`connections.py` counts connections where that one accepts them. X-Forwarded-For is ours to judge (`forwarded.py`).
"""

from __future__ import annotations

import math
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from monero_escrow.config import Settings
from monero_escrow.web.connections import Connections, Turns
from monero_escrow.web.tls import OwnTls

MOST_HEAD_BYTES: Final = 32 * 1024
"""A request line and its headers; browsers and proxies send a tenth of it."""
_STOP_SECONDS: Final = 3
"""For answers under way; whoever waits for a set-up finds it again."""


def server_config(app: ASGIApp, settings: Settings, connections: Connections, tls: OwnTls | None) -> uvicorn.Config:
    """How to serve `app`; the connections are counted if it is given `listening.listeners` to serve."""
    config = uvicorn.Config(
        Turns(app, connections),
        interface="asgi3",
        loop="asyncio",
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        timeout_keep_alive=math.ceil(settings.slow_caller_seconds),
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    config.load()
    if tls is not None:
        config.ssl = tls.context  # uvicorn would make one of its own, which nobody could load anew
    return config
