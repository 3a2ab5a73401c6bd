"""What all settings have in common: what a value may look like, and the error that says that one does not."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic_settings import BaseSettings, SettingsConfigDict

from monero_escrow.core.errors import EscrowError

KEY_BYTES: Final = 32
_LEAST_TOKEN_CHARACTERS: Final = 16
NO_TOKEN: Final = "must be at least 16 ASCII characters, such as `openssl rand -hex 32` prints"  # noqa: S105


class SettingsPart(BaseSettings):
    """What all parts of the settings have in common: fixed once read, and no value stands in an error."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class SettingsError(EscrowError):
    """The settings cannot be used; the message names each one that is wrong."""

    code = "settings"
    what_to_do = "Correct them (docs/configuration.md lists all), then run `monero-escrow doctor`."


def text_of(setting: str, file: Path) -> str:
    """What the file of a secret holds. Raises SettingsError."""
    try:
        return file.read_text("ascii", errors="replace").strip()
    except OSError as error:
        raise SettingsError(f"{setting} cannot be read: {error.strerror}.") from None


def is_token(text: str) -> bool:
    return len(text) >= _LEAST_TOKEN_CHARACTERS and text.isascii() and text.isprintable()


def parse_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(
            "The database key is not 256 bits: 64 hex digits, or base64 of 32 bytes, are wanted.",
            what_to_do="Make one with `openssl rand -hex 32`.",
        )
    return key


def is_base_url(url: str) -> bool:
    """Whether this is http(s)://HOST:PORT and nothing else."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and bool(parts.port)
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and not (parts.path or parts.query or parts.fragment)


def place_of_url(url: str) -> tuple[str | None, int | None]:
    """Where a URL leads: one process, however the URL is spelt."""
    parts = urlsplit(url)
    return parts.hostname, parts.port
