"""Settings of what is kept: the database and its key, the nodes that share it, the copies."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from monero_escrow.config.key_command import key_printed_by
from monero_escrow.config.values import SettingsError, SettingsPart, parse_key, text_of


class StorageSettings(SettingsPart):
    """What is kept: the database, its key, the copies."""

    db_encryption_key: SecretStr | None = Field(
        default=None, description="The database's 256-bit key, as 64 hex digits or base64. Prefer the file."
    )
    db_encryption_key_file: Path | None = Field(default=None, description="A file that holds the key.")
    db_encryption_key_command: str | None = Field(
        default=None,
        description="A command that prints the key, such as a password store's. Run once a start, without a shell, for "
        "30 s at most.",
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
        text = url.get_secret_value().strip()
        scheme, _, rest = text.partition("://")
        if scheme not in ("postgresql", "postgres") or len(urlsplit(text).path) < 2:
            raise ValueError("is not of the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
        return SecretStr(f"postgresql://{rest}")  # `urlunsplit` would drop the slashes before a socket's database

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        given = (self.db_encryption_key, self.db_encryption_key_file, self.db_encryption_key_command)
        if sum(source is not None for source in given) > 1:
            raise ValueError("set one of DB_ENCRYPTION_KEY, DB_ENCRYPTION_KEY_FILE and DB_ENCRYPTION_KEY_COMMAND")
        return self

    def master_key(self) -> bytes:
        """The 32 bytes of the database key. Raises SettingsError or KeyCommandError when there is no good one."""
        if self.db_encryption_key_file is not None:
            text = text_of("DB_ENCRYPTION_KEY_FILE", self.db_encryption_key_file)
        elif self.db_encryption_key_command is not None:
            text = key_printed_by(self.db_encryption_key_command)
        elif self.db_encryption_key is not None:
            text = self.db_encryption_key.get_secret_value().strip()
        else:
            raise SettingsError(
                "DB_ENCRYPTION_KEY is not set: the database is never written in the clear.",
                what_to_do="Make one: (umask 077; openssl rand -hex 32 > database.key). Keep a copy in a safe place, "
                "and set DB_ENCRYPTION_KEY_FILE=database.key.",
            )
        return parse_key(text)

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
