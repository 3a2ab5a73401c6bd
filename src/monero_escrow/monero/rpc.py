"""The wire to one of Monero's programs: JSON-RPC over one HTTP connection, calls strictly one after another.

One connection and one call at a time, because the programs' digest authentication keeps its nonce per connection and
wants the counter in order, and because a wallet-rpc process has one thread anyway. A call is sent once and never
repeated here.

Parameters and answers hold seeds, keys and passwords: nothing of them goes into an exception, an exception's cause, a
`repr`, or what the `on_call` hook sees.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Final, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_middleware_digest_auth import DigestAuthMiddleware

from monero_escrow.core.errors import InvalidInputError
from monero_escrow.monero.error_codes import refusal_of
from monero_escrow.monero.errors import (
    CallAbandonedError,
    CallerRefusedError,
    LoginRefusedError,
    MoneroRpcError,
    NotMoneroError,
    ProcessUnreachableError,
    TransportError,
    WrongCertificateError,
)
from monero_escrow.monero.fields import Fields
from monero_escrow.monero.tls import NotPinnedError, shown_fingerprint

CONNECT_LIMIT_SECONDS: Final = 5.0
LONGEST_ANSWER_BYTES: Final = 64 * 1024 * 1024
# The programs drop a connection that was silent for minutes. Ours goes first, so that no call is ever sent into a
# closing one.
_KEEP_CONNECTION_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password of `--rpc-login`, for digest authentication."""

    user: str
    password: str = field(repr=False)


class CallHook(Protocol):
    """Told of every finished call: its method, its duration and "ok" or the error's stable code."""

    def __call__(self, method: str, seconds: float, outcome: str) -> None: ...


def checked_url(url: str) -> str:
    """A base URL without a trailing slash; `InvalidInputError` unless it is http(s)://host:port and nothing else."""
    try:
        parts = urlsplit(url.strip())
        has_port = parts.port is not None
    except ValueError:
        raise InvalidInputError("A Monero RPC URL has a port that is no number.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not has_port:
        raise InvalidInputError("A Monero RPC URL has the form http://host:port or https://host:port.")
    if parts.username is not None or parts.password is not None:
        raise InvalidInputError("Credentials do not belong into a Monero RPC URL: they have settings of their own.")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise InvalidInputError("A Monero RPC URL ends with its port: the client adds the path.")
    return f"{parts.scheme}://{parts.netloc}"


class RpcConnection:
    """One connection to one program. `url` is http(s)://host:port; `tls` is for https (`tls.py`), without one the
    machine's authorities decide.

    A call that was sent and given up on, by time-out, cancellation or a lost connection, may still run. Unless that
    would do no harm (`rests=False`), `abandoned` is True from then on, until `forget_abandoned`.

    Connections are numbered: what was found out over one holds as long as the calls go over the same one, and whoever
    listens at the URL may be another process when the next is made.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        tls: ssl.SSLContext | None = None,
        on_call: CallHook | None = None,
        longest_answer_bytes: int = LONGEST_ANSWER_BYTES,
    ) -> None:
        self.url = checked_url(url)
        self.connection = 0
        self.abandoned_over: frozenset[int] = frozenset()
        self._credentials = credentials
        self._tls = tls
        self._on_call = on_call
        self._longest_answer_bytes = longest_answer_bytes
        self._session: aiohttp.ClientSession | None = None
        self._turn = asyncio.Lock()
        self._calls = 0

    def __repr__(self) -> str:
        return f"RpcConnection({self.url!r})"

    @property
    def abandoned(self) -> bool:
        """Whether a call that was given up on may still run, and would do harm."""
        return bool(self.abandoned_over)

    def forget_abandoned(self) -> None:
        """No call that was given up on can run any more."""
        self.abandoned_over = frozenset()

    async def call(
        self, method: str, params: Mapping[str, object] | None = None, *, limit_seconds: float, rests: bool = True
    ) -> Fields:
        """One JSON-RPC call; answers its result. Waiting for the call before does not count towards the limit."""
        async with self._turn:
            self._calls += 1
            call_id = str(self._calls)
            body = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": dict(params or {})}
            return await self._measured(method, "/json_rpc", body, call_id, limit_seconds, rests)

    async def post(self, path: str, params: Mapping[str, object], *, limit_seconds: float) -> Fields:
        """One call of a daemon's plain JSON endpoints, such as `/get_transactions`."""
        async with self._turn:
            return await self._measured(path.lstrip("/"), path, dict(params), None, limit_seconds, True)

    async def aclose(self) -> None:
        """Close the connection. A later call opens another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _measured(
        self,
        method: str,
        path: str,
        body: Mapping[str, object],
        call_id: str | None,
        limit_seconds: float,
        rests: bool,
    ) -> Fields:
        started = time.monotonic()
        outcome = "cancelled"
        try:
            content = await self._exchange(method, path, body, limit_seconds, rests)
            answer = self._decoded(method, content)
            fields = answer if call_id is None else self._result(method, answer, call_id)
            outcome = "ok"
        except (TransportError, MoneroRpcError) as error:
            outcome = error.code
            raise
        finally:
            if self._on_call is not None:
                self._on_call(method, time.monotonic() - started, outcome)
        return fields

    async def _exchange(
        self, method: str, path: str, body: Mapping[str, object], limit_seconds: float, rests: bool
    ) -> bytes:
        """Send one request and read its whole answer; whatever goes wrong becomes one of our errors, with no cause."""
        state = SimpleNamespace(sent=False)
        try:
            async with (
                asyncio.timeout(limit_seconds),
                self._opened().post(
                    f"{self.url}{path}", data=json.dumps(body).encode(), allow_redirects=False, trace_request_ctx=state
                ) as answer,
            ):
                if answer.status == 401:
                    raise LoginRefusedError(self.url, method, self._login_trouble())
                if answer.status != 200:
                    raise NotMoneroError(self.url, method, f"HTTP status {answer.status}")
                return await self._content(method, answer)
        except asyncio.CancelledError:
            if state.sent:
                self._abandon(rests)
            raise
        except aiohttp.ClientSSLError as error:  # of the handshake: nothing was sent
            raise self._no_handshake(method, error) from None
        except (aiohttp.InvalidURL, aiohttp.ClientResponseError):
            raise NotMoneroError(self.url, method, "the answer is not HTTP as Monero speaks it") from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            if not state.sent:
                raise ProcessUnreachableError(self.url, method, "no connection could be made") from None
            self._abandon(rests)
            raise self._no_answer(method, error, limit_seconds) from None

    def _login_trouble(self) -> str:
        return "it wants a login, and none is set" if self._credentials is None else "it refuses the login"

    def _no_handshake(self, method: str, error: aiohttp.ClientSSLError) -> TransportError:
        """Why there is no TLS connection, in the words of whoever has to mend it."""
        cause = error.__cause__
        if isinstance(cause, NotPinnedError):
            shown = shown_fingerprint(cause.shown)
            return WrongCertificateError(self.url, method, f"it shows another certificate than the pinned one: {shown}")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return WrongCertificateError(
                self.url, method, "it shows a certificate that no authority of this machine vouches for, nor a pin"
            )
        if isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or ""):
            return CallerRefusedError(self.url, method, "it refuses our certificate, or wants one")
        return NotMoneroError(self.url, method, "it does not speak TLS")

    def _abandon(self, rests: bool) -> None:
        if rests:
            self.abandoned_over |= {self.connection}

    def _no_answer(self, method: str, error: Exception, limit_seconds: float) -> CallAbandonedError:
        if isinstance(error, TimeoutError):
            return CallAbandonedError(self.url, method, f"no answer within {limit_seconds:g} seconds")
        return CallAbandonedError(self.url, method, "the connection broke before the answer")

    async def _content(self, method: str, answer: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for chunk in answer.content.iter_any():
            content += chunk
            if len(content) > self._longest_answer_bytes:
                answer.close()
                raise NotMoneroError(self.url, method, f"the answer is longer than {self._longest_answer_bytes} bytes")
        return bytes(content)

    def _decoded(self, method: str, content: bytes) -> Fields:
        try:
            values = json.loads(content)
        except (ValueError, RecursionError):
            raise NotMoneroError(self.url, method, "the answer is not JSON") from None
        return Fields(self.url, method, values)

    def _result(self, method: str, answer: Fields, call_id: str) -> Fields:
        if answer.text("jsonrpc", "") != "2.0":
            raise NotMoneroError(self.url, method, "the answer is not JSON-RPC 2.0")
        if answer.has("error"):
            refusal = answer.inner("error")
            raise refusal_of(method, refusal.signed("code"), refusal.text("message", ""))
        if answer.text("id") != call_id:
            raise NotMoneroError(self.url, method, "the answer belongs to another call")
        return answer.inner("result")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            digest = self._credentials and DigestAuthMiddleware(self._credentials.user, self._credentials.password)
            watch = aiohttp.TraceConfig()
            watch.on_connection_create_end.append(self._note_connection)
            watch.on_request_headers_sent.append(_note_sent)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=1, ssl=self._tls or True, keepalive_timeout=_KEEP_CONNECTION_SECONDS
                ),
                middlewares=(digest,) if digest else (),
                headers={"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[watch],
                auto_decompress=False,
            )
        return self._session

    async def _note_connection(self, *_: object) -> None:
        self.connection += 1


async def _note_sent(_session: object, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.sent = True
