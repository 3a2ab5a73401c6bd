"""TLS of our own: which files are taken, what is said of the others, and a certificate that is renewed."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from monero_escrow.clock import SystemClock
from monero_escrow.config import Settings, SettingsError, load_settings
from monero_escrow.fleet.fleet import Fleet
from monero_escrow.service import Signals
from monero_escrow.telemetry.metrics import Metrics
from monero_escrow.web.connections import Connections
from monero_escrow.web.listening import UnsafeListeningError, listeners, require_safe_listening
from monero_escrow.web.tls import OwnTls, TlsFilesError

PASSWORD = b"a password nobody typed"


def write_pair(folder: Path, name: str = "localhost", password: bytes | None = None) -> tuple[Path, Path]:
    """A new certificate of its own and its key, where the last one was."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(pem))
    key_file.write_bytes(key.private_bytes(pem, pkcs8, encryption))
    key_file.chmod(0o600)
    return cert_file, key_file


async def name_shown(tls: OwnTls, **how: ssl.TLSVersion) -> str:
    """Whose certificate a new connection gets."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls.context)
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    for name, value in how.items():
        setattr(client, name, value)
    try:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
    finally:
        server.close()
    subject = x509.load_der_x509_certificate(shown).subject
    return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


async def test_a_renewed_certificate_is_shown_to_new_connections_without_a_restart(tmp_path: Path) -> None:
    tls = OwnTls(*write_pair(tmp_path, "before"))
    assert await name_shown(tls) == "before"
    write_pair(tmp_path, "after")
    assert await name_shown(tls) == "before"
    tls.reload()
    assert await name_shown(tls) == "after"


async def test_half_of_a_renewed_pair_changes_nothing(tmp_path: Path) -> None:
    cert_file, key_file = write_pair(tmp_path, "before")
    tls, old_key = OwnTls(cert_file, key_file), key_file.read_bytes()
    write_pair(tmp_path, "after")
    key_file.write_bytes(old_key)
    with pytest.raises(TlsFilesError, match="do not belong together"):
        tls.reload()
    assert await name_shown(tls) == "before"


async def test_a_hangup_reads_the_certificate_again_and_refuses_a_bad_one_in_the_log(tmp_path: Path) -> None:
    class QuietFleet:
        async def reload(self) -> None:
            return

    tls = OwnTls(*write_pair(tmp_path, "before"))
    fleet = cast("Fleet", QuietFleet())
    with capture_logs() as said, Signals() as signals, signals.passed_on(cast("uvicorn.Server", None), fleet, tls):
        write_pair(tmp_path, "after")
        signals._on_hangup()
        assert await name_shown(tls) == "after"
        tls.cert_file.write_text("no certificate")
        signals._on_hangup()
        assert await name_shown(tls) == "after"
    assert [line["event"] for line in said] == ["certificate_read", "reload_refused"]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_tls_before_1_2_is_not_spoken(tmp_path: Path) -> None:
    tls = OwnTls(*write_pair(tmp_path))
    assert await name_shown(tls, maximum_version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await name_shown(tls, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)


@pytest.mark.parametrize(
    ("mode", "taken"), [(0o600, True), (0o640, True), (0o644, False), (0o602, False), (0o660, False)]
)
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int, *, taken: bool) -> None:
    cert_file, key_file = write_pair(tmp_path)
    key_file.chmod(mode)
    if taken:
        OwnTls(cert_file, key_file)
    else:
        with pytest.raises(TlsFilesError, match="read by others") as raised:
            OwnTls(cert_file, key_file)
        assert "chmod 600" in raised.value.what_to_do


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(tmp_path: Path) -> None:
    with pytest.raises(TlsFilesError, match="encrypted"):
        OwnTls(*write_pair(tmp_path, password=PASSWORD))


def test_files_that_are_not_there_or_hold_something_else_are_named(tmp_path: Path) -> None:
    cert_file, key_file = write_pair(tmp_path)
    with pytest.raises(TlsFilesError, match=r"TLS_KEY_FILE: .*nothing\.pem cannot be read: No such file"):
        OwnTls(cert_file, tmp_path / "nothing.pem")
    cert_file.write_text("-----BEGIN CERTIFICATE-----\nno\n")
    with pytest.raises(TlsFilesError, match="no PEM"):
        OwnTls(cert_file, key_file)


def test_certificate_and_key_are_set_both_or_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OwnTls.of(Settings(_env_file=None)) is None
    monkeypatch.setenv("TLS_CERT_FILE", "")
    assert OwnTls.of(load_settings()) is None
    monkeypatch.setenv("TLS_CERT_FILE", "cert.pem")
    with pytest.raises(SettingsError, match="TLS_CERT_FILE and TLS_KEY_FILE, or neither"):
        load_settings()


# --- where it listens ---


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_loopback_nothing_more_is_asked_for(host: str) -> None:
    require_safe_listening(Settings(_env_file=None, server_host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "escrow.example.com"])  # noqa: S104  it is refused
def test_off_loopback_there_must_be_tls_and_names(host: str, tmp_path: Path) -> None:
    cert_file, key_file = write_pair(tmp_path)
    pair = {"tls_cert_file": cert_file, "tls_key_file": key_file}
    names = {"allowed_hosts": ("escrow.example.com",)}
    with pytest.raises(UnsafeListeningError, match="plain HTTP"):
        require_safe_listening(Settings(_env_file=None, server_host=host, **names))  # type: ignore[arg-type]
    with pytest.raises(UnsafeListeningError, match="ALLOWED_HOSTS"):
        require_safe_listening(Settings(_env_file=None, server_host=host, **pair))  # type: ignore[arg-type]
    require_safe_listening(Settings(_env_file=None, server_host=host, **pair, **names))  # type: ignore[arg-type]
    require_safe_listening(Settings(_env_file=None, server_host=host, behind_tls_proxy=True, **names))  # type: ignore[arg-type]


def test_localhost_is_listened_on_wherever_it_is_and_a_taken_port_is_told() -> None:
    connections = Connections(SystemClock(), Metrics(), 10, 1)
    settings = Settings(_env_file=None, server_host="localhost", server_port=0)
    with listeners(settings, connections) as sockets:
        assert 1 <= len(sockets) <= 2
        port = next(listener for listener in sockets if listener.family == socket.AF_INET).getsockname()[1]
        taken = settings.model_copy(update={"server_host": "127.0.0.1", "server_port": port})
        with pytest.raises(OSError, match="in use"), listeners(taken, connections):
            pass
    assert all(listener.fileno() == -1 for listener in sockets)
