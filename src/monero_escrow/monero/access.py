"""What a wallet-rpc process of ours and its only caller know each other by, made anew for each start.

A login for digest authentication, and a key pair each: the process proves itself by its certificate, and takes calls
only from the holder of the caller's. All of it passes through files of mode 0600 in the process's own folder, which
nobody else may enter, and the files are removed as soon as they were read: a caller's key before this module has
answered, the rest when the process answers its first call. From then on the secrets are in the memory of the two
processes and nowhere else.
"""

from __future__ import annotations

import os
import secrets
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.tls import pinned_tls, shown_fingerprint

_USER: Final = "escrow"
_PASSWORD_BYTES: Final = 32
_PROCESS: Final = "process"
_CALLER: Final = "caller"
# Nobody looks at the dates: a certificate is known by its fingerprint, and goes with its process.
_LIFE: Final = timedelta(days=3650)
_CLOCKS_APART: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Access:
    """The one way to a process: `login` and `tls` for the caller, `settings` for the process's configuration file.

    `fingerprint` is the SHA-256 of the process's certificate. `settings` name files relative to the process's folder,
    which it works in. `files` are gone after `forget()`.
    """

    login: Credentials
    fingerprint: bytes
    tls: ssl.SSLContext = field(repr=False)
    settings: tuple[str, ...] = field(repr=False)
    files: tuple[Path, ...] = field(repr=False)

    def forget(self) -> None:
        """Remove what is on the disk: the process has read it, or never will."""
        _remove(self.files)


def fresh_access(folder: Path) -> Access:
    """Make one for the process that is about to be started in `folder`, which is made if need be. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = _files_in(folder)
    _remove(files)
    try:
        process_fingerprint = make_pair(folder, _PROCESS)
        caller_fingerprint = make_pair(folder, _CALLER)
        tls = pinned_tls(process_fingerprint, (folder / f"{_CALLER}.pem", folder / f"{_CALLER}.key"))
    except BaseException:
        _remove(files)
        raise
    _remove(file for file in files if file.stem == _CALLER)
    return Access(
        login=Credentials(_USER, secrets.token_hex(_PASSWORD_BYTES)),
        fingerprint=process_fingerprint,
        tls=tls,
        settings=(
            "rpc-ssl=enabled",
            f"rpc-ssl-private-key={_PROCESS}.key",
            f"rpc-ssl-certificate={_PROCESS}.pem",
            f"rpc-ssl-allowed-fingerprints={shown_fingerprint(caller_fingerprint)}",
        ),
        files=files,
    )


def remove_left_keys(folder: Path) -> None:
    """Of a process that has ended in the middle of its start, or whose starter was killed. Raises OSError."""
    _remove(_files_in(folder))


def _files_in(folder: Path) -> tuple[Path, ...]:
    return tuple(folder / f"{who}.{kind}" for who in (_PROCESS, _CALLER) for kind in ("pem", "key"))


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def make_pair(folder: Path, who: str) -> bytes:
    """Write WHO.key and WHO.pem, a certificate signed with it, both of mode 0600; answers the certificate's SHA-256.

    Raises OSError, also when one of them is there.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_APART)
        .not_valid_after(now + _LIFE)
        .sign(key, hashes.SHA256())
    )
    _write(folder / f"{who}.pem", certificate.public_bytes(Encoding.PEM))
    _write(folder / f"{who}.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate.fingerprint(hashes.SHA256())


def _write(file: Path, content: bytes) -> None:
    """Never readable by anybody else, not even for a moment."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
