"""`monero-escrow doctor --production`: the hardening checklist of docs/hardening.md, line by line.

The list in the docs is made from `CHECKLIST`, so that what is asked there is looked at here. Nothing is changed. A line
that cannot be looked at from here says so; it is never passed over.
"""

from __future__ import annotations

import os
import resource
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monero_escrow.cli.doctor_callers import look_at_callers
from monero_escrow.cli.findings import Finding, Level
from monero_escrow.config import UNLIMITED, Settings, credential_of
from monero_escrow.core.address import Network
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.loopback import is_on_this_machine
from monero_escrow.escrows.mainnet import require_ready_for_mainnet
from monero_escrow.monero.static_access import access_of
from monero_escrow.store.postgresql import Proof, place_of, proof_of
from monero_escrow.store.second_place import trouble_with

_NOT_ITS_OWNER: Final = stat.S_IRWXG | stat.S_IRWXO
_DAY_SECONDS: Final = 86_400
_OLDEST_BACKUP_DAYS: Final = 2


@dataclass(frozen=True, slots=True)
class Said:
    """What a look found: `level`, a sentence, and what to do where it is not well."""

    level: Level
    message: str
    what_to_do: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the checklist. `asks` is the sentence in the docs."""

    name: str
    asks: str
    look: Callable[[Settings], Said]


def production_findings(settings: Settings) -> list[Finding]:
    """Every line, in its order."""
    return [
        Finding(said.level, line.name, said.message, said.what_to_do)
        for line in CHECKLIST
        for said in (line.look(settings),)
    ]


def checklist_markdown() -> str:
    """The list as docs/hardening.md has it."""
    return "\n".join(f"{number}. **{line.name}.** {line.asks}" for number, line in enumerate(CHECKLIST, 1)) + "\n"


def _ok(message: str) -> Said:
    return Said(Level.OK, message)


def _warning(message: str, what_to_do: str) -> Said:
    return Said(Level.WARNING, message, what_to_do)


def _error(message: str, what_to_do: str) -> Said:
    return Said(Level.ERROR, message, what_to_do)


def _network(settings: Settings) -> Said:
    if settings.monero_network is not Network.MAINNET:
        return _warning(f"{settings.monero_network}: no real coins.", "Set MONERO_NETWORK=mainnet in the end.")
    try:
        require_ready_for_mainnet(settings)
    except EscrowError as error:
        return _error(error.message, error.what_to_do)
    return _ok("mainnet, and its risk is acknowledged")


def _limits(settings: Settings) -> Said:
    chosen = [settings.most_xmr_per_escrow, settings.most_xmr_at_once]
    if None in chosen:
        return _warning(
            "MOST_XMR_PER_ESCROW and MOST_XMR_AT_ONCE are not both set.",
            "Set them to what you could pay from your own pocket: a defect costs what lies in escrow.",
        )
    if UNLIMITED in chosen:
        return _warning("Any value is taken into escrow.", "Set MOST_XMR_PER_ESCROW and MOST_XMR_AT_ONCE to amounts.")
    return _ok(f"{chosen[0]} XMR an escrow, {chosen[1]} XMR at once")


def _user(_: Settings) -> Said:
    if os.geteuid() == 0:
        return _error("This runs as root.", "Run the service, and this command, as a user of its own.")
    return _ok(f"runs as user {os.geteuid()}")


def _database_key(settings: Settings) -> Said:
    if settings.db_encryption_key_command is not None:
        return _ok("a command prints it; it lies in no file of ours")
    file = settings.db_encryption_key_file or credential_of("db_encryption_key")
    if file is None:
        return _error(
            "The key comes from the environment, where other processes of this user can read it.",
            "Write it into a file of mode 0600 and set DB_ENCRYPTION_KEY_FILE.",
        )
    if (trouble := _trouble_of(file)) is not None:
        return _error(trouble, f"chmod 600 {file}")
    if file.resolve().is_relative_to(settings.data_dir.resolve()):
        return _error("The key lies in DATA_DIR, beside what it opens.", "Keep it elsewhere.")
    return _ok(f"{file} is read by its owner alone")


def _data_dir(settings: Settings) -> Said:
    folder = settings.data_dir
    if not folder.exists():
        return _ok(f"{folder} will be made with mode 0700")
    if (trouble := _trouble_of(folder)) is not None:
        return _error(trouble, f"chmod 700 {folder}")
    return _ok(f"{folder} is its owner's alone")


def _second_place(settings: Settings) -> Said:
    if settings.backup_url is None:
        return _error("BACKUP_URL is not set.", "Name a folder on another disk: docs/backups.md says why.")
    if (trouble := trouble_with(settings)) is not None:
        return _error(trouble, "Name a folder on another disk, and make it first.")
    return _ok(f"{settings.second_place_folder} takes the keys of new addresses")


def _backup(settings: Settings) -> Said:
    if settings.database_url is not None:
        return _warning(
            "The server's own backups cannot be seen from here.",
            "See to them (docs/postgresql.md), and try to restore one.",
        )
    made = [file.stat().st_mtime for file in settings.backup_folder.glob("*") if file.is_file()]
    days = (time.time() - max(made)) / _DAY_SECONDS if made else None
    if days is None or days > _OLDEST_BACKUP_DAYS:
        age = "There is none" if days is None else f"The last is {days:.0f} days old"
        return _warning(f"{age} in {settings.backup_folder}.", "Run `monero-escrow backup` every night, by a timer.")
    return _ok(f"the last is {days * 24:.0f} hours old")


def _daemon(settings: Settings) -> Said:
    url = settings.monero_daemon_url
    if url is None:
        return _error("MONERO_DAEMON_URL is not set.", "Run monerod on this machine and name it.")
    if not is_on_this_machine(url):
        return _warning(f"{url} is another machine's: it says what is on the chain.", "Run your own, on this machine.")
    return _ok(f"{url} is on this machine")


def _wallets(settings: Settings) -> Said:
    if not settings.monero_rpc_urls:
        hours = settings.fleet_rotate_hours
        if not hours:
            return _warning("Credentials of its own processes are never renewed.", "Leave FLEET_ROTATE_HOURS out.")
        return _ok(f"the service runs its own, with credentials of at most {hours:g} hours")
    try:
        reached = access_of(settings)
    except EscrowError as error:
        return _error(error.message, error.what_to_do)
    if open_ones := [url for url, access in reached.items() if access.login is None and access.client_digest is None]:
        todo = "Give it --rpc-login, or a certificate of ours, by MONERO_RPC_CREDENTIALS_FILE (docs/fleet.md)."
        return _warning(f"{open_ones[0]} serves whoever asks.", todo)
    return _ok("they ask for a login or a certificate")


def _callers(settings: Settings) -> Said:
    (found,) = look_at_callers(settings)
    return Said(found.level, found.message, found.what_to_do)


def _server(settings: Settings) -> Said:
    if settings.database_url is None:
        return _ok("an encrypted file, for this service alone")
    url = settings.database_url.get_secret_value()
    proof = proof_of(url)
    if proof is Proof.NONE:
        return _error(f"{place_of(url)} need not prove who it is.", "Add ?sslmode=verify-full to DATABASE_URL.")
    return _ok(f"PostgreSQL, {proof}")


def _metrics(settings: Settings) -> Said:
    try:
        token = settings.token_of_metrics()
    except EscrowError as error:
        return _error(error.message, error.what_to_do)
    if token is None:
        return _warning("Nothing reads the metrics: nobody is told when it fails.", "Set METRICS_TOKEN.")
    return _ok("Prometheus has a token of its own")


def _log(settings: Settings) -> Said:
    if settings.log_level == "debug":
        return _warning("LOG_LEVEL is debug: a line for each call.", "Set LOG_LEVEL=info.")
    return _ok(f"level {settings.log_level}")


def _memory(_: Settings) -> Said:
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
        return _warning("A crash would write keys to disk.", "Set LimitCORE=0, or `ulimit -c 0`.")
    try:
        swaps = Path("/proc/swaps").read_text().splitlines()[1:]
    except OSError:
        return _warning("Whether memory is swapped to disk cannot be seen.", "Turn swap off, or encrypt it.")
    if swaps:
        return _warning("Memory may be swapped to disk, keys included.", "Turn swap off, or encrypt it.")
    return _ok("no core dumps, no swap")


def _trouble_of(path: Path) -> str | None:
    try:
        found = path.stat()
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}."
    if found.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to another user."
    return (
        f"{path} can be read or changed by others (mode {found.st_mode & 0o777:04o})."
        if found.st_mode & _NOT_ITS_OWNER
        else None
    )


CHECKLIST: Final = (
    Line("user", "The service runs as a user of its own, not root, that nobody signs in as.", _user),
    Line("network", "On mainnet the risk of Monero's multisig is acknowledged in so many words.", _network),
    Line("limits", "How much may lie in one escrow, and in all at once, was chosen.", _limits),
    Line("database key", "It is in a file that only the service reads, apart from the database.", _database_key),
    Line("data folder", "`DATA_DIR` is the service's alone.", _data_dir),
    Line("database", "A database server on another machine proves who it is.", _server),
    Line("second place", "`BACKUP_URL` is on another disk, so that a new address survives this one.", _second_place),
    Line("backup", "There is a backup of the last two days, and somebody has tried to restore one.", _backup),
    Line("daemon", "Your own `monerod`, on this machine: it says what is on the chain.", _daemon),
    Line("wallets", "Wallet processes serve nobody else, on this machine, behind a login.", _wallets),
    Line("callers", "The API listens on this machine alone, or speaks TLS.", _callers),
    Line("metrics", "Something reads `/metrics` and tells a person ([alerts](runbook.md)).", _metrics),
    Line("log", "The log is not at `debug`.", _log),
    Line("memory", "Neither core dumps nor swap write keys to disk.", _memory),
)
