"""TLS to the server, `sslmode=verify-full`: only the server that a certificate of our own CA names."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import text

from monero_escrow.demo.private_postgres import PrivatePostgres
from monero_escrow.store.opening import open_postgresql
from monero_escrow.store.postgresql import DatabaseUnreachableError, listening_to
from shared_postgres import a_server_of_its_own
from unit.rows import MASTER_KEY, NETWORK


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension in extensions:
            certificate = certificate.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return certificate.sign(self._key, hashes.SHA256())

    def server(self, *names: x509.GeneralName) -> tuple[bytes, bytes]:
        """Certificate and key of a server of these names, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "database")])
        signed = self._sign(subject, key, x509.SubjectAlternativeName(names))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return signed.public_bytes(serialization.Encoding.PEM), private

    def file(self, path: Path) -> Path:
        """Its certificate, as `sslrootcert` takes it."""
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path


@dataclass(frozen=True, slots=True)
class TlsServer:
    """A server with TLS, and the database's URL without any option."""

    server: PrivatePostgres
    authority: Authority
    url: str

    async def shows(self, *names: x509.GeneralName) -> None:
        """From now on it has a certificate of these names."""
        certificate, key = self.authority.server(*names)
        self.server.put_file("server.crt", certificate)
        self.server.put_file("server.key", key)
        await self.server.restart()


_LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))


@pytest_asyncio.fixture
async def tls() -> AsyncIterator[TlsServer]:
    """A server that lets nobody in without TLS."""
    async with a_server_of_its_own() as server:
        if await server.administer("SHOW ssl_library") == [("",)]:
            pytest.skip("this PostgreSQL was built without TLS; Debian's was built with it")
        url = await server.new_database("escrow")
        here = TlsServer(server, Authority("our own"), url)
        certificate, key = here.authority.server(_LOOPBACK)
        server.put_file("server.crt", certificate)
        server.put_file("server.key", key)
        server.put_file("pg_hba.conf", b"hostssl all all 127.0.0.1/32 scram-sha-256\n")
        await server.change_settings(ssl="on", ssl_min_protocol_version="TLSv1.3")
        await server.restart()
        yield here


def secured(url: str, authority: Path, mode: str = "verify-full") -> str:
    return f"{url}?sslmode={mode}&sslrootcert={authority}"


async def test_with_verify_full_only_the_server_itself_under_our_own_authority_is_believed(
    tls: TlsServer, tmp_path: Path
) -> None:
    ours = secured(tls.url, tls.authority.file(tmp_path / "ours.crt"))
    theirs = secured(tls.url, Authority("another").file(tmp_path / "theirs.crt"))

    store = open_postgresql(ours, MASTER_KEY, NETWORK)
    encrypted = text("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert (await store.read(lambda tx: tx.connection.execute(encrypted).one())) == (True, "TLSv1.3")
    async with await listening_to(ours, "bell") as connection:
        assert connection.pgconn.ssl_in_use
    store.close()

    with pytest.raises(DatabaseUnreachableError, match="certificate verify failed"):
        open_postgresql(theirs, MASTER_KEY, NETWORK)
    with pytest.raises(DatabaseUnreachableError, match="no encryption"):
        open_postgresql(f"{tls.url}?sslmode=disable", MASTER_KEY, NETWORK)

    await tls.shows(x509.DNSName("another-database.example.com"))
    with pytest.raises(DatabaseUnreachableError, match="does not match host name"):
        open_postgresql(ours, MASTER_KEY, NETWORK)
    open_postgresql(secured(tls.url, tmp_path / "ours.crt", "verify-ca"), MASTER_KEY, NETWORK).close()
