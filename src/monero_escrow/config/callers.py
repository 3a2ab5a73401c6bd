"""The settings of what callers meet: where the API listens, under which name, behind which proxies, and how often.

What only shows together with the network it
listens on (`web/listening.py`) is refused when the service starts, not here.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from monero_escrow.config.values import SettingsPart

ANY_HOST = "*"

_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[?[0-9a-f:.]+\]?")


class CallerSettings(SettingsPart):
    """Callers: how the HTTP API meets the world.

    Rates count tokens of a bucket (`core/buckets.py`).
    """

    server_host: str = Field(default="127.0.0.1", description="Address the HTTP API listens on.")
    server_port: int = Field(default=8080, ge=0, le=65535, description="Port of the HTTP API.")
    tls_cert_file: Path | None = Field(
        default=None,
        description="The certificate and its chain, PEM, with which the API itself speaks TLS (1.2 or newer). Read "
        "again on SIGHUP. Together with TLS_KEY_FILE.",
    )
    tls_key_file: Path | None = Field(
        default=None, description="Its private key, PEM, not encrypted, which others on the machine may not read."
    )
    behind_tls_proxy: bool = Field(
        default=False,
        description="Callers reach the API through a proxy that speaks TLS. Without this, or TLS of its own, it "
        "listens on loopback only.",
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, "
        "comma-separated. A caller's address is the right-most one that is not in this list.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names under which the API is called, comma-separated; `*.example.com` for all below one, `*` for "
        "any. Unset: any while it listens on loopback, and off loopback it has to be set.",
    )
    most_connections: int = Field(
        default=1000,
        ge=10,
        le=100_000,
        description="Connections that may be open at once. One more takes the place of the one that has waited longest "
        "for its caller, of whichever address holds most.",
    )
    slow_caller_seconds: float = Field(
        default=15,
        gt=0,
        le=300,
        description="How long a connection may take to send a request's head (from its opening, or the last answer), "
        "and again its body, and to take each part of an answer. Then it is closed.",
    )
    rate_limit_requests: float = Field(
        default=100,
        ge=0,
        description="Requests a second that one API key may make; ten seconds' worth at once. 0: no limit, as with "
        "each of these.",
    )
    rate_limit_address_requests: float = Field(
        default=200, ge=0, description="The same for one address (of IPv6, one /64), with and without a key."
    )
    rate_limit_orders: float = Field(
        default=1500,
        ge=0,
        description="New escrows a minute that one shop's key may ask for, one by one or in batches; a minute's worth "
        "at once. An order that has its escrow already never counts.",
    )
    rate_limit_address_orders: float = Field(default=3000, ge=0, description="The same for one address.")

    @field_validator("tls_cert_file", "tls_key_file", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            raise ValueError("is a list of addresses and networks such as 127.0.0.1,10.0.0.0/8") from None

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().lower() for part in value.split(",") if part.strip())
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _sound_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if host != ANY_HOST and not _HOST.fullmatch(host):
                raise ValueError(f"{host} is no name of a host; leave scheme, port and path out")
        return hosts

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("set TLS_CERT_FILE and TLS_KEY_FILE, or neither")
        return self

    @property
    def own_tls(self) -> bool:
        """Whether the API itself speaks TLS."""
        return self.tls_cert_file is not None
