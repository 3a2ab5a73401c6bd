"""GET /admin/static/…: the few files that pages load, all of this package. An address changes with its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from monero_escrow.core.errors import NotFoundError
from monero_escrow.web.pages import ROOT

router = APIRouter(include_in_schema=False)

_KINDS: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_NAMES: Final = ("pages.css", "icon.svg", "vendor/htmx.min.js", "vendor/sse.min.js")
_A_YEAR: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file's content, its kind, and a name for this very content."""

    content: bytes
    media_type: str
    version: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Every file there is to serve, by name: nothing else can be asked for, whatever a path looks like."""
    folder = files("monero_escrow.web.pages") / "static"
    found = {}
    for name in _NAMES:
        content = folder.joinpath(name).read_bytes()
        kind = _KINDS[name.rpartition(".")[2]]
        found[name] = StaticFile(content, kind, hashlib.sha256(content).hexdigest()[:12])
    return found


def address_of(name: str) -> str:
    """Where pages load a file from."""
    return f"{ROOT}/static/{name}?v={static_files()[name].version}"


@router.get(ROOT + "/static/{name:path}")
async def static(name: str) -> Response:
    """One file. Everybody may have it: there is nothing in it that the package has not."""
    found = static_files().get(name)
    if found is None:
        raise NotFoundError("There is no such file.")
    return Response(found.content, media_type=found.media_type, headers={"Cache-Control": _A_YEAR})
