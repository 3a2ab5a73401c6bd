"""The engines a store runs on, for tests that hold on both: `pytestmark = on_both_engines`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from monero_escrow.store.store import SqlStore

SQLCIPHER: Final = "sqlcipher"
POSTGRESQL: Final = "postgresql"
TWICE: Final = "twice"
"""The file, and each piece of work is run once for nothing before it is run for good (run_twice.py)."""

OpenStore = Callable[[], SqlStore]

on_both_engines = pytest.mark.parametrize("engine", [SQLCIPHER, POSTGRESQL], indirect=True)
on_postgresql = pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)
also_run_twice = pytest.mark.parametrize("engine", [SQLCIPHER, TWICE], indirect=True)
