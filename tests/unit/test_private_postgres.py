"""The private PostgreSQL: found, as its own user, durable, ended with whoever started it, and told clearly."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from monero_escrow.demo.postgres_programs import PostgresMissingError, find_postgres, server_user
from monero_escrow.demo.private_postgres import PrivatePostgres
from monero_escrow.monero.processes import ProgramFailedError
from monero_escrow.monero.waiting import until
from shared_postgres import SharedPostgres, memory_folder

SCRIPT = Path(__file__).parents[2] / "scripts" / "get-postgres"


def postmaster(data: Path) -> int:
    """The process id of the server on this cluster."""
    return int((data / "postmaster.pid").read_text().splitlines()[0])


def uid_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def runs(pid: int) -> bool:
    """Whether the process is there, and not only waits for somebody to bury it."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    return False


async def test_it_runs_as_a_user_of_its_own_and_is_durable(postgres: SharedPostgres) -> None:
    server = postgres.server
    assert uid_of(postmaster(server.data)) == server_user().uid != 0
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert await server.administer(f"SHOW {setting}") == [("on",)]
    assert await server.administer("SHOW listen_addresses") == [("127.0.0.1",)]


async def test_nobody_gets_in_without_a_password_and_an_owner_may_do_nothing_else(
    postgres: SharedPostgres, empty_database: str
) -> None:
    server = postgres.server
    with pytest.raises(psycopg.OperationalError, match="password"):
        await server.administer("SELECT 1", url=f"postgresql://postgres@127.0.0.1:{server.port}/postgres")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await server.administer("CREATE ROLE another SUPERUSER", url=empty_database)


async def test_a_folder_that_its_user_cannot_reach_is_not_used(tmp_path: Path) -> None:
    """As root, that is; pytest's own folders are open to their owner alone."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    async with PrivatePostgres(closed / "inside") as server:
        assert await server.administer("SELECT 1") == [(1,)]
        home = server.data.parent
        assert server_user().reaches(home)
    assert home == closed / "inside" or not home.exists(), "what was borrowed is given back"


_STORY = """
import asyncio, sys
from pathlib import Path
from monero_escrow.demo.private_postgres import PrivatePostgres
async def main():
    async with PrivatePostgres(Path(sys.argv[1])):
        print("ready", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_it_ends_with_whoever_started_it() -> None:
    """Killed, so that nothing of its own could end it."""
    with memory_folder() as folder:
        starter = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _STORY, str(folder), stdout=subprocess.PIPE
        )
        assert starter.stdout is not None
        assert await starter.stdout.readline() == b"ready\n"
        pid = postmaster(folder / "data")
        starter.kill()
        await starter.wait()

        async def ended() -> bool:
            return not runs(pid)

        try:
            await until(ended, limit_seconds=20)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)


async def test_a_cluster_that_is_there_already_is_left_alone(postgres: SharedPostgres) -> None:
    with pytest.raises(ProgramFailedError, match="not empty"):
        await PrivatePostgres(postgres.server.data.parent).make()


def test_a_folder_without_the_programs_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PostgresMissingError, match="has no PostgreSQL") as caught:
        find_postgres(server_user(), {"POSTGRES_BIN_DIR": str(tmp_path)})
    assert "scripts/get-postgres" in caught.value.what_to_do


def test_script_and_code_find_the_same() -> None:
    said = subprocess.run([SCRIPT], check=True, capture_output=True, text=True)
    assert Path(said.stdout.splitlines()[-1]) == find_postgres(server_user())


def test_the_script_refuses_a_named_folder_without_the_programs(tmp_path: Path) -> None:
    said = subprocess.run(
        [SCRIPT], check=False, capture_output=True, text=True, env={**os.environ, "POSTGRES_BIN_DIR": str(tmp_path)}
    )
    assert (said.returncode, said.stdout) == (1, "")
    assert "POSTGRES_BIN_DIR" in said.stderr
