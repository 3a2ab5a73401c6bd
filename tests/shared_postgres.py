"""One PostgreSQL server for all tests of a worker, and a fresh database for each: a copy of a migrated one."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from monero_escrow.demo.private_postgres import IMMEDIATE, PrivatePostgres
from monero_escrow.store.migrate import migrate
from monero_escrow.store.postgresql import begin, postgresql_engine

T = TypeVar("T")

_TEMPLATE = "migrated"


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end, on a loop of its own: for fixtures, around which no loop runs."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder where a commit costs no disk write, if there is such a place; removed when the block ends."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="monero-escrow-", dir=memory if memory.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def a_server_of_its_own() -> AsyncIterator[PrivatePostgres]:
    """For tests that leave a server otherwise than they found it."""
    with memory_folder() as folder:
        async with PrivatePostgres(folder) as server:
            yield server


class SharedPostgres:
    """The server, and the databases made in it. Use `with`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.server = PrivatePostgres(self._stack.enter_context(memory_folder()))
        self._numbers = count(1)
        self._template: str | None = None

    def __enter__(self) -> SharedPostgres:
        self._stack.callback(lambda: at_once(self.server.aclose()))
        at_once(self.server.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        at_once(self.server.stop(IMMEDIATE))
        self._stack.close()

    @contextmanager
    def database(self, *, migrated: bool) -> Iterator[str]:
        """A new database, for as long as the block runs; its owner's URL."""
        name = f"test_{next(self._numbers)}"
        yield at_once(self.server.new_database(name, like=self._migrated() if migrated else None))
        at_once(self.server.drop_database(name))

    def _migrated(self) -> str:
        if self._template is None:
            self._template = at_once(self.server.new_database(_TEMPLATE))
            engine = postgresql_engine(self._template)
            migrate(partial(begin, engine))
            engine.dispose()
        return self._template
