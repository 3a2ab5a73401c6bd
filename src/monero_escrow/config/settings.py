"""All settings together, and how they are read."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from monero_escrow.config.callers import CallerSettings
from monero_escrow.config.escrows import EscrowSettings
from monero_escrow.config.monero import MoneroSettings
from monero_escrow.config.storage import StorageSettings
from monero_escrow.config.values import SettingsError


class Settings(EscrowSettings, CallerSettings, StorageSettings, MoneroSettings):
    """All settings. Durations are seconds, amounts piconero, depths blocks."""

    model_config = SettingsConfigDict(env_file=".env")


def named_settings_file() -> Path | None:
    """The file that MONERO_ESCROW_CONFIG names, whether it is there or not."""
    named = os.environ.get("MONERO_ESCROW_CONFIG")
    return Path(named).expanduser() if named else None


def load_settings(**overrides: object) -> Settings:
    """The settings from environment and files. Raises SettingsError, which names what is wrong and shows no value."""
    files = [Path(".env"), *filter(None, [named_settings_file()])]
    try:
        return Settings(_env_file=files, **overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(" ".join(_sentence(dict(problem)) for problem in error.errors())) from None


def _sentence(problem: dict[str, object]) -> str:
    where = problem["loc"]
    name = str(where[0]).upper() if isinstance(where, tuple) and where else "Settings"
    return f"{name}: {str(problem['msg']).removeprefix('Value error, ')}."
