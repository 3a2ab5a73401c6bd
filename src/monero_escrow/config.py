"""Every setting, with its unit and default; `docs/configuration.md` is generated from this class.

Read from the environment, from `.env` in the working directory, from a file named by `MONERO_ESCROW_CONFIG` (same
syntax as `.env`), and from the folder that `CREDENTIALS_DIRECTORY` names: a file in it that is called as a setting is
holds its value. systemd makes such a folder (LoadCredential), and so do containers (/run/secrets). The environment
wins. Secrets are given by file where possible and are hidden from every repr.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import ByteSize, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as SourceError

from monero_escrow.config_key import KeySettings
from monero_escrow.config_key import SettingsError as SettingsError
from monero_escrow.core.address import Network

SLOTS_PER_TRIO = 3
LEAST_TOKEN_CHARACTERS = 16


class Settings(KeySettings):
    """All settings. Durations are seconds, amounts piconero, depths blocks."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True)

    monero_rpc_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Wallet-rpc processes that somebody else keeps running, comma-separated. The first serves buyers, "
        "the second vendors, the third arbiters, the fourth buyers again. At least three; with none, the service runs "
        "its own.",
    )
    monero_rpc_login: SecretStr | None = Field(
        default=None, description="Digest login of all of them, as user:password, if they want one."
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
    monero_bin_dir: Path | None = Field(
        default=None,
        description="Folder of monerod and monero-wallet-rpc. Unless set, the newest on the PATH or fetched by "
        "scripts/get-monero.",
    )
    monero_network: Network = Field(
        default=Network.STAGENET,
        description="mainnet, stagenet, testnet, or regtest (a private chain; it carries mainnet's prefixes).",
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
    data_dir: Path = Field(
        default=Path("data"),
        description="Folder of the database, if it is a file, and of what each service keeps for itself.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="A PostgreSQL database that several services (nodes) share, as "
        "postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full (docs/postgresql.md). Unless set, the "
        "database is an encrypted file in DATA_DIR, for one service.",
    )
    node_name: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="What this node is called among those that share a PostgreSQL database; the machine's name unless "
        "set.",
    )
    node_lease_seconds: float = Field(
        default=15,
        ge=3,
        le=300,
        description="How long the others wait for a node that is silent before they take its work over.",
    )
    backup_dir: Path | None = Field(
        default=None,
        description="Folder where `monero-escrow backup` puts its files; `backups` in DATA_DIR unless set.",
    )
    backup_url: str | None = Field(
        default=None,
        description="The second durable place, as file:///PATH of a folder on another disk: the keys of each address "
        "lie there, sealed, before anyone sees the address. Mainnet does not start without it (docs/backups.md).",
    )
    wallet_dir: Path | None = Field(
        default=None,
        description="The --wallet-dir of the processes in MONERO_RPC_URLS, if this machine can see it: `doctor` looks "
        "there, and files of wallets long settled are removed there. Otherwise the service only names files.",
    )
    server_host: str = Field(default="127.0.0.1", description="Address the HTTP API listens on.")
    server_port: int = Field(default=8080, ge=0, le=65535, description="Port of the HTTP API.")
    metrics_token: SecretStr | None = Field(
        default=None,
        description="What Prometheus sends as its bearer token to read GET /metrics, and may do nothing else with; at "
        "least 16 characters. An operator's key reads it too, with or without this.",
    )

    deposit_confirmations: int = Field(
        default=10, ge=1, le=720, description="Blocks a deposit must be deep to count; Monero unlocks coins at 10."
    )
    payout_confirmations: int = Field(
        default=10, ge=1, le=720, description="Blocks a payout must be deep to be settled."
    )
    final_confirmations: int = Field(
        default=30,
        ge=1,
        le=1440,
        description="Blocks after which no reorganisation is expected to take back a deposit or a payout. Not less "
        "than the two above.",
    )
    deposit_window_seconds: float = Field(
        default=86_400, gt=0, le=31_536_000, description="Time a buyer has to pay, unless the order says otherwise."
    )
    dust_piconero: int = Field(
        default=1_000_000_000, ge=0, description="An output of at most this much is dust: shown, never counted."
    )
    most_fee_piconero: int = Field(
        default=100_000_000_000, gt=0, description="A payout whose network fee is higher is not signed."
    )
    fee_priority: Literal[1, 2, 3, 4] = Field(
        default=1, description="Monero's fee level of payouts, 1 (lowest) to 4; 1 is mined in the next blocks."
    )
    late_coins: Literal["refund", "ask"] = Field(
        default="refund",
        description="Coins that come after an escrow closed: go back to the buyer by themselves, or wait for the shop.",
    )

    stock_target: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="Finished wallet trios that wait for orders, made while slots are idle: an order that finds one "
        "has its address at once. 0: none.",
    )
    chain_poll_seconds: float = Field(default=2, gt=0, le=3600, description="How often the daemon is asked for news.")
    tip_age_seconds: float = Field(
        default=7200,
        ge=600,
        description="A daemon whose last block is older is not believed: it may have lost its peers.",
    )
    deposit_sweep_seconds: float = Field(
        default=86_400,
        gt=0,
        description="How often an escrow's wallet looks although the scan of blocks and pool saw nothing come to it: a "
        "net for what a scan may miss.",
    )
    watch_after_days: float = Field(
        default=30, ge=0, description="How long a closed escrow's address is watched for late coins."
    )
    lease_wait_seconds: float = Field(
        default=600, gt=0, description="How long work waits for a free slot before it is tried again later."
    )
    quarantine_seconds: float = Field(
        default=960,
        ge=0,
        description="How long a slot rests after a call to it was given up on: longer than any call may run.",
    )
    request_wait_seconds: float = Field(
        default=120, gt=0, le=3600, description="How long init-escrow waits for the address before it answers 202."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="Log lines for people or for programs.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")

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
                raise ValueError("logins do not belong into URLs: use MONERO_RPC_LOGIN")
            if not _is_base_url(url):
                raise ValueError(f"{url} is not of the form http://HOST:PORT")
        places = [_place(url) for url in urls]
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
        if not _is_base_url(url.rstrip("/")):
            raise ValueError("is not of the form http://HOST:PORT")
        return url.rstrip("/")

    @field_validator("monero_rpc_login")
    @classmethod
    def _check_login(cls, login: SecretStr | None) -> SecretStr | None:
        if login is not None and ":" not in login.get_secret_value():
            raise ValueError("must be user:password")
        return login

    @field_validator("metrics_token")
    @classmethod
    def _check_metrics_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is None or not token.get_secret_value():
            return None
        if len(token.get_secret_value()) < LEAST_TOKEN_CHARACTERS or not token.get_secret_value().isascii():
            raise ValueError("must be at least 16 ASCII characters, such as `openssl rand -hex 32` prints")
        return token

    @model_validator(mode="after")
    def _final_is_deepest(self) -> Self:
        if self.final_confirmations < max(self.deposit_confirmations, self.payout_confirmations):
            raise ValueError("FINAL_CONFIRMATIONS must not be less than DEPOSIT_CONFIRMATIONS and PAYOUT_CONFIRMATIONS")
        return self

    @model_validator(mode="after")
    def _fleet_sizes(self) -> Self:
        least, most = self.fleet_min_trios, self.fleet_max_trios
        if least > most and (most > 0 or "fleet_min_trios" in self.model_fields_set):
            raise ValueError(f"FLEET_MIN_TRIOS is {least}, more than FLEET_MAX_TRIOS, which is {most}")
        return self

    @field_validator("backup_url")
    @classmethod
    def _check_backup_url(cls, url: str | None) -> str | None:
        if not url:
            return None
        parts = urlsplit(url)
        if parts.scheme != "file":
            raise ValueError("only file:///PATH is supported: a folder on another disk")
        absolute = parts.path.startswith("/") and len(parts.path) > 1
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not absolute:
            raise ValueError("is not of the form file:///PATH")
        return url

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None or not url.get_secret_value().strip():
            return None
        parts = urlsplit(url.get_secret_value().strip())
        if parts.scheme not in ("postgresql", "postgres") or len(parts.path) < 2:
            raise ValueError("is not of the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
        return SecretStr(urlunsplit(parts._replace(scheme="postgresql")))

    @property
    def runs_own_fleet(self) -> bool:
        """Whether the service starts wallet-rpc processes of its own: unless others are listed, or if it is told to."""
        told_to = not self.model_fields_set.isdisjoint({"fleet_min_trios", "fleet_max_trios"})
        return self.fleet_max_trios > 0 and (told_to or not self.monero_rpc_urls)

    @property
    def fleet_folder(self) -> Path:
        """Where the service's own wallet-rpc processes keep their files; absolute, for they work elsewhere."""
        return self.data_dir.absolute() / "fleet"

    @property
    def database_path(self) -> Path:
        """The SQLCipher file."""
        return self.data_dir / "escrow.db"

    @property
    def backup_folder(self) -> Path:
        """Where backups go that are given no other place."""
        return self.backup_dir or self.data_dir / "backups"

    @property
    def second_place_folder(self) -> Path | None:
        """The folder BACKUP_URL names, if it is set."""
        return None if self.backup_url is None else Path(unquote(urlsplit(self.backup_url).path))


def named_settings_file() -> Path | None:
    """The file that MONERO_ESCROW_CONFIG names, whether it is there or not."""
    named = os.environ.get("MONERO_ESCROW_CONFIG")
    return Path(named).expanduser() if named else None


def credentials_folder() -> Path | None:
    """The folder that CREDENTIALS_DIRECTORY names, if it is there."""
    named = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(named) if named and Path(named).is_dir() else None


def credential_of(setting: str) -> Path | None:
    """The file in that folder which is called as this setting is, in whatever case; None where there is none."""
    folder = credentials_folder()
    return None if folder is None else next((it for it in folder.iterdir() if it.name.lower() == setting), None)


def load_settings(**overrides: object) -> Settings:
    """The settings from environment and files. Raises SettingsError, which names what is wrong and shows no value."""
    files = [Path(".env"), *filter(None, [named_settings_file()])]
    try:
        return Settings(_env_file=files, _secrets_dir=credentials_folder(), **overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(" ".join(_sentence(dict(problem)) for problem in error.errors())) from None
    except SourceError:
        raise SettingsError(
            "The folder that CREDENTIALS_DIRECTORY names, or a file in it, cannot be read.",
            what_to_do="Let the service's user, and nobody else, read it.",
        ) from None


def _sentence(problem: dict[str, object]) -> str:
    where = problem["loc"]
    name = str(where[0]).upper() if isinstance(where, tuple) and where else "Settings"
    return f"{name}: {str(problem['msg']).removeprefix('Value error, ')}."


def _is_base_url(url: str) -> bool:
    """Whether this is http(s)://HOST:PORT and nothing else."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and bool(parts.port)
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and not (parts.path or parts.query or parts.fragment)


def _place(url: str) -> tuple[str | None, int | None]:
    """Where a URL leads: one process, however the URL is spelt."""
    parts = urlsplit(url)
    return parts.hostname, parts.port
