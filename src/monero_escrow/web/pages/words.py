"""How the pages put amounts and stored names into words, besides what `core/words.py` does for everybody."""

from __future__ import annotations

from monero_escrow.core.money import format_xmr


def xmr(piconero: int) -> str:
    """An amount as people read it: "1.25 XMR"."""
    return f"{format_xmr(piconero)} XMR"


def grouped(piconero: int) -> str:
    """An amount in piconero, its digits in threes by narrow spaces that do not break: readable, not to be copied."""
    return f"{piconero:,}".replace(",", "\u202f")


def sentence(name: str) -> str:
    """A stored name as words: "deposit_complete" → "Deposit complete"."""
    return name.replace("_", " ").replace("-", " ").capitalize()
