"""All settings together, and how they are read."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as SourceError

from monero_escrow.config.callers import CallerSettings
from monero_escrow.config.escrows import EscrowSettings
from monero_escrow.config.monero import MoneroSettings
from monero_escrow.config.storage import StorageSettings
from monero_escrow.config.telemetry import TelemetrySettings
from monero_escrow.config.values import SettingsError


class Settings(TelemetrySettings, CallerSettings, EscrowSettings, StorageSettings, MoneroSettings):
    """All settings. Durations are seconds, amounts piconero, depths blocks."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True)


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
