"""/admin/sign-in and /admin/sign-out: a key opens a session, and a button ends it."""

from __future__ import annotations

from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from monero_escrow.web.dependencies import TheConductor
from monero_escrow.web.door import TheAddress, TheDoor
from monero_escrow.web.pages import ROOT
from monero_escrow.web.pages.answers import PageRoute, go_to, page
from monero_escrow.web.pages.forms import read_form, require_own_origin
from monero_escrow.web.pages.session import (
    PAGE_SCOPES,
    AnyViewer,
    TheForm,
    close_session,
    find_viewer,
    forget_cookie,
    open_session,
    set_cookie,
)

log = structlog.get_logger(__name__)

router = APIRouter(prefix=ROOT, include_in_schema=False, route_class=PageRoute)

_ENDED: Final = "Your session is over. Sign in again."
_WRONG_KEY: Final = "This key is unknown, expired or revoked."
_WRONG_SCOPE: Final = "This is a shop's key. The pages are for operators and arbiters."


@router.get("/sign-in")
async def sign_in_page(
    request: Request,
    conductor: TheConductor,
    wanted: Annotated[str, Query(alias="next")] = ROOT,
    ended: str = "",
) -> Response:
    """Ask for a key; whoever is signed in goes on at once."""
    if await find_viewer(request, conductor) is not None:
        return go_to(_own_path(wanted))
    return page("sign_in.html", None, wanted=_own_path(wanted), trouble=_ENDED if ended else None)


@router.post("/sign-in")
async def sign_in(request: Request, conductor: TheConductor, door: TheDoor, address: TheAddress) -> Response:
    """Open a session for the key's holder. A wrong key is told so, counted, and after too many of them told nothing.

    The key is looked up first: guesses from a shared address keep nobody out who has one.
    """
    require_own_origin(request)
    form = await read_form(request)
    sent, wanted, now = form.text("key", longest=512), _own_path(form.text("next")), conductor.ctx.clock.now()
    key = await conductor.ctx.store.read(lambda tx: tx.keys.find(sent, now))
    if key is None or key.scope not in PAGE_SCOPES:
        door.attempts.require_patience(address, sent)
        door.attempts.failed(address)
        door.notes.refused(address)
        log.warning("sign_in_refused", known=key is not None)
        trouble = _WRONG_KEY if key is None else _WRONG_SCOPE
        return page("sign_in.html", None, status=403, wanted=wanted, trouble=trouble)
    door.attempts.forgive(address)
    door.notes.used(key.id)
    answer = go_to(wanted)
    token, behind_tls = await open_session(conductor, key), conductor.ctx.settings.behind_tls_proxy
    set_cookie(request, answer, token, behind_tls=behind_tls)
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, conductor: TheConductor, viewer: AnyViewer, _: TheForm) -> Response:
    """End the session, here and everywhere."""
    await close_session(request, conductor, viewer)
    answer = go_to(f"{ROOT}/sign-in")
    forget_cookie(answer)
    return answer


def _own_path(wanted: str) -> str:
    """Where to go after the sign-in, if it is one of these pages: nobody is sent anywhere else by a link to here."""
    plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted and "//" not in wanted
    return wanted if plain and (wanted == ROOT or wanted.startswith(f"{ROOT}/")) else ROOT
