"""Errors as RFC 9457 problem details: which status each class of error has, and what its answer looks like.

An answer never repeats what was sent, and never tells what is inside the service: an error that is not the caller's to
understand is logged in full and answered with its code alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from monero_escrow.core.errors import (
    ConflictError,
    EscrowError,
    InvalidInputError,
    InvariantError,
    NotFoundError,
    UnavailableError,
)
from monero_escrow.monero.errors import MoneroRpcError, TransportError
from monero_escrow.web.schemas import FieldProblem, Problem

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 10
"""What a caller is told to wait when something is unavailable or still under way."""


class UnauthenticatedError(EscrowError):
    """There is no API key in the request, or none that is valid."""

    code = "unauthenticated"
    what_to_do = "Send a valid key as `Authorization: Bearer …`; `monero-escrow keys create` makes one."


class WrongScopeError(EscrowError):
    """The key is valid, and not for this."""

    code = "wrong_scope"
    what_to_do = "Use a key with the scope that the endpoint names."


class TooManyRequestsError(EscrowError):
    """More was asked for than the limits allow. Nothing was changed, and nothing that was acknowledged is touched."""

    code = "rate_limited"
    what_to_do = "Send the same request again after Retry-After seconds."

    def __init__(self, message: str, *, retry_after: float, what_to_do: str | None = None) -> None:
        super().__init__(message, what_to_do=what_to_do)
        self.retry_after_seconds = max(1, math.ceil(retry_after))


class TooManyAttemptsError(TooManyRequestsError):
    """Too many wrong keys came from one address lately."""

    code = "too_many_attempts"
    what_to_do = "Wait, then use a key of `monero-escrow keys create`."


class WrongHostError(EscrowError):
    """The request names a host that is none of ours."""

    code = "wrong_host"
    what_to_do = "Call the service by a name in its ALLOWED_HOSTS."


class SlowBodyError(EscrowError):
    """The body of the request did not arrive in time."""

    code = "slow_body"
    what_to_do = "Send the request again; a body is to arrive within SLOW_CALLER_SECONDS."


class BodyTooLargeError(EscrowError):
    """The body of the request is larger than any request needs to be."""

    code = "body_too_large"
    what_to_do = "Send less: a body is at most 64 KiB, and one of a batch at most 2 MiB."


STATUS_OF: Final[Mapping[type[EscrowError], int]] = {
    UnauthenticatedError: 401,
    WrongScopeError: 403,
    NotFoundError: 404,
    SlowBodyError: 408,
    ConflictError: 409,
    BodyTooLargeError: 413,
    WrongHostError: 421,
    InvalidInputError: 422,
    TooManyRequestsError: 429,
    UnavailableError: 503,
    # Monero's programs are the operator's: a caller learns that one does not serve, not which, where or why.
    TransportError: 503,
    MoneroRpcError: 503,
    EscrowError: 500,
}
"""The status of each class of error and of those derived from it; the nearest class decides."""

_HIDDEN: Final[Mapping[type[EscrowError], EscrowError]] = {
    TransportError: UnavailableError("One of the Monero programs behind the service does not answer as it should."),
    MoneroRpcError: UnavailableError("One of the Monero programs behind the service does not answer as it should."),
    InvariantError: InvariantError("Something that must always hold did not. The service's log says what."),
}
"""What is answered in place of an error that tells too much."""

_INTERNAL_CODE: Final = "internal"
_NAMEABLE_FIELD = re.compile(r"[a-z][a-z_]{0,31}")
_JSON_TYPES: Final = ("application/json", "+json")


class ProblemAnswer(JSONResponse):
    """A problem as an HTTP answer."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.model_dump(exclude_none=True), problem.status, headers)


def status_of(kind: type[EscrowError]) -> int:
    """The HTTP status of a class of error."""
    return next(STATUS_OF[base] for base in kind.__mro__ if base in STATUS_OF)


def statuses_by_code() -> dict[str, int]:
    """Each code that callers may test for, and its status: the table of the docs."""
    kinds: list[type[EscrowError]] = [EscrowError]
    for kind in kinds:  # grows while it is walked, until no class is left that derives from one in it
        kinds.extend(kind.__subclasses__())
    shown = (kind for kind in kinds if status_of(kind) != 500 and not issubclass(kind, tuple(_HIDDEN)))
    return dict(sorted((kind.code, status_of(kind)) for kind in shown))


def answer_to(error: EscrowError) -> ProblemAnswer:
    """The answer to an error of ours, logged if the caller is not told all of it."""
    problem = problem_of(error)
    headers = {}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if isinstance(error, TooManyRequestsError):
        headers["Retry-After"] = str(error.retry_after_seconds)
    return ProblemAnswer(problem, headers)


def problem_of(error: EscrowError) -> Problem:
    """The same as a part of an answer."""
    status = status_of(type(error))
    hidden_by = next((_HIDDEN[base] for base in type(error).__mro__ if base in _HIDDEN), None)
    if status == 500:
        log.error("request_failed", code=error.code, reason=error.message)
        if hidden_by is None:
            return _internal_problem()
    elif hidden_by is not None:
        log.warning("request_unavailable", code=error.code, reason=error.message)
    shown = hidden_by or error
    return _problem(status, shown.code, shown.message, shown.what_to_do)


def internal_error() -> ProblemAnswer:
    """The answer to what nobody foresaw: nothing of it is told."""
    return ProblemAnswer(_internal_problem())


def _internal_problem() -> Problem:
    what_to_do = "Read the escrow before trying again. The service's log has the details under the X-Request-ID."
    return _problem(500, _INTERNAL_CODE, "The service made a mistake.", what_to_do)


def install_problems(app: FastAPI) -> None:
    """Let every error that leaves an endpoint or the router be answered as a problem."""
    app.add_exception_handler(EscrowError, _on_escrow_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)


async def _on_escrow_error(_: Request, error: Exception) -> ProblemAnswer:
    assert isinstance(error, EscrowError)  # noqa: S101  registered for nothing else
    return answer_to(error)


async def _on_invalid_request(request: Request, error: Exception) -> ProblemAnswer:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for nothing else
    is_json = request.headers.get("content-type", "").partition(";")[0].strip().lower().endswith(_JSON_TYPES)
    return ProblemAnswer(_about_fields(list(_fields(error.errors(), is_json=is_json))))


def problem_of_fields(errors: Iterable[Any]) -> Problem:
    """What is wrong with an object that is a part of a request, by the validation's own errors."""
    whole = ({**error, "loc": ("part", *error["loc"])} for error in errors)
    return _about_fields(list(_fields(whole, is_json=True)))


def _about_fields(fields: list[FieldProblem]) -> Problem:
    detail = " ".join(f"{field.field}: {field.message.rstrip('.')}." for field in fields[:5])
    problem = _problem(422, InvalidInputError.code, detail, InvalidInputError.what_to_do)
    return problem.model_copy(update={"errors": fields})


async def _on_http_error(_: Request, error: Exception) -> ProblemAnswer:
    """What the framework says no to by itself."""
    assert isinstance(error, HTTPException)  # noqa: S101  registered for nothing else
    code, detail, what_to_do = _OF_THE_FRAMEWORK.get(
        error.status_code, (f"http_{error.status_code}", "The request cannot be served.", "Compare it with /docs.")
    )
    return ProblemAnswer(_problem(error.status_code, code, detail, what_to_do), error.headers)


_OF_THE_FRAMEWORK: Final[Mapping[int, tuple[str, str, str]]] = {
    400: ("malformed_request", "The request's body cannot be read.", "Send one JSON object."),
    404: ("no_such_endpoint", "There is nothing at this path.", "Compare the path with /docs."),
    405: (
        "method_not_allowed",
        "The path does not take this method.",
        "Use one of the methods in the answer's Allow header.",
    ),
}


def _problem(status: int, code: str, detail: str, what_to_do: str) -> Problem:
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return Problem(
        instance=None if request_id is None else f"urn:monero-escrow:request:{request_id}",
        type=f"urn:monero-escrow:problem:{code}",
        title=code.replace("_", " ").capitalize(),
        status=status,
        detail=detail,
        code=code,
        what_to_do=what_to_do,
    )


def _fields(errors: Iterable[Any], *, is_json: bool) -> Iterator[FieldProblem]:
    """What is wrong with which field. Neither a value nor a name that could be one is repeated."""
    for error in errors:
        where: Sequence[str | int] = error["loc"]
        if where[0] == "body" and (len(where) == 1 or error["type"] == "json_invalid"):
            yield FieldProblem(field="body", message=_about_the_body(error["type"], is_json=is_json))
        else:
            yield FieldProblem(field=_name(where[1:]), message=error["msg"].removeprefix("Value error, "))


def _about_the_body(kind: str, *, is_json: bool) -> str:
    if kind == "missing":
        return "A JSON object is needed as the request's body"
    if not is_json:
        return "The body must be sent as JSON, with the header Content-Type: application/json"
    return "The body is not one well-formed JSON object"


def _name(where: Sequence[str | int]) -> str:
    """The path of a field. An unknown one is named only if it looks like a field's name: it may be something secret."""
    return ".".join(str(part) if _NAMEABLE_FIELD.fullmatch(str(part)) else "(unknown)" for part in where)
