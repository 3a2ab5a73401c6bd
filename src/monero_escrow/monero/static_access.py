"""How the processes in MONERO_RPC_URLS are reached: their logins, and what each side's certificate must be.

MONERO_RPC_CREDENTIALS_FILE is TOML, a table for each URL, every line of it optional:

    ["https://wallets.example.com:18082"]
    login = "escrow:its password"                       # --rpc-login
    server_fingerprint = "AB:CD:…"                      # SHA-256 of its certificate
    client_certificate = "buyer.pem"                    # ours, whose fingerprint it has in
    client_key = "buyer.key"                            # --rpc-ssl-allowed-fingerprints

Paths are relative to the file's folder. The file and the keys must be readable by their owner alone. A wallet process
answers with keys and signs payouts: so plain HTTP goes to this machine alone, and what is elsewhere is known by its
fingerprint. All is checked before the first connection is made; no error repeats a value that could be a secret.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from monero_escrow.config import Settings, SettingsError
from monero_escrow.core.loopback import is_loopback
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.tls import parse_fingerprint, pinned_tls

NAME: Final = "MONERO_RPC_CREDENTIALS_FILE"
_KEYS: Final = ("login", "server_fingerprint", "client_certificate", "client_key")
_PLACE: Final = re.compile(r"\(at .*\)$")


@dataclass(frozen=True, slots=True)
class StaticAccess:
    """How one process is reached. Two are equal if the same connection would come of them, key files included.

    `server_fingerprint` is a SHA-256; without it the authorities that this machine trusts decide. `tls` is None for
    plain HTTP, and where they decide alone.
    """

    login: Credentials | None = None
    server_fingerprint: bytes | None = None
    client_digest: bytes | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)


def access_of(settings: Settings) -> Mapping[str, StaticAccess]:
    """Of every URL in MONERO_RPC_URLS. Raises SettingsError, which names what is wrong and shows no secret."""
    tables = _tables(settings.monero_rpc_credentials_file)
    unlisted = sorted(tables.keys() - set(settings.monero_rpc_urls))
    if unlisted:
        raise SettingsError(
            f"{NAME}: {', '.join(unlisted)} is not in MONERO_RPC_URLS.",
            what_to_do="Write each URL as it stands there, or remove its table.",
        )
    common = settings.monero_rpc_login
    login = None if common is None else _login(common.get_secret_value())
    return {
        url: _access(url, tables.get(url, {}), login, settings.monero_rpc_credentials_file)
        for url in settings.monero_rpc_urls
    }


def _tables(file: Path | None) -> dict[str, dict[str, str]]:
    """The tables of the file by their URLs, in which every value is a text under a known name."""
    if file is None:
        return {}
    _require_private(file, NAME)
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{NAME}: {file} cannot be read: {error.strerror}.") from None
    except UnicodeError:
        raise SettingsError(f"{NAME}: {file} is not UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        where = _PLACE.search(str(error))
        raise SettingsError(f"{NAME}: {file} is not TOML {where.group() if where else ''}".rstrip() + ".") from None
    for url, table in content.items():
        if not isinstance(table, dict):
            raise SettingsError(f'{NAME}: {url} is no table. A process is ["https://HOST:PORT"] and lines below it.')
        for name, value in table.items():
            if name not in _KEYS:
                raise SettingsError(f"{NAME}, {url}: {name} is none of {', '.join(_KEYS)}.")
            if not isinstance(value, str) or not value:
                raise SettingsError(f"{NAME}, {url}: {name} is no text in quotes.")
    return {url.rstrip("/"): table for url, table in content.items()}


def _access(url: str, table: Mapping[str, str], login: Credentials | None, file: Path | None) -> StaticAccess:
    of = f"{NAME}, {url}"
    parts = urlsplit(url)
    here = is_loopback(parts.hostname or "")
    if "login" in table:
        if ":" not in table["login"]:
            raise SettingsError(f"{of}: login must be user:password.")
        login = _login(table["login"])
    if parts.scheme == "http":
        if not here:
            raise SettingsError(
                f"MONERO_RPC_URLS: {url} is plain HTTP to another machine: whoever is on the way reads keys and steers "
                "the wallets.",
                what_to_do="Give the process a certificate, write https:// and its fingerprint in "
                f"{NAME} (docs/fleet.md), or reach it through a tunnel that ends on 127.0.0.1.",
            )
        if table.keys() - {"login"}:
            raise SettingsError(f"{of}: certificates are for https:// URLs.")
        return StaticAccess(login)
    pin = _fingerprint(of, table.get("server_fingerprint"))
    if pin is None and not here:
        raise SettingsError(
            f"MONERO_RPC_URLS: {url} is on another machine, and its certificate is not known.",
            what_to_do=f"Write its fingerprint as server_fingerprint in {NAME} (docs/fleet.md).",
        )
    client = _client(of, table, file)
    if pin is None:
        if client is not None:
            raise SettingsError(f"{of}: client_certificate needs server_fingerprint beside it.")
        return StaticAccess(login)
    try:
        return StaticAccess(login, pin, client and _digest(client), pinned_tls(pin, client))
    except OSError:  # also what is no certificate, no key, or not the key of it
        raise SettingsError(
            f"{of}: client_certificate and client_key cannot be used: they are PEM files, of one pair, without a "
            "passphrase."
        ) from None


def _login(text: str) -> Credentials:
    user, _, password = text.partition(":")
    return Credentials(user, password)


def _fingerprint(of: str, text: str | None) -> bytes | None:
    try:
        return None if text is None else parse_fingerprint(text)
    except ValueError as error:
        raise SettingsError(f"{of}: server_fingerprint {error}.") from None


def _client(of: str, table: Mapping[str, str], file: Path | None) -> tuple[Path, Path] | None:
    """Our certificate and its key, both or neither."""
    named = [table.get("client_certificate"), table.get("client_key")]
    folder = Path() if file is None else file.parent
    certificate, key = (None if name is None else folder / Path(name).expanduser() for name in named)
    if certificate is None or key is None:
        if certificate is not key:
            raise SettingsError(f"{of}: client_certificate and client_key belong together.")
        return None
    _require_private(key, f"{of}: client_key")
    return certificate, key


def _require_private(file: Path, of: str) -> None:
    """Raises SettingsError when it is not there, or when others may read or change it."""
    try:
        mode = file.stat().st_mode & 0o777
    except OSError as error:
        raise SettingsError(f"{of}: {file} cannot be read: {error.strerror}.") from None
    if mode & 0o077:
        raise SettingsError(
            f"{of}: {file} has mode {mode:04o}: others on this machine can open it.",
            what_to_do=f"chmod 600 {file}, and make new secrets if others may have read it.",
        )


def _digest(files: tuple[Path, Path]) -> bytes:
    """By which a changed certificate or key is noticed."""
    return hashlib.sha256(b"\0".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).digest()
