"""`monero-escrow migrate-store`: from the encrypted file to PostgreSQL, all or nothing."""

from __future__ import annotations

import json
import time

from rich.console import Console
from rich.table import Table

from monero_escrow.cli.database import actor
from monero_escrow.cli.options import Json
from monero_escrow.cli.progress import ProgressBar
from monero_escrow.config import Settings, SettingsError, load_settings
from monero_escrow.service import only_one
from monero_escrow.store.migrate_store import Moved, move_store
from monero_escrow.store.opening import open_postgresql, open_sqlcipher
from monero_escrow.store.postgresql import place_of


def migrate_store(*, json_output: Json = False) -> None:
    """Move the encrypted file of DATA_DIR into the empty PostgreSQL database of DATABASE_URL.

    The service must not run. Every row is read back and compared before anything counts; interrupted at any moment,
    nothing or everything has moved, and running it again finishes. The file stays where it is, marked: no service
    starts on it any more. docs/upgrading.md says how to go back.
    """
    settings = load_settings()
    url, key, network = _target(settings), settings.master_key(), settings.monero_network
    place = place_of(url)
    with only_one(settings.data_dir), ProgressBar() as bar:
        file = open_sqlcipher(settings.database_path, key, network, migrates=False)
        try:
            server = open_postgresql(url, key, network)
            try:
                moved = move_store(file, server, place, time.time(), actor(), bar)
            finally:
                server.close()
        finally:
            file.close()
    if json_output:
        print(json.dumps({"moved_to": place, "rows": moved.rows, "arrived_earlier": moved.arrived_earlier}))
    else:
        _tell(settings, moved, place)


def _target(settings: Settings) -> str:
    """DATABASE_URL. Raises SettingsError where there is nothing to move, or nowhere to move it to."""
    if settings.database_url is None:
        raise SettingsError(
            "DATABASE_URL is not set: there is nowhere to move the database to.",
            what_to_do="Set it to an empty PostgreSQL database; docs/postgresql.md says what that needs.",
        )
    if not settings.database_path.exists():
        raise SettingsError(
            f"There is no {settings.database_path.name} in {settings.data_dir.absolute()}: nothing is to be moved.",
            what_to_do="Set DATA_DIR to the service's folder. A new service is started with DATABASE_URL as it is.",
        )
    return settings.database_url.get_secret_value()


def _tell(settings: Settings, moved: Moved, place: str) -> None:
    table = Table("table", "rows", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, rows in moved.rows.items():
        if rows:
            table.add_row(name, f"{rows:,}")
    console = Console()
    console.print(table)
    if moved.arrived_earlier:
        console.print(f"An earlier run had brought these {moved.total:,} rows to {place}; now the file is marked.")
    else:
        console.print(f"{moved.total:,} rows are at {place}; each was read back and compared.", highlight=False)
    console.print(f"{settings.database_path} stays where it is, and no service starts on it any more.", highlight=False)
    console.print("Start the service with this DATABASE_URL. docs/upgrading.md says how to go back.", highlight=False)
