"""Settings of Monero: the network and its daemon, the wallet-rpc processes, and how work waits for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import ByteSize, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from monero_escrow.config.values import SettingsPart, is_base_url, place_of_url
from monero_escrow.core.address import Network

SLOTS_PER_TRIO: Final = 3
ACKNOWLEDGEMENT: Final = "I know that Monero multisig is experimental and that coins in it can be lost"


class MoneroSettings(SettingsPart):
    """Monero: the network, the daemon, the wallet processes."""

    monero_rpc_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Wallet-rpc processes that somebody else keeps running, comma-separated. The first serves buyers, "
        "the second vendors, the third arbiters, the fourth buyers again. At least three; with none, the service runs "
        "its own.",
    )
    monero_rpc_login: SecretStr | None = Field(
        default=None, description="Digest login of all of them, as user:password, if they want one."
    )
    monero_rpc_credentials_file: Path | None = Field(
        default=None,
        description="A file of mode 0600 with the login, the certificate's fingerprint and our own certificate for "
        "each of them (docs/fleet.md). Plain http:// is for this machine alone; https:// elsewhere needs a "
        "fingerprint.",
    )
    wallet_dir: Path | None = Field(
        default=None,
        description="The --wallet-dir of the processes in MONERO_RPC_URLS, if this machine can see it: `doctor` looks "
        "there, and files of wallets long settled are removed there. Otherwise the service only names files.",
    )
    fleet_min_trios: int = Field(
        default=1,
        ge=1,
        description="Trios of wallet-rpc processes (one a role) that the service itself always keeps running on this "
        "machine. With MONERO_RPC_URLS it keeps none, unless this or FLEET_MAX_TRIOS is set.",
    )
    fleet_max_trios: int = Field(
        default=4, ge=0, description="Trios it grows to while work waits for them. 0: it runs none of its own."
    )
    fleet_memory_max: ByteSize | None = Field(
        default=None,
        gt=0,
        description="Memory that its own processes may use together, in bytes or as `2GiB`. Half of the machine's "
        "unless set.",
    )
    fleet_quiet_seconds: float = Field(
        default=600, gt=0, description="How long a trio is not needed before it is stopped again."
    )
    fleet_rotate_hours: float = Field(
        default=24,
        ge=0,
        description="Age at which one of its own processes is replaced by another with fresh credentials. 0: never.",
    )
    lease_wait_seconds: float = Field(
        default=600, gt=0, description="How long work waits for a free slot before it is tried again later."
    )
    quarantine_seconds: float = Field(
        default=960,
        ge=0,
        description="How long a slot rests after a call to it was given up on: longer than any call may run.",
    )
    monero_bin_dir: Path | None = Field(
        default=None,
        description="Folder of monerod and monero-wallet-rpc. Unless set, the newest on the PATH or fetched by "
        "scripts/get-monero.",
    )
    monero_network: Network = Field(
        default=Network.STAGENET,
        description="mainnet, stagenet, testnet, or regtest (a private chain; it carries mainnet's prefixes).",
    )
    mainnet_acknowledgement: str = Field(
        default="", description=f'Mainnet does not start unless this is "{ACKNOWLEDGEMENT}" (docs/security.md).'
    )
    monero_daemon_url: str | None = Field(
        default=None,
        description="The monerod that says what is on the chain. Without it escrows are set up, and deposits wait.",
    )
    monero_restore_height: int = Field(
        default=0,
        ge=0,
        description="Block from which new wallets look for deposits when there is no daemon to ask for the height.",
    )

    @field_validator("monero_rpc_urls", mode="before")
    @classmethod
    def _split_urls(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(url.strip().rstrip("/") for url in value.split(",") if url.strip())
        return value

    @field_validator("monero_rpc_urls")
    @classmethod
    def _check_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if "@" in url:
                raise ValueError("logins do not belong into URLs: use MONERO_RPC_LOGIN or MONERO_RPC_CREDENTIALS_FILE")
            if not is_base_url(url):
                raise ValueError(f"{url} is not of the form http://HOST:PORT")
        places = [place_of_url(url) for url in urls]
        twice = sorted({url for url, place in zip(urls, places, strict=True) if places.count(place) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is listed twice: each process serves one slot")
        if 0 < len(urls) < SLOTS_PER_TRIO:
            raise ValueError(f"an escrow needs three processes (buyer, vendor, arbiter), and {len(urls)} are listed")
        return urls

    @field_validator("monero_daemon_url")
    @classmethod
    def _check_daemon_url(cls, url: str | None) -> str | None:
        if not url:
            return None
        if "@" in url:
            raise ValueError("a login does not belong into the URL; give the daemon a restricted RPC port without one")
        if not is_base_url(url.rstrip("/")):
            raise ValueError("is not of the form http://HOST:PORT")
        return url.rstrip("/")

    @field_validator("monero_rpc_login")
    @classmethod
    def _check_login(cls, login: SecretStr | None) -> SecretStr | None:
        if login is not None and ":" not in login.get_secret_value():
            raise ValueError("must be user:password")
        return login

    @model_validator(mode="after")
    def _fleet_sizes(self) -> Self:
        least, most = self.fleet_min_trios, self.fleet_max_trios
        if least > most and (most > 0 or "fleet_min_trios" in self.model_fields_set):
            raise ValueError(f"FLEET_MIN_TRIOS is {least}, more than FLEET_MAX_TRIOS, which is {most}")
        return self

    @property
    def runs_own_fleet(self) -> bool:
        """Whether the service starts wallet-rpc processes of its own: unless others are listed, or if it is told to."""
        told_to = not self.model_fields_set.isdisjoint({"fleet_min_trios", "fleet_max_trios"})
        return self.fleet_max_trios > 0 and (told_to or not self.monero_rpc_urls)
