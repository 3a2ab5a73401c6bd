"""TLS of our own: certificate and key from files, TLS 1.2 or newer, and a renewed certificate without a restart.

Nothing of the key is kept here, and no error shows any of it.
"""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from monero_escrow.config import Settings, SettingsError

_READABLE_BY_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP


class TlsFilesError(SettingsError):
    """TLS_CERT_FILE or TLS_KEY_FILE cannot be used."""

    code = "tls_files"
    what_to_do = "Correct the files; after a start, SIGHUP reads them again. Until then the ones from before serve."


@dataclass(slots=True)
class OwnTls:
    """What the server's connections are made with; it lives as long as the server. Raises TlsFilesError."""

    cert_file: Path
    key_file: Path
    context: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        self.context = self._loaded()

    @classmethod
    def of(cls, settings: Settings) -> OwnTls | None:
        """As the settings want it; None when they do not. Raises TlsFilesError."""
        if settings.tls_cert_file is None or settings.tls_key_file is None:
            return None
        return cls(settings.tls_cert_file, settings.tls_key_file)

    def reload(self) -> None:
        """New connections get what the files hold now. Raises TlsFilesError, and goes on with what it had."""
        self._loaded()  # a pair that does not fit must not get half into the one that serves
        self._load_into(self.context)

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load_into(context)
        return context

    def _load_into(self, context: ssl.SSLContext) -> None:
        for name, path in (("TLS_CERT_FILE", self.cert_file), ("TLS_KEY_FILE", self.key_file)):
            try:
                with path.open("rb") as file:
                    mode = stat.S_IMODE(path.stat().st_mode)
                    file.read(1)
            except OSError as error:
                raise TlsFilesError(f"{name}: {path} cannot be read: {error.strerror}.") from None
            if path == self.key_file and mode & _READABLE_BY_OTHERS:
                raise TlsFilesError(
                    f"TLS_KEY_FILE: {path} may be read by others on this machine, or changed by its group.",
                    what_to_do=f"chmod 600 {path} (or 640, with a group for those who may read it).",
                )
        try:
            context.load_cert_chain(self.cert_file, self.key_file, password=_no_password)
        except _EncryptedError:
            raise TlsFilesError("TLS_KEY_FILE is encrypted, and nobody is there to ask for its password.") from None
        except ssl.SSLError as error:
            reason = "they do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else "one of them is no PEM"
            raise TlsFilesError(f"TLS_CERT_FILE and TLS_KEY_FILE cannot be used: {reason}.") from None


class _EncryptedError(Exception):
    """The key asks for a password."""


def _no_password() -> str:
    raise _EncryptedError
