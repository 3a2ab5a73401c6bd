"""Settings of what the service tells: who reads the metrics, and the log."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from monero_escrow.config.values import NO_TOKEN, SettingsError, SettingsPart, is_token, text_of


class TelemetrySettings(SettingsPart):
    """Metrics and log."""

    metrics_token: SecretStr | None = Field(
        default=None,
        description="What Prometheus sends as its bearer token to read GET /metrics, and may do nothing else with; at "
        "least 16 characters. An operator's key reads it too, with or without this. Prefer the file.",
    )
    metrics_token_file: Path | None = Field(default=None, description="A file that holds METRICS_TOKEN.")
    log_format: Literal["text", "json"] = Field(default="text", description="Log lines for people or for programs.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")

    @field_validator("metrics_token")
    @classmethod
    def _check_metrics_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is None or not token.get_secret_value():
            return None
        if not is_token(token.get_secret_value()):
            raise ValueError(NO_TOKEN)
        return token

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.metrics_token is not None and self.metrics_token_file is not None:
            raise ValueError("set METRICS_TOKEN or METRICS_TOKEN_FILE, not both")
        return self

    def token_of_metrics(self) -> SecretStr | None:
        """What reads /metrics besides an operator's key. Raises SettingsError when its file holds none."""
        if self.metrics_token_file is None:
            return self.metrics_token
        token = text_of("METRICS_TOKEN_FILE", self.metrics_token_file)
        if not is_token(token):
            raise SettingsError(f"METRICS_TOKEN_FILE: its content {NO_TOKEN}.")
        return SecretStr(token)
