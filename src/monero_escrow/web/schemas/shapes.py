"""What all requests have in common, and all answers."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

EXAMPLE_ID: Final = "5f0c2e9a41b7d3680e1f2a3b"
EXAMPLE_TIME: Final = "2026-01-31T12:00:00Z"


class Request(BaseModel):
    """Strict: no unknown field, and no number where a string belongs."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """Fixed once it is made."""

    model_config = ConfigDict(frozen=True)


def example(**body: object) -> ConfigDict:
    """With this body as the example that OpenAPI shows."""
    return ConfigDict(json_schema_extra={"example": body})  # type: ignore[dict-item]  # it is JSON
