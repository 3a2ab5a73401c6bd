"""What is done to every request before any endpoint sees it, and to every answer: plain ASGI, no framework.

Bodies are bounded by what arrives, not by what Content-Length claims. Every request has a correlation id that all its
log lines carry. What an endpoint did not foresee ends here as a problem that tells nothing.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from monero_escrow.escrows.context import new_id
from monero_escrow.store.origin import asked_from
from monero_escrow.web.problems import BodyTooLargeError, SlowBodyError, answer_to, internal_error

log = structlog.get_logger(__name__)

MOST_BODY_BYTES: Final = 64 * 1024
MOST_BATCH_BYTES: Final = 2 * 1024 * 1024
BATCH_PATH: Final = "/api/escrows/batch"
MOST_DISCARDED_BYTES: Final = 16 * 1024 * 1024
REQUEST_ID_HEADER: Final = "X-Request-ID"

_MOST_DISCARDING_SECONDS: Final = 5.0
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEADERS_OF_EVERY_ANSWER: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_OVER_TLS: Final = {"Strict-Transport-Security": "max-age=31536000"}
"""For a year browsers call this host over TLS only. Not its subdomains: they may be somebody else's."""


class RequestContext:
    """Correlation id, headers of every answer, one log line a request, and the last catch."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get(REQUEST_ID_HEADER, ""))
        began = time.perf_counter()
        status: int | None = None
        of_every_answer = _HEADERS_OF_EVERY_ANSWER | (_OVER_TLS if scope["scheme"] == "https" else {})

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                for name, value in of_every_answer.items():
                    headers.setdefault(name, value)
            await send(message)

        client = scope.get("client")
        with bound_contextvars(request_id=request_id), asked_from(client[0] if client else None):
            try:
                await self.app(scope, receive, send_with_headers)
            except ClientDisconnect:  # no fault of ours: the caller did not take the answer
                raise
            except Exception:
                log.exception("request_failed")
                if status is not None:  # half an answer is out: the server must cut the connection
                    raise
                await internal_error()(scope, receive, send_with_headers)
            finally:
                milliseconds = round(1000 * (time.perf_counter() - began), 1)
                route = getattr(scope.get("route"), "path", None)  # the pattern: a path itself may hold anything
                log.info("request", method=scope["method"], route=route, status=status, milliseconds=milliseconds)


class BodyLimit:
    """Hands on complete bodies only. Answers 413 once more came than any request there needs, or was announced, and 408
    when the rest does not come within `body_seconds`."""

    def __init__(self, app: ASGIApp, body_seconds: float) -> None:
        self.app, self._body_seconds = app, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        most_bytes = MOST_BATCH_BYTES if scope["path"] == BATCH_PATH else MOST_BODY_BYTES
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await _read(receive, headers.get("content-length", ""), most_bytes)
        except TimeoutError:
            answer = answer_to(SlowBodyError(f"The body did not arrive within {self._body_seconds:g} seconds."))
            answer.headers["Connection"] = "close"
            await answer(scope, receive, send)
            return
        except _TooLarge:
            if "expect" not in headers:  # a caller who asks first has not begun to send
                await _discard(receive)
            answer = answer_to(BodyTooLargeError(f"The request's body is larger than {most_bytes} bytes."))
            answer.headers["Connection"] = "close"  # there may be more of the body
            await answer(scope, receive, send)
            return
        except ClientDisconnect:
            return  # half a body must not pass for a whole one, and nobody is there to be answered
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        await self.app(scope, replay, send)


class _TooLarge(Exception):  # noqa: N818  a signal within this module
    pass


async def _read(receive: Receive, announced_bytes: str, most_bytes: int) -> bytes:
    """The whole body. Raises _TooLarge, or ClientDisconnect if the caller left before it was complete."""
    if announced_bytes.isdecimal() and int(announced_bytes[:20]) > most_bytes:
        raise _TooLarge
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > most_bytes:
            raise _TooLarge
        if not message.get("more_body", False):
            return bytes(body)


async def discard_body(scope: Scope, receive: Receive) -> None:
    """Before an answer that needs no body: take what was announced of one, no more than a request may have."""
    headers = Headers(scope=scope)
    announced = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if announced and "expect" not in headers:
        await _discard(receive, MOST_BATCH_BYTES)


async def _discard(receive: Receive, left: int = MOST_DISCARDED_BYTES) -> None:
    """Take the rest of a body and keep nothing of it, within limits.

    Whoever is cut off while sending sees a broken connection and never the answer.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_MOST_DISCARDING_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))


def _request_id(sent: str) -> str:
    """The caller's own id if it is one that may stand in a log, else a new one."""
    return sent if _SANE_REQUEST_ID.fullmatch(sent) else new_id()
