"""A world a test, on a copy of a database that is made once."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from monero_escrow.config import Settings
from monero_escrow.store.opening import open_sqlcipher
from web.world import NETWORK, World

KEY = bytes(range(32))


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without a row."""
    path = tmp_path_factory.mktemp("database") / "escrow.db"
    open_sqlcipher(path, KEY, NETWORK).close()
    return path


@pytest.fixture
def web_settings() -> dict[str, Any]:
    """What a test sets otherwise than it is by default: `@settings_are(...)`."""
    return {}


@pytest_asyncio.fixture
async def world(tmp_path: Path, new_database: Path, web_settings: dict[str, Any]) -> AsyncIterator[World]:
    """The application on a new database, with a key of each scope, three idle slots and a daemon that answers."""
    path = tmp_path / "escrow.db"
    shutil.copy(new_database, path)
    store = open_sqlcipher(path, KEY, NETWORK)
    set_here = {"monero_network": NETWORK, "data_dir": tmp_path, "request_wait_seconds": 0.05, **web_settings}
    made = World(Settings(_env_file=None, **set_here), store)
    try:
        await made.make_keys()
        yield made
    finally:
        await made.pool.aclose()
        store.close()
