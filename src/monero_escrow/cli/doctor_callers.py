"""What `doctor` says of the way callers reach the API: where it listens, its certificate, and what is believed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography import x509

from monero_escrow.cli.findings import Finding, Level
from monero_escrow.config import Settings
from monero_escrow.core.errors import EscrowError
from monero_escrow.web.listening import require_safe_listening
from monero_escrow.web.tls import OwnTls

_NAME = "callers"
_SOON_DAYS = 14


def look_at_callers(settings: Settings) -> Iterator[Finding]:
    """Whether the service would listen with these settings, and for how long its certificate is good."""
    try:
        require_safe_listening(settings)
        tls = OwnTls.of(settings)
    except EscrowError as error:
        yield Finding.of(_NAME, error)
        return
    if tls is not None:
        yield _certificate(tls)
    elif settings.behind_tls_proxy and not settings.trusted_proxies:
        hint = "Set TRUSTED_PROXIES to the proxy's address: until then all callers share one address's limits."
        yield Finding(Level.WARNING, _NAME, "a proxy is before the API, and what it says is not believed", hint)
    else:
        yield Finding(Level.OK, _NAME, "a proxy speaks TLS" if settings.behind_tls_proxy else "from this machine only")


def _certificate(tls: OwnTls) -> Finding:
    certificate = x509.load_pem_x509_certificates(tls.cert_file.read_bytes())[0]
    left_days = (certificate.not_valid_after_utc - datetime.now(UTC)).total_seconds() / 86_400
    hint = "Renew it, then send the service SIGHUP."
    if left_days <= 0:
        return Finding(Level.ERROR, _NAME, "the certificate has expired", hint)
    told = f"the certificate is good for {left_days:.0f} days"
    return Finding(Level.WARNING, _NAME, told, hint) if left_days < _SOON_DAYS else Finding(Level.OK, _NAME, told)
