"""The OpenAPI document: errors as problem details on every endpoint that can have them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from monero_escrow.web.problems import MEDIA_TYPE
from monero_escrow.web.schemas import Problem

_SCHEMAS_OF_THE_FRAMEWORK = ("HTTPValidationError", "ValidationError")
_DESCRIPTIONS = {
    401: "No valid API key.",
    403: "The key's scope is another.",
    404: "There is no such escrow, or it is not the caller's to see.",
    409: "It contradicts what is recorded, or the escrow's state does not allow it. Nothing was changed.",
    413: "The body is larger than 64 KiB, or one of a batch than 2 MiB.",
    408: "The body did not arrive in time.",
    421: "The Host of the request is none of ALLOWED_HOSTS.",
    422: "The request is not valid. Nothing was changed.",
    429: "More than the limits allow. Nothing was changed. Try again after Retry-After seconds.",
    503: "Something the service depends on does not answer. Try again after Retry-After seconds.",
}


_OF_EVERY_ENDPOINT = (421, 429)
"""What is answered before any endpoint is asked (web/door.py)."""
_OF_EVERY_BODY = (408, 413)
_TOO_MANY = 429
_UNLIMITED = ("/livez", "/readyz")
_RETRY_AFTER = {"Retry-After": {"description": "In so many seconds.", "schema": {"type": "integer"}}}


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint that may answer with these problems."""
    return {status: {"model": Problem, "description": _DESCRIPTIONS[status]} for status in statuses}


def use_problem_media_type(app: FastAPI) -> None:
    """Let the document of `app` say that problems are sent as application/problem+json."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            for path, operations in made["paths"].items():
                for method, operation in operations.items():
                    if path not in _UNLIMITED:
                        _add(operation["responses"], has_body=method == "post")
                    _correct(operation["responses"])
            for unused in _SCHEMAS_OF_THE_FRAMEWORK:
                made["components"]["schemas"].pop(unused, None)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way of changing the document


def _add(responses: dict[str, Any], *, has_body: bool) -> None:
    """What every endpoint may answer, without each of them having to say so."""
    for status in (*_OF_EVERY_ENDPOINT, *(_OF_EVERY_BODY if has_body else ())):
        shape = {"application/json": {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
        headers = {"headers": _RETRY_AFTER} if status == _TOO_MANY else {}
        responses.setdefault(str(status), {"description": _DESCRIPTIONS[status], **headers, "content": shape})


def _correct(responses: dict[str, Any]) -> None:
    for status, response in list(responses.items()):
        content = response.get("content", {})
        shape = content.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
        if shape == Problem.__name__:
            content[MEDIA_TYPE] = content.pop("application/json")
        elif shape in _SCHEMAS_OF_THE_FRAMEWORK:  # announced for every path with a parameter, and answered nowhere
            del responses[status]
