"""Pages as answers: templates filled, the headers of each, errors as pages that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from monero_escrow.core.errors import EscrowError, InvalidInputError
from monero_escrow.core.words import lasting, moment, short
from monero_escrow.web.pages import ROOT, words
from monero_escrow.web.pages.forms import ForeignFormError
from monero_escrow.web.pages.outcome import in_percent
from monero_escrow.web.pages.session import SignInNeeded, Viewer, forget_cookie
from monero_escrow.web.pages.static import address_of
from monero_escrow.web.problems import TooManyRequestsError, problem_of, status_of

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    # A browser that is to tell nobody where it comes from would not tell us either, and forms could not be checked.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
_STATUS_OF: Final[Mapping[type[EscrowError], int]] = {ForeignFormError: 403}


@cache
def environment() -> Environment:
    """The templates of this package. A name that the view model lacks is an error, not an empty place."""
    made = Environment(
        loader=PackageLoader("monero_escrow.web.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "xmr": words.xmr, "sentence": words.sentence, "grouped": words.grouped,
        "short": short, "lasting": lasting, "moment": moment, "in_percent": in_percent,
    }  # fmt: skip
    made.globals |= {"static": address_of, "root": ROOT}
    return made


def fill(template: str, **values: Any) -> str:
    """A template's text."""
    return environment().get_template(template).render(**values)


def page(
    template: str, viewer: Viewer | None, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
) -> HTMLResponse:
    """A whole page, or a part of one that htmx puts into it."""
    return HTMLResponse(fill(template, viewer=viewer, **values), status, {**HEADERS, **(headers or {})})


def go_to(location: str) -> RedirectResponse:
    """After a form: the browser asks for the page anew, so that reloading it sends nothing again."""
    return RedirectResponse(location, 303, HEADERS)


class PageRoute(APIRoute):
    """A route whose errors are pages, and whose guests without a session are shown the way to the sign-in."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_as_page(request: Request) -> Response:
            try:
                return await handle(request)
            except SignInNeeded as needed:
                return _to_sign_in(request, needed)
            except RequestValidationError:
                return _error_page(
                    request, InvalidInputError("The address of the page, or the form, holds what does not fit.")
                )
            except EscrowError as error:
                return _error_page(request, error)

        return handle_as_page


def _to_sign_in(request: Request, needed: SignInNeeded) -> Response:
    answer: Response = go_to(needed.location)
    if "hx-request" in request.headers:  # htmx follows redirects by itself, and would put the page into the page
        answer = Response(status_code=204, headers={**HEADERS, "HX-Redirect": needed.location})
    forget_cookie(answer)
    return answer


def _error_page(request: Request, error: EscrowError) -> HTMLResponse:
    """What went wrong and what to do, as far as the API would tell it."""
    status = _STATUS_OF.get(type(error)) or status_of(type(error))
    shown = problem_of(error) if status >= 500 else None
    message, what_to_do = (shown.detail, shown.what_to_do) if shown else (error.message, error.what_to_do)
    headers = {"Retry-After": str(error.retry_after_seconds)} if isinstance(error, TooManyRequestsError) else None
    escrow_id = request.path_params.get("escrow_id") if status == HTTPStatus.CONFLICT else None
    return page(
        "error.html", None, status=status, headers=headers, title=HTTPStatus(status).phrase, message=message,
        what_to_do=what_to_do, escrow_id=escrow_id,
    )  # fmt: skip
