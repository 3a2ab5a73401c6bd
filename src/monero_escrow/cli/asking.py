"""How a command asks the running service: where it is, the key, and what it answered.

A key comes from the environment, from a file or from a hidden prompt, never from the command line, which every user of
the machine may read.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import httpx2
from pydantic import ValidationError

from monero_escrow.config import load_settings
from monero_escrow.core.errors import EscrowError, InvalidInputError, UnavailableError
from monero_escrow.core.loopback import is_loopback
from monero_escrow.web.problems import UnauthenticatedError, WrongScopeError
from monero_escrow.web.schemas import Overview

KEY_VARIABLE: Final = "MONERO_ESCROW_KEY"
_LIMIT_SECONDS: Final = 5.0
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  what a service listens on, and nobody asks


class NoKeyError(EscrowError):
    """There is no key to ask with."""

    code = "no_key"
    what_to_do = (
        f"Name a file that holds an operator's key (--key-file), or set {KEY_VARIABLE}. Make one: "
        "`monero-escrow keys create --scope operator`."
    )


class ServiceAwayError(UnavailableError):
    """The service does not answer, or not now."""

    code = "service_away"
    what_to_do = "See whether it runs: `monero-escrow serve`, and its log."


class NotOurServiceError(EscrowError):
    """Something answers there that is not this service, or one of another version."""

    code = "not_our_service"
    what_to_do = "Check --url, or SERVER_HOST and SERVER_PORT, and that the service is as new as this command."


def checked_base(url: str | None) -> str:
    """Where the service is: as the settings say, unless named. Raises InvalidInputError.

    A key is not sent over a network for all to read.
    """
    if url is None:
        settings = load_settings()
        listens = _EVERYWHERE.get(settings.server_host, settings.server_host)
        return f"http://{f'[{listens}]' if ':' in listens else listens}:{settings.server_port}"
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        parts, host = urlsplit(""), None
    if host is None or parts.scheme not in ("http", "https") or parts.username or parts.query or parts.fragment:
        raise InvalidInputError("The URL is not of the form https://HOST.", what_to_do="Such as http://127.0.0.1:8080.")
    if parts.scheme == "http" and not is_loopback(host):
        raise InvalidInputError(
            "The key would cross the network for all to read.",
            what_to_do=f"Use https, or an SSH tunnel: ssh -L 8080:127.0.0.1:8080 {host}",
        )
    return url.rstrip("/")


def find_key(file: Path | None) -> str:
    """The key: from the file, the environment, or a hidden prompt. Raises NoKeyError; shows nothing of it."""
    if file is not None:
        try:
            key = file.read_text("ascii", errors="replace").strip()
        except OSError as error:
            raise NoKeyError(f"The key's file cannot be read: {error.strerror}.") from None
    else:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not key and sys.stdin.isatty():
            key = getpass.getpass("Operator's key: ").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise NoKeyError("There is no key, or it is none.")
    return key


class Service:
    """The service at a URL, asked with one key. Use as an async context manager."""

    def __init__(self, url: str, key: str, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self.url = url
        self._http = httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=_LIMIT_SECONDS,
            trust_env=False,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"Service({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def overview(self) -> Overview:
        """How everything stands. Raises ServiceAwayError, UnauthenticatedError, WrongScopeError, NotOurServiceError."""
        try:
            answer = await self._http.get("/admin/overview")
        except httpx2.HTTPError as error:
            raise ServiceAwayError(f"{self.url} does not answer ({type(error).__name__}).") from None
        if answer.status_code == httpx2.codes.UNAUTHORIZED:
            raise UnauthenticatedError("The service does not know this key, or not any more.")
        if answer.status_code == httpx2.codes.FORBIDDEN:
            raise WrongScopeError("This key is not an operator's.")
        if answer.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR:
            raise ServiceAwayError(f"{self.url} cannot answer now: {_said(answer)}")
        try:
            return Overview.model_validate_json(answer.content if answer.is_success else b"")
        except ValidationError:
            raise NotOurServiceError(f"What {self.url} answers is not an overview of this service.") from None


def _said(answer: httpx2.Response) -> str:
    """What a problem says of itself."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}."
