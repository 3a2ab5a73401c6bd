"""A PostgreSQL server of one's own, for tests, demo and bench: made, started, and ended whatever happens.

It listens on a loopback port alone, with a password, and runs as a user of its own when we are root. It is as durable
as the service demands; only what nobody needs here is left out. The kernel ends it should we die (`setpriv
--pdeathsig`, as in monero/processes.py: start it from the main thread). Nothing here belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from monero_escrow.demo.postgres_programs import ServerUser, find_postgres, server_user
from monero_escrow.monero.processes import LOOPBACK, ProgramFailedError, lasting_port
from monero_escrow.monero.waiting import until

ADMIN: Final = "postgres"
_START_LIMIT_SECONDS: Final = 60.0
_STOP_LIMIT_SECONDS: Final = 30.0
_PROGRAM_LIMIT_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.02
_STATUS_LINE: Final = 7  # of postmaster.pid: "ready" once it takes connections

FAST: Final = signal.SIGINT
"""Ends every connection, writes all down, and ends."""
IMMEDIATE: Final = signal.SIGQUIT
"""As a crash: the next start recovers from the log."""

_SETTINGS: Final[dict[str, str]] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "jit": "off",
    "log_checkpoints": "off",
    "max_wal_size": "256MB",
}


class PrivatePostgres:
    """One server. As an async context manager it is started at the beginning and ended at the end.

    Its cluster is made in `folder`; where the server's user cannot reach that, or none is given, in a temporary folder
    that is removed at the end. `settings` are the server's own, beside those every private server has.
    """

    def __init__(self, folder: Path | None = None, *, settings: Mapping[str, str] | None = None) -> None:
        self.port = lasting_port()
        self._settings = {**_SETTINGS, **(settings or {})}
        self._folder = folder
        self._borrowed: Path | None = None
        self._admin_password = secrets.token_hex(16)
        self._user: ServerUser = server_user()
        self._programs = find_postgres(self._user)
        self._home = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"PrivatePostgres(port={self.port}, running={self.running})"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def data(self) -> Path:
        """The cluster's own folder."""
        return self._home / "data"

    @property
    def admin_url(self) -> str:
        """Of the superuser, for what only that one may do. The service is never given it."""
        return self._url(ADMIN, self._admin_password, ADMIN)

    def _url(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{quote(user)}:{password}@{LOOPBACK}:{self.port}/{quote(database)}"

    # --- its life ---

    async def __aenter__(self) -> PrivatePostgres:
        """A standby runs already, and is only ended."""
        if self.running:
            return self
        await self.make()
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def make(self) -> None:
        """Make an empty cluster. Raises ProgramFailedError, also when there is one already."""
        self._home = self._make_home()
        password_file = self._home / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._admin_password)
        self._user.own(password_file)
        try:
            await self._run(
                "initdb",
                *("--pgdata", str(self.data), "--username", ADMIN, "--pwfile", str(password_file)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            )
        finally:
            password_file.unlink()

    def _make_home(self) -> Path:
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._user.own(self._folder)
            if self._user.reaches(self._folder):
                return self._folder
        self._borrowed = Path(tempfile.mkdtemp(prefix="monero-escrow-postgresql-"))
        self._user.own(self._borrowed)
        return self._borrowed

    async def start(self) -> None:
        """Start it on its port and wait until it takes connections. Raises ProgramFailedError."""
        setpriv = shutil.which("setpriv")
        watched = (setpriv, "--pdeathsig", "INT", "--") if setpriv else ()
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        program = (*watched, str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port))
        with self._log_file.open("ab") as log_file:
            self._process = subprocess.Popen(  # noqa: ASYNC220  not tied to the loop, and forked in this very thread
                [*program, *settings], stdout=log_file, stderr=log_file, start_new_session=True, **self._user.how
            )
        with contextlib.suppress(TimeoutError):
            await until(self._ready_or_ended, limit_seconds=_START_LIMIT_SECONDS, poll_seconds=_POLL_SECONDS)
        if not self._is_ready():
            await self.stop(IMMEDIATE)
            raise ProgramFailedError(f"PostgreSQL did not come to run:\n{self.wrote()}")

    async def _ready_or_ended(self) -> bool:
        return self._is_ready() or not self.running

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, IndexError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            ours = self._process is not None and lines[0] == str(self._process.pid)
            return self.running and ours and lines[_STATUS_LINE].strip() == "ready"
        return False

    async def stop(self, how: signal.Signals = FAST) -> None:
        """End it: `FAST` in good order, `IMMEDIATE` as a crash would. It can be started again."""
        process = self._process
        if process is None:
            return

        async def ended() -> bool:
            return process.poll() is not None

        if process.poll() is None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)
        try:
            await until(ended, limit_seconds=_STOP_LIMIT_SECONDS, poll_seconds=_POLL_SECONDS)
        except TimeoutError:
            process.kill()
            process.wait()

    async def restart(self, how: signal.Signals = FAST) -> None:
        """End it and start it again on the same port."""
        await self.stop(how)
        await self.start()

    async def aclose(self) -> None:
        """End it for good."""
        try:
            await self.stop()
        finally:
            if self._process is not None and self._process.poll() is None:  # we were cancelled: no time for good order
                self._process.kill()
                self._process.wait()
            if self._borrowed is not None:
                shutil.rmtree(self._borrowed, ignore_errors=True)

    @property
    def _log_file(self) -> Path:
        return self._home / "server.log"

    def wrote(self, lines: int = 20) -> str:
        """The end of its log, for an error message."""
        with contextlib.suppress(OSError):
            return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-lines:])
        return ""

    # --- what is in it ---

    async def new_database(self, name: str, *, like: str | None = None, options: str = "") -> str:
        """Make a database with an owner of its own, who may do nothing else; the owner's URL.

        `like` is the URL of another one here: then it is a copy of that, with its tables, for the same owner. Nobody
        may be connected to that one. `options` are CREATE DATABASE's, such as "ENCODING 'LATIN1' TEMPLATE template0".
        """
        if like is not None:
            parts = urlsplit(like)
            template = sql.Identifier(parts.path.removeprefix("/"))
            owner = sql.Identifier(parts.username or "")
            await self.administer(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(sql.Identifier(name), owner, template)
            )
            return urlunsplit(parts._replace(path=f"/{name}"))
        password = secrets.token_hex(16)
        role, database = sql.Identifier(name), sql.Identifier(name)
        await self.administer(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)),
            sql.SQL("CREATE DATABASE {} OWNER {} ").format(database, role) + sql.SQL(options),
        )
        return self._url(name, password, name)

    async def drop_database(self, name: str) -> None:
        """Remove it, whoever is connected."""
        await self.administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    async def administer(self, *statements: sql.Composed | str, url: str | None = None) -> list[tuple[Any, ...]]:
        """Say this as the superuser, each a transaction of its own; the rows of the last one, if it has any.

        `url` names another database, or another user. Raises psycopg.Error.
        """
        rows: list[tuple[Any, ...]] = []
        async with await psycopg.AsyncConnection.connect(url or self.admin_url, autocommit=True) as connection:
            for statement in statements:
                said = sql.SQL(statement) if isinstance(statement, str) else statement
                cursor = await connection.execute(said)
                rows = await cursor.fetchall() if cursor.description else []
        return rows

    async def change_settings(self, **settings: str) -> None:
        """Change the server's settings while it runs; those that need a restart wait for one."""
        changes = [
            sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
            for name, value in settings.items()
        ]
        await self.administer(*changes, "SELECT pg_reload_conf()")

    def put_file(self, name: str, content: bytes) -> None:
        """A file beside the data, which the server's user alone may read: a certificate, its key."""
        path = self.data / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        self._user.own(path)

    # --- its standby ---

    async def standby(self, folder: Path | None = None, *, synchronous: bool = False) -> PrivatePostgres:
        """A second server that follows this one, already running; its caller ends it.

        With `synchronous` nothing is acknowledged here any more before the standby has it on its disk.
        """
        other = PrivatePostgres(folder, settings={**self._settings, "cluster_name": "standby"})
        other._admin_password = self._admin_password
        other._home = other._make_home()
        try:
            await other._run(
                "pg_basebackup",
                *("--host", LOOPBACK, "--port", str(self.port), "--username", ADMIN, "--pgdata", str(other.data)),
                *("--wal-method", "stream", "--checkpoint", "fast", "--write-recovery-conf", "--no-sync"),
                password=self._admin_password,
            )
            await other.start()
            await until(self._is_followed, limit_seconds=_START_LIMIT_SECONDS)
            if synchronous:
                await self.change_settings(synchronous_standby_names="standby")
        except BaseException:
            await other.aclose()
            raise
        return other

    async def _is_followed(self) -> bool:
        return bool(await self.administer("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"))

    async def stop_following(self) -> None:
        """A standby from here on gets nothing more of what its primary does."""
        await self.change_settings(primary_conninfo="")

        async def alone() -> bool:
            return not await self.administer("SELECT 1 FROM pg_stat_wal_receiver")

        await until(alone, limit_seconds=_START_LIMIT_SECONDS)

    async def promote(self) -> None:
        """A standby becomes a server of its own, with what it has."""
        await self.administer("SELECT pg_promote(true, 60)")

    # --- its programs ---

    async def _run(self, program: str, *arguments: str, password: str = "") -> None:
        """Raises ProgramFailedError with what it said."""
        done = await asyncio.to_thread(self._run_now, [str(self._programs / program), *arguments], password)
        if done.returncode != 0:
            raise ProgramFailedError(f"{program} failed:\n{done.stdout.decode(errors='replace').strip()[-2000:]}")

    def _run_now(self, command: Sequence[str], password: str) -> subprocess.CompletedProcess[bytes]:
        how = self._user.how
        return subprocess.run(
            command,
            check=False,
            timeout=_PROGRAM_LIMIT_SECONDS,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **{**how, "env": {**how["env"], "PGPASSWORD": password}},
        )
