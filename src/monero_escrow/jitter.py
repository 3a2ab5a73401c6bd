"""Waits that are not all the same, so that those who were sent away together do not come back together."""

from __future__ import annotations

import secrets


def jittered(seconds: float) -> float:
    """Between three quarters and five quarters of `seconds`, at random."""
    return seconds * (0.75 + int.from_bytes(secrets.token_bytes(2)) / (1 << 17))
