"""How a command reads or writes the service's database, also while the service runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from monero_escrow.config import SettingsError, load_settings
from monero_escrow.service import open_store
from monero_escrow.store.transaction import Transaction

T = TypeVar("T")


def in_database(work: Callable[[Transaction], T], *, writes: bool = False, makes: bool = False) -> T:
    """Run `work` in one transaction. Only a command that `makes` one goes on where there is no database yet."""
    settings = load_settings()
    new = not settings.database_path.exists()
    if new and not makes:
        raise SettingsError(
            f"There is no database in {settings.data_dir.absolute()}.",
            what_to_do="Set DATA_DIR to the service's folder, or start the service once.",
        )
    store = open_store(settings, migrates=new)
    if new:
        print(f"Made a new database in {settings.data_dir.absolute()}.", file=sys.stderr)
    try:
        return asyncio.run(store.write(work) if writes else store.read(work))
    finally:
        store.close()


def when(at: float | None) -> str:
    """A time as tables show it: UTC, to the second."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
