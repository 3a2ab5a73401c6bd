"""Options that several commands share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from monero_escrow.core.errors import InvalidInputError

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for a script.")]
Since = Annotated[str | None, Parameter(help="Only from then on: 2026-01-31, or 2026-01-31T12:00:00Z.")]


def parsed_time(text: str | None) -> float | None:
    """What `--since` was given as seconds since the epoch; UTC unless it says otherwise. Raises InvalidInputError."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(
            "--since is no date.", what_to_do="Write 2026-01-31, or 2026-01-31T12:00:00Z."
        ) from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
