"""Where Monero's programs are on this machine, and which version they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monero_escrow.core.errors import InvalidInputError
from monero_escrow.monero.versions import LEAST_SUPPORTED, MoneroVersion

FOLDER_VARIABLE: Final = "MONERO_BIN_DIR"
_VERSION_LIMIT_SECONDS: Final = 20.0


class ProgramsMissingError(InvalidInputError):
    """There is no Monero on this machine that is new enough."""

    code = "monero_missing"
    what_to_do = (
        "Run scripts/get-monero, which needs no root, "
        f"or point {FOLDER_VARIABLE} to a folder with monerod and monero-wallet-rpc."
    )


@dataclass(frozen=True, slots=True)
class MoneroPrograms:
    """monerod and monero-wallet-rpc of one version, in one folder."""

    folder: Path
    version: MoneroVersion

    @property
    def monerod(self) -> Path:
        return self.folder / "monerod"

    @property
    def wallet_rpc(self) -> Path:
        return self.folder / "monero-wallet-rpc"


def find_programs(folder: Path | None = None, environment: Mapping[str, str] = os.environ) -> MoneroPrograms:
    """The programs in `folder`, else in $MONERO_BIN_DIR, else the newest on the PATH or fetched by scripts/get-monero.

    A folder that is named is binding. `ProgramsMissingError` when there is none, or none new enough.
    """
    named = folder or (Path(environment[FOLDER_VARIABLE]) if environment.get(FOLDER_VARIABLE) else None)
    if named is not None:
        programs = programs_in(named)
        if programs is None:
            raise ProgramsMissingError(f"There are no monerod and monero-wallet-rpc that start in {named}.")
        if programs.version < LEAST_SUPPORTED:
            raise ProgramsMissingError(f"Monero {programs.version} in {named} is older than {LEAST_SUPPORTED}.")
        return programs
    found = [programs for candidate in _candidates(environment) if (programs := programs_in(candidate)) is not None]
    enough = [programs for programs in found if programs.version >= LEAST_SUPPORTED]
    if not enough:
        raise ProgramsMissingError(f"Monero {LEAST_SUPPORTED} or newer is not on this machine.")
    return max(enough, key=lambda programs: programs.version)


def fetched_folders(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """The folders scripts/get-monero made, one a Debian suite."""
    data = environment.get("XDG_DATA_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".local/share")
    home = Path(environment.get("MONERO_HOME") or Path(data) / "monero-escrow" / "monero")
    return sorted(home.glob("*/bin"))


def programs_in(folder: Path) -> MoneroPrograms | None:
    """The programs in a folder; None when they are not there or do not start."""
    folder = folder.absolute()
    if not (folder / "monerod").is_file():
        return None
    try:
        said = subprocess.run(
            [folder / "monero-wallet-rpc", "--version"], capture_output=True, check=True, timeout=_VERSION_LIMIT_SECONDS
        )
        version = MoneroVersion.parse(said.stdout.decode(errors="replace"))
    except (OSError, subprocess.SubprocessError, InvalidInputError):
        return None
    return MoneroPrograms(folder, version)


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    installed = shutil.which("monero-wallet-rpc", path=environment.get("PATH"))
    if installed:
        yield Path(installed).parent
    yield from fetched_folders(environment)
