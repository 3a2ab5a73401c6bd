"""Who looks at the pages: a session in a cookie, opened with an operator's or an arbiter's key.

The cookie holds a random token and nothing else; the database has its hash, whose key it is, and until when. A session
is as good as its key: revoking the key, letting it expire, or signing out ends it with the next request, at every node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final, TypeVar
from urllib.parse import quote

import structlog
from fastapi import Depends, Request
from fastapi.responses import Response

from monero_escrow.store.audit_table import AuditHeadBrokenError
from monero_escrow.store.records import ApiKeyRecord, Scope
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.auth import Caller
from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.door import TheDoor
from monero_escrow.web.pages import ROOT
from monero_escrow.web.pages.forms import Form, read_form, require_own_origin, require_token
from monero_escrow.web.problems import WrongScopeError
from monero_escrow.web.rates import Limit

T = TypeVar("T")

log = structlog.get_logger(__name__)

COOKIE: Final = "monero_escrow_session"
COOKIE_PATH: Final = ROOT
SESSION_SECONDS: Final = 8 * 3600.0
"""A working day; then the key is asked for again."""
PAGE_SCOPES: Final = frozenset({Scope.OPERATOR, Scope.ARBITER})


_OPERATORS_PAGES: Final = (
    (ROOT, "Overview"),
    (f"{ROOT}/escrows", "Escrows"),
    (f"{ROOT}/disputes", "Disputes"),
    (f"{ROOT}/slots", "Fleet"),
    (f"{ROOT}/audit", "Audit"),
)
_ARBITERS_PAGES: Final = ((f"{ROOT}/disputes", "Disputes"),)


class SignInNeeded(Exception):  # noqa: N818  a way to go on, not an error
    """Nobody is signed in: the sign-in page comes first, then the one that was asked for."""

    def __init__(self, request: Request) -> None:
        wanted = request.url.path if request.method == "GET" and "hx-request" not in request.headers else ROOT
        ended = "&ended=1" if COOKIE in request.cookies else ""
        self.location = f"{ROOT}/sign-in?next={quote(wanted)}{ended}"
        super().__init__(self.location)


@dataclass(frozen=True, slots=True)
class Viewer(Caller):
    """Somebody who is signed in. `form_token` is what their forms must hold: it tells nothing about the session."""

    form_token: str = field(repr=False)

    @property
    def is_operator(self) -> bool:
        """Whether all there is may be seen, and the fleet be changed."""
        return self.scope is Scope.OPERATOR

    @property
    def is_arbiter(self) -> bool:
        """Whether disputes may be ruled."""
        return self.scope is Scope.ARBITER

    @property
    def pages(self) -> tuple[tuple[str, str], ...]:
        """Where they may go: path and name of each page, as the head of every page lists them."""
        return _OPERATORS_PAGES if self.is_operator else _ARBITERS_PAGES

    @property
    def name(self) -> str:
        """How the pages call them."""
        return f"{self.key.name} ({self.scope})"


async def find_viewer(request: Request, conductor: TheConductor) -> Viewer | None:
    """Whoever the request's cookie belongs to, if they are signed in still."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    now = conductor.ctx.clock.now()
    key = await conductor.ctx.store.read(lambda tx: tx.sessions.find(token, now))
    return None if key is None or key.scope not in PAGE_SCOPES else Viewer(key, form_token_of(token))


async def _viewer(request: Request, conductor: TheConductor, door: TheDoor) -> Viewer:
    """Raises SignInNeeded, TooManyRequestsError."""
    viewer = await find_viewer(request, conductor)
    if viewer is None:
        raise SignInNeeded(request)
    door.limits.charge([(Limit.KEY, viewer.key.id)])
    structlog.contextvars.bind_contextvars(caller=viewer.actor)
    return viewer


AnyViewer = Annotated[Viewer, Depends(_viewer)]


async def _operator(viewer: AnyViewer) -> Viewer:
    if not viewer.is_operator:
        raise WrongScopeError("This page is for operators.", what_to_do="Sign in with an operator's key.")
    return viewer


async def _arbiter(viewer: AnyViewer) -> Viewer:
    if not viewer.is_arbiter:
        raise WrongScopeError("Only an arbiter rules.", what_to_do="Sign in with an arbiter's key.")
    return viewer


OperatorViewer = Annotated[Viewer, Depends(_operator)]
ArbiterViewer = Annotated[Viewer, Depends(_arbiter)]


async def _form(request: Request, viewer: AnyViewer) -> Form:
    """The form of a viewer's POST, if one of our own pages sent it. Raises ForeignFormError, UnreadableFormError."""
    require_own_origin(request)
    form = await read_form(request)
    require_token(form, viewer.form_token)
    return form


TheForm = Annotated[Form, Depends(_form)]


def form_token_of(token: str) -> str:
    """What the forms of a session hold: derived from its token, which cannot be had back from it."""
    return hashlib.sha256(b"monero-escrow/form|" + token.encode("utf-8", "surrogateescape")).hexdigest()


async def open_session(conductor: TheConductor, key: ApiKeyRecord) -> str:
    """Sign the key's holder in; the token for the cookie."""
    now = conductor.ctx.clock.now()

    def opened(tx: Transaction) -> str:
        return tx.sessions.open(key.id, now, now + SESSION_SECONDS)

    return await _noted_if_it_can_be(conductor, key.actor, "sign_in", opened)


async def close_session(request: Request, conductor: TheConductor, viewer: Viewer) -> None:
    """Sign out: the token opens nothing from now on."""
    token = request.cookies[COOKIE]
    await _noted_if_it_can_be(conductor, viewer.actor, "sign_out", lambda tx: tx.sessions.close(token))


async def _noted_if_it_can_be(
    conductor: TheConductor, actor: str, action: str, change: Callable[[Transaction], T]
) -> T:
    """Change a session with its row in the node's chain; where that chain ends with what is not ours, without a row.

    Otherwise the pages that tell of a broken trail would be shut just then. Nothing is hidden by it: a session alone
    changes nothing, what is done in it has rows of its own or is not done, and whoever can break the chain can write a
    session into the database as well. No other chain takes the row: it would say that another node was asked.
    """
    now = conductor.ctx.clock.now()

    def noted(tx: Transaction) -> T:
        tx.audit.add(actor, action, now)
        return change(tx)

    try:
        return await conductor.ctx.store.write(noted)
    except AuditHeadBrokenError as error:
        log.error(  # noqa: TRY400  the reason says all
            "session_not_in_the_trail", action=action, actor=actor, code=error.code, reason=error.message
        )
    return await conductor.ctx.store.write(change)


def set_cookie(request: Request, answer: Response, token: str, *, behind_tls: bool) -> None:
    """Give the browser its session: out of reach of scripts, sent to these pages alone, and by our own pages alone."""
    answer.set_cookie(
        COOKIE, token, path=COOKIE_PATH, max_age=int(SESSION_SECONDS), httponly=True, samesite="strict",
        secure=request.url.scheme == "https" or behind_tls,
    )  # fmt: skip


def forget_cookie(answer: Response) -> None:
    """Let the browser forget it."""
    answer.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="strict")
