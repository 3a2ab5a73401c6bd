"""How a command reads or writes the service's database, also while the service runs."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from monero_escrow.config import Settings, SettingsError, load_settings
from monero_escrow.service import open_store
from monero_escrow.store.migrate import SchemaMissingError
from monero_escrow.store.origin import asked_from
from monero_escrow.store.postgresql import place_of
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction

T = TypeVar("T")

_NOBODY: Final = "-"
"""Who rings, when it is a command: no node can have this name."""


def in_database(
    work: Callable[[Transaction], T], *, writes: bool = False, makes: bool = False, wakes: str | None = None
) -> T:
    """Run `work` in one transaction. Only a command that `makes` one goes on where there is no database yet.

    `wakes` is the id of an escrow that then has something to do (or `ANY_ESCROW`): nodes of a server hear of it.
    """

    def work_and_ring(tx: Transaction) -> T:
        result = work(tx)
        if wakes is not None and tx.connection.dialect.name == "postgresql":
            tx.nodes.ring(_NOBODY, [wakes])
        return result

    return with_store(lambda store: store.write(work_and_ring) if writes else store.read(work), makes=makes)


def with_store(work: Callable[[SqlStore], Coroutine[Any, Any, T]], *, makes: bool = False) -> T:
    """Run `work`, which takes transactions of its own."""
    store = _opened(load_settings(), makes=makes)
    try:
        with asked_from(f"local:{_user()}"):
            return asyncio.run(work(store))
    finally:
        store.close()


def actor() -> str:
    """Who types the command, as the audit trail has it."""
    return f"operator:{_user()}"


def _user() -> str:
    """The user's name; in a container there may be only a number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def goes_on() -> str:
    """When the service does what a command left for it, as the end of a sentence."""
    if load_settings().database_url is None:
        return "the running service begins within half a minute."
    return "the first node that is free begins at once."


def _opened(settings: Settings, *, makes: bool) -> SqlStore:
    """The database as it is; or, where there is none and the command may, a new one."""
    url, folder = settings.database_url, settings.data_dir.absolute()
    if url is None and not makes and not settings.database_path.exists():
        raise SettingsError(
            f"There is no database in {folder}.",
            what_to_do="Set DATA_DIR to the service's folder, or start the service once.",
        )
    try:
        return open_store(settings, migrates=False)
    except SchemaMissingError:
        if not makes:
            raise
    store = open_store(settings)
    where = f"in {folder}" if url is None else f"at {place_of(url.get_secret_value())}"
    print(f"Made a new database {where}.", file=sys.stderr)
    return store
