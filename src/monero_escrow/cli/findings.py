"""What `monero-escrow doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from monero_escrow.core.errors import EscrowError


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    message: str
    what_to_do: str = ""

    @classmethod
    def of(cls, what: str, error: EscrowError) -> Finding:
        """What must be mended."""
        return cls(Level.ERROR, what, error.message, error.what_to_do)
