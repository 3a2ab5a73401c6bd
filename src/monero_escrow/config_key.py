"""The settings of the database's key: itself, a file, or a command that prints it; one of the three.

A part of `config.Settings`, which is what the rest of the service knows. The key is read when it is asked for and kept
in no setting; what is wrong with it is told without showing any of it.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings

from monero_escrow.core.errors import EscrowError
from monero_escrow.key_command import key_printed_by

KEY_BYTES = 32


class SettingsError(EscrowError):
    """The settings cannot be used; the message names each one that is wrong."""

    code = "settings"
    what_to_do = "Correct them (docs/configuration.md lists all), then run `monero-escrow doctor`."


class KeySettings(BaseSettings):
    """Where the key comes from."""

    db_encryption_key: SecretStr | None = Field(
        default=None, description="The database's 256-bit key, as 64 hex digits or base64. Prefer the file."
    )
    db_encryption_key_file: Path | None = Field(default=None, description="A file that holds the key.")
    db_encryption_key_command: str | None = Field(
        default=None,
        description="A command that prints the key, such as a password store's. Run once a start, without a shell, for "
        "30 s at most.",
    )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        given = (self.db_encryption_key, self.db_encryption_key_file, self.db_encryption_key_command)
        if sum(source is not None for source in given) > 1:
            raise ValueError("set one of DB_ENCRYPTION_KEY, DB_ENCRYPTION_KEY_FILE and DB_ENCRYPTION_KEY_COMMAND")
        return self

    def master_key(self) -> bytes:
        """The 32 bytes of the database key. Raises SettingsError or KeyCommandError when there is no good one."""
        if self.db_encryption_key_file is not None:
            try:
                text = self.db_encryption_key_file.read_text("ascii", errors="replace").strip()
            except OSError as error:
                raise SettingsError(f"DB_ENCRYPTION_KEY_FILE cannot be read: {error.strerror}.") from None
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
        return _parse_key(text)


def _parse_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(
            "The database key is not 256 bits: 64 hex digits, or base64 of 32 bytes, are wanted.",
            what_to_do="Make one with `openssl rand -hex 32`.",
        )
    return key
