"""TLS to a process that is known by one certificate: its SHA-256 fingerprint, and nothing else about it, is checked.

No name, no date and no authority counts, as with Monero's own `--rpc-ssl-allowed-fingerprints`. The check belongs to
the handshake, so that nothing is ever sent to whoever fails it.

TLS 1.2 and not 1.3, on purpose: in 1.3 the client is through with the handshake before the server has looked at its
certificate, and a call that the server never took would look like one whose answer was lost
(docs/decisions/0024-each-process-and-its-caller-know-each-other.md).
"""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path
from typing import Final

_FINGERPRINT: Final = re.compile(r"[0-9A-F]{64}")


class NotPinnedError(ssl.SSLCertVerificationError):
    """Another certificate than the pinned one; `shown` is its fingerprint."""

    def __init__(self, shown: bytes) -> None:
        super().__init__(1, "another certificate than the pinned one")
        self.shown = shown


class _PinnedSocket(ssl.SSLSocket):
    """A blocking socket's handshake cannot be made with a pinned context: it would not check anything."""

    def do_handshake(self, block: bool = False) -> None:
        raise ssl.SSLError(1, "a pinned context is for asyncio alone")


def pinned_tls(server_fingerprint: bytes, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """A context for asyncio, for the one server whose certificate (DER) has this SHA-256.

    `client` is our own certificate and its key (PEM), for a server that asks for one. Raises OSError (ssl.SSLError is
    one) when those cannot be read, do not belong together, or want a passphrase.
    """

    class PinnedHandshake(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            shown = hashlib.sha256(self.getpeercert(binary_form=True) or b"").digest()
            if shown != server_fingerprint:
                raise NotPinnedError(shown)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the authorities have no say: `PinnedHandshake` has
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.sslobject_class = PinnedHandshake
    context.sslsocket_class = _PinnedSocket
    if client is not None:
        context.load_cert_chain(*client, password="")  # without one the program would ask for it on the terminal
    return context


def shown_fingerprint(fingerprint: bytes) -> str:
    """As `openssl x509 -fingerprint -sha256` prints it, and Monero's flags take it: "AB:CD:…"."""
    return fingerprint.hex(":").upper()


def parse_fingerprint(text: str) -> bytes:
    """Read a SHA-256 fingerprint, with or without colons or spaces; ValueError when it is none."""
    digits = re.sub(r"[:\s]", "", text).upper()
    if not _FINGERPRINT.fullmatch(digits):
        raise ValueError("is no SHA-256 fingerprint: 64 hex digits, as `openssl x509 -fingerprint -sha256` prints")
    return bytes.fromhex(digits)
